import { Agent, request, type IncomingMessage } from "node:http";
import type { Call, Observation } from "./history.ts";

/** What a call is sent to, as it stands at that moment. */
export type Door = { readonly slot: number; readonly incarnation: number; readonly port: number };

/** A client's patience: longer than the upstream's deadline, the gate's own waits, and a restart of the database. */
const PATIENCE_MS = 20_000;

/** One call, over a connection of its own, told as the client saw it. Never throws: a failure is an observation. */
export function call(planned: Call, door: Door, isProbe = false): Promise<Observation> {
  const sentMs = performance.now();
  const observe = (seen: Partial<Observation>): Observation => ({
    tag: planned.tag,
    tenant: planned.tenant,
    keyId: planned.keyId,
    mode: planned.mode,
    stream: planned.stream,
    slot: door.slot,
    incarnation: door.incarnation,
    sentMs,
    endedMs: performance.now(),
    end: "cut",
    status: null,
    decisionId: null,
    code: null,
    echo: null,
    words: 0,
    isProbe,
    again: null,
    ...seen,
  });
  return new Promise((resolve) => {
    const body = bodyOf(planned);
    const agent = new Agent({ keepAlive: false });
    const sent = request({
      host: "127.0.0.1",
      port: door.port,
      path: "/v1/chat/completions",
      method: "POST",
      agent,
      headers: headersOf(planned, body),
    });
    let answered: Partial<Observation> = {};
    const finish = (seen: Partial<Observation>): void => {
      clearTimeout(patience);
      agent.destroy();
      resolve(observe({ ...answered, ...seen }));
    };
    const patience = setTimeout(() => {
      finish({ end: "late" });
      sent.destroy();
    }, PATIENCE_MS);
    sent.on("error", (error: NodeJS.ErrnoException) => {
      finish({ end: error.code === "ECONNREFUSED" ? "unreached" : "cut" });
    });
    sent.on("response", (response) => {
      answered = headOf(response);
      void readTo(planned, response, (text) => {
        finish({ ...ofText(response, text), end: "left" });
        sent.destroy();
      }).then((text) => finish(ofText(response, text)));
    });
    sent.end(body);
  });
}

function bodyOf({ tag, model, stream, outputTokensMax, promptBytes }: Call): string {
  return JSON.stringify({
    model,
    user: tag,
    ...(stream ? { stream } : {}),
    max_completion_tokens: outputTokensMax,
    messages: [{ role: "user", content: `${tag} ${"the ".repeat(promptBytes / 4)}` }],
  });
}

function headersOf({ key, tag, run, step }: Call, body: string): Record<string, string> {
  return {
    authorization: `Bearer ${key}`,
    "content-type": "application/json",
    "content-length": String(Buffer.byteLength(body)),
    // The decision keeps it, and it never goes upstream: there the body's `user` tells the same.
    "tollgate-customer": tag,
    ...(run === null ? {} : { "tollgate-run": run }),
    ...(step === null ? {} : { "tollgate-step": step }),
  };
}

function headOf({ statusCode, headers }: IncomingMessage): Partial<Observation> {
  const decision = headers["tollgate-decision"];
  return {
    status: statusCode ?? null,
    decisionId: typeof decision === "string" ? decision : null,
  };
}

/** The text that came; leaves, and never resolves, once the planned bytes have come. */
async function readTo(
  planned: Call,
  response: IncomingMessage,
  leave: (text: string) => void,
): Promise<string> {
  let text = "";
  try {
    for await (const chunk of response as AsyncIterable<Buffer>) {
      text += chunk.toString();
      if (planned.leavesAtByte !== null && text.length >= planned.leavesAtByte) leave(text);
    }
  } catch {
    return text; // Broken off: `complete` says so.
  }
  return text;
}

function ofText(response: IncomingMessage, text: string): Partial<Observation> {
  const echo = /s\d+-[a-z]+-\d+/u.exec(text)?.[0] ?? null;
  const code = /"code":\s*"(\w+)"/u.exec(text)?.[1] ?? null;
  const isStream = response.headers["content-type"]?.startsWith("text/event-stream") === true;
  const isWhole = response.complete && (!isStream || text.includes("data: [DONE]"));
  // What a refusal says of the call may name it; only an answer echoes.
  const ok = response.statusCode === 200;
  const words = ok ? text.split(" the").length - 1 : 0;
  return { end: isWhole ? "whole" : "cut", echo: ok ? echo : null, code, words };
}
