/** The port `upstream` on Node: undici's `dispatch` on a pool per upstream, no web streams in between. */
import { Readable } from "node:stream";

import { Pool, type Dispatcher } from "undici";

import { InputError } from "../core/errors.ts";
import { Unavailable } from "../gate/unavailable.ts";
import { Fault } from "../lib/assert.ts";
import type {
  UpstreamExchange,
  UpstreamFailure,
  UpstreamListener,
  UpstreamPort,
  UpstreamRequest,
} from "../gate/ports.ts";

/**
 * A connection to an upstream that takes longer is a host that is away. Less than PERMIT_MS_MAX, with which the call
 * would be told of a lapse here, and nothing of the host: undici's timer is up to a second late, more under load.
 */
const CONNECT_MS_MAX = 3_000;

/** Head of an answer; OpenAI's are under 4 KB. */
const ANSWER_HEADER_BYTES_MAX = 64 * 1024;

export type UndiciOptions = {
  /** Connections per upstream: as many calls as may be in flight to it from this process. */
  readonly connections: number;
};

export function createUndiciUpstream({ connections }: UndiciOptions): UpstreamPort {
  // Keyed by upstream as well as origin: two upstreams with two credentials share no connection.
  const pools = new Map<string, Pool>();
  const poolOf = (upstream: string, origin: string): Pool => {
    const key = `${upstream} ${origin}`;
    const known = pools.get(key);
    if (known !== undefined) return known;
    const pool = new Pool(origin, {
      connections,
      pipelining: 1,
      allowH2: false,
      // The gate has deadlines of its own, by upstream; undici's would end long silent reasoning.
      headersTimeout: 0,
      bodyTimeout: 0,
      maxHeaderSize: ANSWER_HEADER_BYTES_MAX,
      connect: { timeout: CONNECT_MS_MAX },
    });
    pools.set(key, pool);
    return pool;
  };
  return {
    dispatch: (request, listener) => {
      const handler = createHandler(listener, request.mayStart);
      poolOf(request.upstream, request.origin).dispatch(optionsOf(request), handler.dispatcher);
      return handler.exchange;
    },
    close: async () => {
      await Promise.all([...pools.values()].map((pool) => pool.destroy()));
      pools.clear();
    },
  };
}

function optionsOf(request: UpstreamRequest): Dispatcher.DispatchOptions {
  const { method, path, headers, body } = request;
  return {
    method: isMethod(method) ? method : "POST",
    path,
    headers: [...headers],
    body: body === null || body instanceof Uint8Array ? body : Readable.from(body),
  };
}

const METHODS = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"] as const;

function isMethod(method: string): method is (typeof METHODS)[number] {
  return METHODS.some((known) => known === method);
}

type Handler = {
  readonly dispatcher: Dispatcher.DispatchHandler;
  readonly exchange: UpstreamExchange;
};

function createHandler(listener: UpstreamListener, mayStart: () => boolean): Handler {
  let controller: Dispatcher.DispatchController | null = null;
  let isAborted = false;
  let isOver = false;
  const abort = () => {
    isAborted = true;
    controller?.abort(new Fault("aborted by the gate"));
  };
  // A packet holds many events, which undici tells one by one. They are handed on together at the end of
  // the turn that read them: to look at sixty pieces and to write them was half of what a stream cost.
  let pieces: Buffer[] = [];
  const handOn = () => {
    const [first] = pieces;
    if (first === undefined || isOver) return;
    const chunk = pieces.length === 1 ? first : Buffer.concat(pieces);
    pieces = [];
    if (!listener.onData(chunk)) controller?.pause();
  };
  const fail = (error: Error) => {
    if (isOver) return;
    handOn();
    isOver = true;
    listener.onFail(failureFrom(error, controller !== null, isAborted));
  };
  return {
    dispatcher: {
      onRequestStart: (started) => {
        // A call may have waited long for its connection. Aborted here, it writes no byte.
        if (!isAborted && !mayStart()) {
          isOver = true;
          listener.onFail({ kind: "lapsed", sent: false, message: "its permit lapsed" });
          started.abort(new Fault("its permit lapsed"));
          return;
        }
        controller = started;
        if (isAborted) started.abort(new Fault("aborted by the gate"));
      },
      onResponseStart: (_, status, headers) => {
        // 1xx answers announce; the answer comes after them.
        if (status >= 200) listener.onHead(status, headerList(headers));
      },
      onResponseData: (_, chunk) => {
        if (pieces.length === 0) process.nextTick(handOn);
        pieces.push(chunk);
      },
      onResponseEnd: () => {
        if (isOver) return;
        handOn();
        isOver = true;
        listener.onEnd();
      },
      onResponseError: (_, error) => fail(error),
    },
    exchange: {
      isSent: () => controller !== null,
      abort,
      resume: () => {
        if (controller?.paused === true) controller.resume();
      },
    },
  };
}

function headerList(headers: Readonly<Record<string, string | string[] | undefined>>): string[] {
  const list: string[] = [];
  for (const name in headers) {
    const value = headers[name];
    if (typeof value === "string") list.push(name, value);
    else for (const each of value ?? []) list.push(name, each);
  }
  return list;
}

/** `started`: undici had a connection and began to write, so the upstream may have seen the request. */
function failureFrom(error: Error, started: boolean, isAborted: boolean): UpstreamFailure {
  // Only a streamed body throws these: undici ends the request with the error of its body as it is.
  if (!isAborted && (error instanceof InputError || error instanceof Unavailable)) {
    return { kind: "body", sent: false, message: error.message, cause: error };
  }
  const code = codeOf(error);
  if (isAborted) return { kind: "aborted", sent: started, message: "aborted" };
  if (!started) return { kind: "refused", sent: false, message: code || error.message };
  if (code.includes("TIMEOUT")) return { kind: "timeout", sent: true, message: code };
  const isParse = code.startsWith("HPE_") || code === "UND_ERR_HEADERS_OVERFLOW";
  return { kind: isParse ? "protocol" : "reset", sent: true, message: code || error.message };
}

/** Of what befell a connection undici has one code and, in few fixed words, several messages. */
function codeOf(error: Error): string {
  const code = "code" in error && typeof error.code === "string" ? error.code : "";
  return code === "UND_ERR_SOCKET" ? "" : code;
}
