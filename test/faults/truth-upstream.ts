import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { get_encoding } from "tiktoken";
import { chatAnswer, chatFrames, type Tokens } from "../support/openai-answers.ts";
import type { Accepted, Mode } from "./history.ts";

/** Pico-dollars a token, in and out: what `priceYaml` in `fleet.ts` tells the gateway. */
export const RATES = { input: 10n, output: 100n };

/** Tokens that a provider's own prompt may add to what bytes bound: see the gate's bound. */
const HIDDEN_TOKENS = 100;
/** Around each message four tokens, and three that prime the answer. */
const WRAPPING_TOKENS = 7;
const FRAME_MS = 15;
const SLOW_HEAD_MS = 900;
/** A journal that waits for a database that hangs holds its answer up no longer than this. */
const LOOK_MS_MAX = 1_500;
const REQUEST_BYTES_MAX = 1024 * 1024;

/** What the database says of a tag's decision, over a connection that is not the gateway's. */
export type Look = (tag: string) => Promise<"allow" | "none">;

export type TruthUpstream = {
  readonly port: number;
  readonly journal: readonly Accepted[];
  /** Resolves when no exchange is running. */
  readonly quiet: () => Promise<void>;
  /** Cuts every connection. */
  readonly cut: () => void;
  readonly close: () => Promise<void>;
};

type Asked = {
  readonly user: string;
  readonly model: string;
  readonly stream?: boolean;
  readonly stream_options?: { readonly include_usage?: boolean };
  readonly max_completion_tokens: number;
  readonly messages: readonly { readonly content: string }[];
};

type Turn = {
  readonly asked: Asked;
  readonly entry: Accepted;
  readonly response: ServerResponse;
  readonly words: number;
  readonly count: (text: string) => number;
};

/**
 * An upstream that speaks OpenAI's chat and is the truth: what it accepted, delivered and billed stands
 * in its journal, and the ledger is compared with that. How it treats a call was planned by a seed.
 */
export async function startTruthUpstream(
  modeOf: (tag: string) => Mode,
  look: Look,
): Promise<TruthUpstream> {
  const journal: Accepted[] = [];
  const connections = new Map<Socket, number>();
  const encoder = get_encoding("o200k_base");
  const count = (text: string): number => encoder.encode_ordinary(text).length;
  const running = new Set<IncomingMessage>();
  let changed = Promise.withResolvers<void>();
  let opened = 0;
  const server = createServer((request, response) => {
    running.add(request);
    void serve(request, response).finally(() => {
      running.delete(request);
      changed.resolve();
      changed = Promise.withResolvers();
    });
  });
  const serve = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const asked = await read(request);
    if (asked === null) return; // Cut off while it came: there was no request.
    const entry: Accepted = {
      tag: asked.user,
      mode: modeOf(asked.user),
      stream: asked.stream === true,
      connection: connections.get(request.socket) ?? 0,
      credential: request.headers.authorization ?? "",
      acceptedMs: performance.now(),
      endedMs: Number.POSITIVE_INFINITY,
      decision: "unreadable",
      billed: 0n,
      toldUsage: false,
    };
    journal.push(entry);
    // Before the first byte back: what is durable now was durable before the call left the gateway.
    const late = sleep(LOOK_MS_MAX, "unreadable" as const);
    entry.decision = await Promise.race([
      look(asked.user).catch(() => "unreadable" as const),
      late,
    ]);
    const words = 2 + (Number(/\d+$/u.exec(asked.user)?.[0] ?? 0) % 6);
    response.on("error", () => undefined);
    await play({ asked, entry, response, words, count });
    entry.endedMs = performance.now();
  };
  server.on("connection", (socket) => {
    connections.set(socket, (opened += 1));
    socket.on("error", () => undefined);
  });
  server.requestTimeout = 0;
  server.keepAliveTimeout = 75_000;
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no loopback port");
  return {
    port: address.port,
    journal,
    quiet: async () => {
      while (running.size > 0) await changed.promise;
    },
    cut: () => server.closeAllConnections(),
    close: async () => {
      const closed = once(server, "close");
      server.close();
      server.closeAllConnections();
      await closed;
      encoder.free();
    },
  };
}

async function read(request: IncomingMessage): Promise<Asked | null> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  try {
    for await (const chunk of request as AsyncIterable<Buffer>) {
      bytes += chunk.byteLength;
      if (bytes > REQUEST_BYTES_MAX) throw new Error("longer than any planned call");
      chunks.push(chunk);
    }
  } catch {
    return null;
  }
  return JSON.parse(Buffer.concat(chunks).toString()) as Asked;
}

function price({ input, output }: Tokens): bigint {
  return BigInt(input) * RATES.input + BigInt(output) * RATES.output;
}

function contentOf(asked: Asked): string {
  return asked.messages.map(({ content }) => content).join("");
}

/** The text of an answer, in the pieces in which it is streamed; the first one is the tag. */
function pieces({ asked, words }: Turn): string[] {
  return [asked.user, ...Array.from({ length: words }, () => " the")];
}

/** What an honest provider counts of so much of its answer. */
function honest(turn: Turn, text: string): Tokens {
  const output = Math.min(turn.count(text), turn.asked.max_completion_tokens);
  return { input: turn.count(contentOf(turn.asked)) + WRAPPING_TOKENS, output };
}

/** The most that the request permits: a token for every byte, and every token of output. */
function most({ asked }: Turn): Tokens {
  const input = Buffer.byteLength(contentOf(asked)) + WRAPPING_TOKENS + HIDDEN_TOKENS;
  return { input, output: asked.max_completion_tokens };
}

async function play(turn: Turn): Promise<void> {
  const { entry, response } = turn;
  const whole = honest(turn, pieces(turn).join(""));
  switch (entry.mode) {
    case "usual":
    case "keeps-on":
    case "waits":
      return answer(turn, whole, whole);
    case "most":
      return answer(turn, most(turn), most(turn));
    case "slow-head":
      await Promise.race([sleep(SLOW_HEAD_MS), gone(response)]);
      return answer(turn, whole, whole);
    case "tells-nothing":
      return answer(turn, whole, null);
    case "tells-zero":
      return answer(turn, { input: 0, output: 0 }, { input: 0, output: 0 });
    case "fails":
      entry.billed = price(most(turn));
      response.writeHead(500, { "content-type": "application/json" });
      response.end(JSON.stringify({ error: { message: "broke down", type: "server_error" } }));
      return gone(response);
    case "stalls":
      entry.billed = price(most(turn));
      return gone(response);
    case "garbles":
      entry.billed = price(most(turn));
      response.writeHead(200, { "content-type": "text/event-stream" });
      response.end(`data: {"choices":[{"delta":{"content":"${entry.tag}\n\nnonsense \u0000 here`);
      return gone(response);
    case "resets":
      return reset(turn);
  }
}

/** Breaks off in the middle of its answer, at a byte that the tag chooses, and bills all of it. */
async function reset(turn: Turn): Promise<void> {
  const { asked, entry, response } = turn;
  entry.billed = price(most(turn));
  const type = entry.stream ? "text/event-stream" : "application/json";
  const text = entry.stream
    ? chatFrames(asked.model, pieces(turn), null).join("")
    : JSON.stringify(chatAnswer(asked.model, asked.user, most(turn)));
  const at = turn.words * 97;
  response.writeHead(200, { "content-type": type, "content-length": text.length });
  response.write(text.slice(0, Math.min(at, text.length - 1)));
  // The bytes leave before the reset does.
  await sleep(FRAME_MS);
  response.socket?.resetAndDestroy();
  return gone(response);
}

/** Bills `billed` for a whole answer and tells `told`; of a stream that is left, what was made so far. */
async function answer(turn: Turn, billed: Tokens, told: Tokens | null): Promise<void> {
  const { asked, entry, response } = turn;
  const text = pieces(turn);
  if (!entry.stream) {
    entry.billed = price(billed);
    response.writeHead(200, { "content-type": "application/json" });
    response.end(JSON.stringify(chatAnswer(asked.model, text.join(""), told)));
    entry.toldUsage = told !== null && !response.destroyed;
    return gone(response);
  }
  const isAsked = asked.stream_options?.include_usage === true;
  const frames = chatFrames(asked.model, text, isAsked ? told : null);
  if (!response.destroyed) response.writeHead(200, { "content-type": "text/event-stream" });
  let made = "";
  for (const [i, frame] of frames.entries()) {
    if (response.destroyed && entry.mode !== "keeps-on") break;
    if (!response.destroyed) response.write(frame);
    // The first frame has the role and no text.
    if (i > 0) made += text[i - 1] ?? "";
    // A provider bills what it makes when it makes it, read or not.
    const isAll = made.length === text.join("").length;
    entry.billed = price(isAll ? billed : honest(turn, made));
    if (entry.mode === "waits" && made !== "") await gone(response);
    await sleep(FRAME_MS);
  }
  entry.toldUsage = told !== null && isAsked && !response.destroyed;
  response.end();
  return gone(response);
}

function gone(response: ServerResponse): Promise<void> {
  if (response.destroyed || response.closed) return Promise.resolve();
  return new Promise((resolve) => response.once("close", resolve));
}
