/**
 * One request to an MCP server and its answer, over the port that also reaches the models: so it is known whether a
 * byte was sent, nothing is sent by a permit that has lapsed, and each tenant has connections of its own.
 *
 * The answer is a JSON body, or an event stream that ends with it. It is read whole, exactly and once; what cannot be
 * read is no answer, and then nobody knows whether the request ran.
 */
import {
  CANCELLATION_MS_MAX,
  SERVER_ANSWER_BYTES_MAX,
  SERVER_ANSWER_VALUES_MAX,
  SERVER_NUMBER_CHARS_MAX,
} from "../core/limits-tools.ts";
import {
  readServerMessage,
  writeCancellation,
  writeServerRequest,
  type Handshake,
  type Members,
  type ServerMessage,
  type ServerRequest,
  type Written,
} from "../dialects/mcp.ts";
import { createEventSplitter, joinData, readEvent } from "../dialects/sse.ts";
import { asWritten } from "../lib/exact-json.ts";
import { countValues } from "../lib/json-bounds.ts";
import { decodeUtf8 } from "../lib/json.ts";
import type { McpServer } from "./authority.ts";
import type { Ports, UpstreamExchange, UpstreamFailure, UpstreamRequest } from "./ports.ts";
import { valueOf } from "./headers.ts";
import type { Watch } from "./watch.ts";

export type ServerAnswer =
  /** `bytes`: of the message as it came. */
  | { readonly kind: "result"; readonly result: Members; readonly bytes: number }
  /** `status`: of HTTP, where it was a no, too; null where it was not. */
  | (ServerMessage & {
      readonly kind: "error";
      readonly status: number | null;
      readonly bytes: number;
    })
  /** The server said no in HTTP, and did not run it. */
  | { readonly kind: "refused"; readonly status: number; readonly message: string }
  /** `sent` false: no byte reached it, so it did not run. */
  | {
      readonly kind: "unanswered";
      readonly sent: boolean;
      readonly message: string;
      readonly isTimeout: boolean;
    };

export type Addressed = {
  readonly server: McpServer;
  readonly tenantId: string;
  readonly handshake: Handshake;
};

export type ExchangeTerms = {
  readonly timeoutMs: number;
  /** Asked when the first byte is about to be written. */
  readonly mayStart: () => boolean;
  readonly onProgress: ((params: Members) => void) | null;
  /** Told what the server logs while it is at work on this, and not on something else. */
  readonly onLog: ((params: Members) => void) | null;
  /** Ends the exchange: what was sent may have run. */
  readonly signal: AbortSignal | null;
};

export type ExchangeParts = Pick<Ports, "upstream" | "monotonicMs"> & { readonly watch: Watch };

/** Resolves once, and never rejects. */
export function askServer(
  parts: ExchangeParts,
  to: Addressed,
  request: ServerRequest,
  terms: ExchangeTerms,
): Promise<ServerAnswer> {
  return new Promise((resolve) => run(parts, { to, request, terms, resolve }));
}

/** The name of a tenant's own pool of connections to a server. */
export function poolOf({ name }: McpServer, tenantId: string): string {
  return `mcp ${name} ${tenantId}`;
}

type Running = {
  readonly to: Addressed;
  readonly request: ServerRequest;
  readonly terms: ExchangeTerms;
  readonly resolve: (answer: ServerAnswer) => void;
};

function run(parts: ExchangeParts, { to, request, terms, resolve }: Running): void {
  const { handshake } = to;
  const startedMs = parts.monotonicMs();
  const reader = createReader({ ...terms, id: request.id });
  let isOver = false;
  const finish = (answer: ServerAnswer) => {
    if (isOver) return;
    isOver = true;
    parts.watch.remove(watched);
    terms.signal?.removeEventListener("abort", onAbort);
    resolve(withoutCredentials(to.server, answer));
  };
  const giveUp = (message: string, isTimeout: boolean) => {
    const sent = exchange.isSent();
    finish({ kind: "unanswered", sent, message, isTimeout });
    exchange.abort();
  };
  const onAbort = () => giveUp("its caller cancelled it", false);
  const watched = parts.watch.add((nowMs) => {
    if (nowMs - startedMs > terms.timeoutMs) giveUp(`no answer within ${terms.timeoutMs} ms`, true);
    else if (!exchange.isSent() && !terms.mayStart()) {
      const message = "its permit lapsed before it was sent";
      finish({ kind: "unanswered", sent: false, message, isTimeout: false });
      exchange.abort();
    }
  });
  const written = writeServerRequest(handshake, request);
  const exchange: UpstreamExchange = parts.upstream.dispatch(posted(to, written, terms.mayStart), {
    onHead: reader.head,
    onData: (chunk) => {
      if (isOver) return true;
      const answer = reader.data(chunk);
      if (answer !== null) {
        finish(answer);
        // Behind its answer nothing is waited for.
        exchange.abort();
      }
      return true;
    },
    onEnd: () => finish(reader.end()),
    onFail: (failure) => finish(failedAnswer(failure)),
  });
  if (terms.signal?.aborted === true) onAbort();
  else terms.signal?.addEventListener("abort", onAbort, { once: true });
}

/**
 * Tells a server of the generation before that nobody waits for a request any more: the newer one hears it from its
 * stream, which ends. It has no answer, and what becomes of it changes nothing.
 */
export function cancelAt(
  { upstream, watch, monotonicMs }: ExchangeParts,
  to: Addressed,
  { id, reason }: { readonly id: string; readonly reason: string },
): void {
  if (to.handshake.envelope !== null) return;
  const written = writeCancellation(to.handshake, id, reason);
  const startedMs = monotonicMs();
  const watched = watch.add((nowMs) => {
    if (nowMs - startedMs > CANCELLATION_MS_MAX) over();
  });
  const over = () => {
    watch.remove(watched);
    exchange.abort();
  };
  const exchange: UpstreamExchange = upstream.dispatch(
    posted(to, written, () => true),
    {
      // That it has heard it is all; a server may go on telling for ever.
      onHead: over,
      onData: () => true,
      onEnd: over,
      onFail: () => watch.remove(watched),
    },
  );
}

function posted(
  { server, tenantId }: Addressed,
  { headers, body }: Written,
  mayStart: () => boolean,
): UpstreamRequest {
  const bytes = new TextEncoder().encode(body);
  return {
    upstream: poolOf(server, tenantId),
    origin: server.origin,
    path: server.path,
    method: "POST",
    headers: [...ownHeaders(server, bytes.byteLength), ...headers],
    body: bytes,
    mayStart,
  };
}

function ownHeaders({ headers }: McpServer, bytes: number): string[] {
  return [
    ...Object.entries(headers).flat(),
    "content-type",
    "application/json",
    "accept",
    "application/json, text/event-stream",
    "content-length",
    String(bytes),
  ];
}

/** A server may say what it was shown, and its errors are stored and told to whoever asked. */
function withoutCredentials({ headers }: McpServer, answer: ServerAnswer): ServerAnswer {
  if (answer.kind === "result") return answer;
  const secrets = Object.values(headers)
    .flatMap((value) => [value, ...value.split(/\s+/)])
    .filter(({ length }) => length >= SECRET_CHARS_MIN);
  let { message } = answer;
  for (const secret of secrets) message = message.replaceAll(secret, "[credential]");
  if (answer.kind !== "error") return { ...answer, message };
  const told = JSON.stringify(asWritten(answer.data)) ?? "";
  const data = secrets.some((secret) => told.includes(secret)) ? undefined : answer.data;
  return { ...answer, message, data };
}

/** Shorter parts of a header are words: `Bearer`, `true`. */
const SECRET_CHARS_MIN = 8;

function failedAnswer(failure: UpstreamFailure): ServerAnswer {
  const { kind, sent, message } = failure;
  return { kind: "unanswered", sent, message, isTimeout: kind === "timeout" };
}

type Reader = {
  readonly head: (status: number, headers: readonly string[]) => void;
  /** The answer, once it is there. */
  readonly data: (chunk: Uint8Array) => ServerAnswer | null;
  readonly end: () => ServerAnswer;
};

function createReader(awaited: Awaited): Reader {
  let status = 0;
  let media = "";
  let bytes = 0;
  let parts: Uint8Array[] = [];
  let answer: ServerAnswer | null = null;
  const values: Values = { left: SERVER_ANSWER_VALUES_MAX };
  const take = (text: Uint8Array) => {
    answer ??= readMessage(text, values, awaited);
  };
  const events = createEventSplitter(
    {
      event: (whole) => {
        const { data } = readEvent(whole);
        const text = joinData(whole, data);
        // One without data only tells an id, from which a stream could be resumed.
        if (text.byteLength > 0) take(text);
      },
      trail: () => {},
      oversized: () => {},
    },
    SERVER_ANSWER_BYTES_MAX,
  );
  return {
    head: (code, headers) => {
      status = code;
      const [essence = ""] = (valueOf(headers, "content-type") ?? "").split(";", 1);
      media = essence.trim().toLowerCase();
    },
    data: (chunk) => {
      bytes += chunk.byteLength;
      if (bytes > SERVER_ANSWER_BYTES_MAX) {
        return unread(`its answer has more than ${SERVER_ANSWER_BYTES_MAX} bytes`);
      }
      if (status === 200 && media === "text/event-stream") events.push(chunk);
      else parts.push(chunk);
      return answer;
    },
    end: () => {
      const whole = Buffer.concat(parts);
      parts = [];
      if (status !== 200) return statusAnswer(status, whole, awaited.id);
      if (media === "application/json") take(whole);
      else if (media !== "text/event-stream") {
        return unread(`its answer is neither JSON nor an event stream (${media.slice(0, 80)})`);
      }
      return answer ?? unread("its answer ended without a result");
    },
  };
}

/** That an exchange may still have. */
type Values = { left: number };

type Awaited = { readonly id: string } & Pick<ExchangeTerms, "onProgress" | "onLog">;

function readMessage(
  bytes: Uint8Array,
  values: Values,
  { id, onProgress, onLog }: Awaited,
): ServerAnswer | null {
  const message = boundedMessage(bytes, values, id);
  switch (message.kind) {
    case "result":
      return { ...message, bytes: bytes.byteLength };
    case "error":
      return { ...message, status: null, bytes: bytes.byteLength };
    case "malformed":
      return unread(message.why);
    case "progress":
      onProgress?.(message.params);
      return null;
    case "log":
      onLog?.(message.params);
      return null;
    case "other":
      return null;
  }
}

/** Nothing is built of a text before it is known how much there is of it. */
function boundedMessage(bytes: Uint8Array, values: Values, id: string): ServerMessage {
  const text = decodeUtf8(bytes);
  if (text === null) return { kind: "malformed", why: "its answer is not UTF-8" };
  const bounds = { valuesMax: values.left, numberCharsMax: SERVER_NUMBER_CHARS_MAX };
  const counted = countValues(text, bounds);
  if (counted.kind === "excess") {
    const why =
      counted.of === "values"
        ? `its answer has more than ${SERVER_ANSWER_VALUES_MAX} JSON values`
        : `its answer has a number of more than ${SERVER_NUMBER_CHARS_MAX} characters`;
    return { kind: "malformed", why };
  }
  values.left -= counted.values;
  return readServerMessage(text, id);
}

/**
 * A no of HTTP says that it did not run, but for those behind which it may have: a server that failed, or something in
 * front of it that gave up. Some servers answer an error of JSON-RPC with such a status, and that is their answer.
 */
function statusAnswer(status: number, body: Uint8Array, id: string): ServerAnswer {
  const told = boundedMessage(body, { left: SERVER_ANSWER_VALUES_MAX }, id);
  if (told.kind === "error") return { ...told, status, bytes: body.byteLength };
  const message = `HTTP ${status}`;
  return isNoOfHttp(status) ? { kind: "refused", status, message } : unread(message);
}

/** Whether a status says that nothing ran. */
export function isNoOfHttp(status: number): boolean {
  if (status === 408) return false;
  return (status >= 400 && status < 500) || status === 501 || status === 503;
}

function unread(message: string): ServerAnswer {
  return { kind: "unanswered", sent: true, message, isTimeout: false };
}
