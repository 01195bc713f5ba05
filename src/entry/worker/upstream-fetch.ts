/**
 * The port `upstream` on Workers: `fetch`, its bytes read one chunk at a time.
 *
 * What fetch cannot tell is whether a request that failed had left: only one that could not even be made
 * is known not to have run. Every other failure is an outcome unknown, which holds its money.
 */
import { InputError } from "../../core/errors.ts";
import type {
  UpstreamExchange,
  UpstreamFailure,
  UpstreamListener,
  UpstreamPort,
  UpstreamRequest,
} from "../../gate/ports.ts";
import { Unavailable } from "../../gate/unavailable.ts";
import { bytePipe, lengthFrom } from "./platform.ts";

export function createFetchUpstream(): UpstreamPort {
  return { dispatch, close: () => Promise.resolve() };
}

/** One request under way. */
type Flight = {
  readonly control: AbortController;
  readonly listener: UpstreamListener;
  isSent: boolean;
  isAborted: boolean;
  /** What the request's own body ended with, when it was not its end. */
  bodyError: Error | null;
  /** Wakes the reader that waits for the client to catch up. */
  wake: () => void;
};

function dispatch(request: UpstreamRequest, listener: UpstreamListener): UpstreamExchange {
  const flight: Flight = {
    control: new AbortController(),
    listener,
    isSent: false,
    isAborted: false,
    bodyError: null,
    wake: () => {},
  };
  void fly(flight, request);
  return {
    isSent: () => flight.isSent,
    resume: () => flight.wake(),
    abort: () => {
      flight.isAborted = true;
      flight.control.abort();
      flight.wake();
    },
  };
}

async function fly(flight: Flight, request: UpstreamRequest): Promise<void> {
  try {
    const made = requestFrom(flight, request);
    if (!request.mayStart()) {
      flight.listener.onFail({ kind: "lapsed", sent: false, message: "the permit lapsed" });
      return;
    }
    flight.isSent = true;
    await hear(flight, await fetch(made));
  } catch (error) {
    flight.listener.onFail(failureFrom(flight, error));
    return;
  }
  flight.listener.onEnd();
}

function requestFrom(
  flight: Flight,
  { origin, path, method, headers, body }: UpstreamRequest,
): Request {
  const sent = new Headers();
  for (let at = 0; at + 1 < headers.length; at += 2) {
    sent.append(headers[at] ?? "", headers[at + 1] ?? "");
  }
  const length = lengthFrom(sent.get("content-length"));
  // Fetch tells the length itself: of bytes by counting them, of a stream by its pipe.
  sent.delete("content-length");
  return new Request(origin + path, {
    method,
    headers: sent,
    body:
      body === null || body instanceof Uint8Array ? bytesOf(body) : pumped(flight, body, length),
    redirect: "manual",
    signal: flight.control.signal,
  });
}

/** A view over memory that is not shared, which every body is. */
function bytesOf(body: Uint8Array | null): Uint8Array<ArrayBuffer> | null {
  return body === null || isUnshared(body) ? body : Uint8Array.from(body);
}

function isUnshared(bytes: Uint8Array): bytes is Uint8Array<ArrayBuffer> {
  return bytes.buffer instanceof ArrayBuffer;
}

function pumped(
  flight: Flight,
  body: AsyncIterable<Uint8Array>,
  length: number | null,
): ReadableStream<Uint8Array> {
  const { readable, writable } = bytePipe(length);
  const pump = async () => {
    const writer = writable.getWriter();
    try {
      for await (const part of body) await writer.write(part);
      await writer.close();
    } catch (error) {
      if (error instanceof InputError || error instanceof Unavailable) flight.bodyError = error;
      await writer.abort(error);
    }
  };
  // The request fails with its body, and tells it.
  pump().catch(() => flight.control.abort());
  return readable;
}

async function hear(flight: Flight, response: Response): Promise<void> {
  flight.listener.onHead(response.status, headerList(response.headers));
  if (response.body === null) return;
  const reader = response.body.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (flight.isAborted) throw new Error("aborted");
    if (done) return;
    const caughtUp = new Promise<void>((wake) => {
      flight.wake = wake;
    });
    if (!flight.listener.onData(value)) await caughtUp;
    if (flight.isAborted) throw new Error("aborted");
  }
}

/** Fetch undoes an encoding that we did not ask for, so its name and its length hold no longer. */
function headerList(headers: Headers): string[] {
  const encoding = headers.get("content-encoding");
  const isDecoded = encoding !== null && encoding.toLowerCase() !== "identity";
  const list: string[] = [];
  for (const [name, value] of headers) {
    if (name === "set-cookie") continue;
    if (isDecoded && (name === "content-encoding" || name === "content-length")) continue;
    list.push(name, value);
  }
  for (const cookie of headers.getSetCookie()) list.push("set-cookie", cookie);
  return list;
}

function failureFrom({ isAborted, isSent, bodyError }: Flight, error: unknown): UpstreamFailure {
  const message = error instanceof Error ? error.message : String(error);
  if (!isAborted && bodyError !== null) {
    return { kind: "body", sent: false, message: bodyError.message, cause: bodyError };
  }
  if (isAborted) return { kind: "aborted", sent: isSent, message: "aborted" };
  return { kind: isSent ? "reset" : "refused", sent: isSent, message };
}
