/**
 * The hot path's `Exchange` on Workers: a web Request, and an answer whose bytes pass through a pipe.
 *
 * The answer is given when its head is known, while its bytes still come; so whoever serves takes
 * `answered` and not what the app returns, which comes after the last byte.
 */
import type { Reply } from "../../gate/ports.ts";
import type { Exchange } from "../../http/exchange.ts";
import type { BodyBudget } from "../body-node.ts";
import { readWhole, streamed } from "./body-web.ts";
import { bytePipe, lengthFrom } from "./platform.ts";

export type WebExchange = {
  readonly exchange: Exchange;
  /** Resolves when the head of the answer is known; never, when there is none to give. */
  readonly answered: Promise<Response>;
  /** Gives back the memory of its body, which may be sent again or counted until the exchange is over. */
  readonly release: () => void;
};

/** Bytes that wait for a slow client before the upstream is asked to pause. */
const HELD_BYTES_MAX = 64 * 1024;

/** Nobody reads it: its client is gone. nginx's number for that. */
const CLIENT_GONE = 499;

export function createWebExchange(request: Request, bodies: BodyBudget): WebExchange {
  const { pathname, search } = new URL(request.url);
  const { promise: answered, resolve } = Promise.withResolvers<Response>();
  const { signal } = request;
  const share = bodies.share();
  const exchange: Exchange = {
    method: request.method,
    url: pathname + search,
    rawHeaders: headersOf(request.headers),
    header: (name) => request.headers.get(name),
    readBody: (bytesMax) => readWhole(request, { bytesMax, pace: bodies.pace, share }),
    streamBody: (bytesMax) =>
      request.body === null ? null : streamed(request.body, bytesMax, bodies.pace),
    isGone: () => signal.aborted,
    reply: () => createReply(request, resolve),
    handled: new Response(null, { status: CLIENT_GONE }),
  };
  return { exchange, answered, release: share.end };
}

/** What Cloudflare adds on its way says where the client is: nothing that an upstream should learn. */
function headersOf(headers: Headers): readonly string[] {
  const raw: string[] = [];
  for (const [name, value] of headers) {
    if (!name.startsWith("cf-") && name !== "cdn-loop") raw.push(name, value);
  }
  return raw;
}

/** The Fetch standard's: a Response with one of them and a body cannot be made. */
const WITHOUT_BODY: ReadonlySet<number> = new Set([101, 204, 205, 304]);

function createReply(request: Request, answer: (response: Response) => void): Reply {
  const { signal } = request;
  let writer: WritableStreamDefaultWriter<Uint8Array> | null = null;
  let pendingBytes = 0;
  let isHeldUp = false;
  let isOver = false;
  let hasLeft = false;
  let onDrain = () => {};
  let onGone = () => {};
  const left = () => {
    if (isOver || hasLeft) return;
    hasLeft = true;
    onGone();
  };
  signal.addEventListener("abort", left, { once: true });
  const written = (bytes: number) => {
    pendingBytes -= bytes;
    if (!isHeldUp || pendingBytes >= HELD_BYTES_MAX) return;
    isHeldUp = false;
    onDrain();
  };
  const write = (chunk: Uint8Array): boolean => {
    if (writer === null || hasLeft || chunk.byteLength === 0) return true;
    const bytes = chunk.byteLength;
    pendingBytes += bytes;
    isHeldUp = pendingBytes >= HELD_BYTES_MAX;
    writer.write(chunk).then(() => written(bytes), left);
    return !isHeldUp;
  };
  return {
    head: (status, headers) => {
      const kept = headersFrom(headers);
      if (request.method === "HEAD" || WITHOUT_BODY.has(status)) {
        answer(new Response(null, { status, headers: kept }));
        return;
      }
      const pipe = bytePipe(lengthFrom(kept.get("content-length")));
      // The pipe announces it.
      kept.delete("content-length");
      writer = pipe.writable.getWriter();
      // The runtime cancels the readable side of an answer that nobody takes any more.
      writer.closed.catch(left);
      answer(new Response(pipe.readable, { status, headers: kept }));
    },
    write,
    end: (last) => {
      if (last !== undefined) write(last);
      // Bytes may still be on their way, and their client may still leave.
      writer?.close().then(() => {
        isOver = true;
      }, left);
    },
    destroy: () => {
      isOver = true;
      if (writer === null) answer(brokenOff());
      else writer.abort(new Error("the answer was cut")).catch(() => undefined);
    },
    onDrain: (listener) => {
      onDrain = listener;
    },
    onGone: (listener) => {
      if (signal.aborted || hasLeft) listener();
      else onGone = listener;
    },
    isGone: () => hasLeft || signal.aborted,
  };
}

function headersFrom(list: readonly string[]): Headers {
  const headers = new Headers();
  for (let at = 0; at + 1 < list.length; at += 2) {
    headers.append(list[at] ?? "", list[at + 1] ?? "");
  }
  return headers;
}

/** An answer that fails before its head: its client must not take an empty one for whole. */
function brokenOff(): Response {
  const { readable, writable } = bytePipe(1);
  writable.abort(new Error("the answer was cut")).catch(() => undefined);
  return new Response(readable, { status: 502 });
}
