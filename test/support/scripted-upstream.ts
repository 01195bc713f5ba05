import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { Rates } from "../../src/core/price.ts";
import { USAGE_CLASSES, type Usage } from "../../src/core/usage.ts";

/** One write of an answer. It waits for `gate`, then for `delayMs`, then is handed to the socket whole. */
type Frame =
  | string
  | Uint8Array
  | {
      readonly bytes: string | Uint8Array;
      readonly delayMs?: number;
      readonly gate?: Promise<unknown>;
    };

/** What is known of an exchange when it is over, for scripts that bill by what was delivered. */
export type Delivery = { readonly frames: number; readonly bytes: number; readonly whole: boolean };

/** What this upstream charges for an exchange: an amount, or a function of what was delivered. */
type Billing = Usage | ((delivery: Delivery) => Usage);

type Answer = {
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string | readonly string[]>>;
  /** Headers are held back for so long, or until the promise settles. */
  readonly headersDelayMs?: number;
  readonly headersGate?: Promise<unknown>;
  /** Charged once the answer begins, whether or not anyone stays to read it. */
  readonly bill?: Billing;
  /** The connection is reset (RST, not FIN) once exactly so many body bytes were sent. */
  readonly resetAtByte?: number;
  /** Overrides `content-length`, truthfully or not; absent means chunked for `sse`, true for others. */
  readonly contentLength?: number;
};

type AnswerScript =
  | (Answer & { readonly kind: "json"; readonly body: unknown })
  | (Answer & { readonly kind: "bytes"; readonly frames: Iterable<Frame> })
  | (Answer & {
      readonly kind: "sse";
      /** Written as they stand: events, halves of events, or garbage. May be endless. */
      readonly frames: Iterable<Frame>;
      /** After the last frame: a clean end (default), silence, a FIN without the last chunk. */
      readonly last?: "end" | "stall" | "truncate";
    });

export type Script =
  | AnswerScript
  /** Takes the request and never answers. `bill` is charged all the same. */
  | { readonly kind: "stall"; readonly bill?: Usage }
  /** Closes, or resets, the connection before any header. */
  | { readonly kind: "close" | "reset"; readonly bill?: Usage };

/** How an exchange ended, as the upstream saw it. */
type ExchangeEnd = "running" | "complete" | "closed_by_client" | "cut_by_script";

/** The upstream's own record of one request: the truth that the ledger is compared with. */
export type Exchange = {
  readonly number: number;
  readonly method: string;
  readonly path: string;
  /** Names and values alternating, as received: duplicates, order and case kept. */
  readonly rawHeaders: readonly string[];
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: Uint8Array;
  readonly model: string | null;
  readonly acceptedAt: Date;
  readonly delivered: { frames: number; bytes: number };
  billed: Usage | null;
  ended: ExchangeEnd;
};

type Choose = Script | ((exchange: Exchange) => Script);

export type ScriptedUpstream = {
  /** The base URL, with `/v1`. */
  readonly url: string;
  readonly journal: readonly Exchange[];
  /** TCP connections accepted so far: a refused request must not even open one. */
  connections: () => number;
  /** Plays these for the next requests, in order, before any other choice. */
  next: (...scripts: readonly Choose[]) => void;
  /** Plays this for every request of that model. */
  onModel: (model: string, script: Choose) => void;
  /** Plays this for requests that carry `x-script: <name>`. */
  onHeader: (name: string, script: Choose) => void;
  /** Plays this when nothing else fits; without it such a request is answered 500 `unscripted`. */
  otherwise: (script: Choose) => void;
  /** Resolves when `count` requests have arrived whole. */
  arrived: (count: number) => Promise<void>;
  /** Resolves when no exchange is running. */
  quiet: () => Promise<void>;
  /** Σ of all that was billed, in pico-dollars. A billed class without a rate throws. */
  bill: (rates: Rates | ((exchange: Exchange) => Rates)) => bigint;
  close: () => Promise<void>;
};

const REQUEST_BYTES_MAX = 600 * 1024 * 1024;

/** A real HTTP server on loopback that plays, delays, cuts, garbles or never answers, and keeps a journal. */
export async function startScriptedUpstream(): Promise<ScriptedUpstream> {
  const journal: Exchange[] = [];
  const queue: Choose[] = [];
  const byModel = new Map<string, Choose>();
  const byHeader = new Map<string, Choose>();
  let fallback: Choose = unscripted;
  let connections = 0;
  let changed = Promise.withResolvers<void>();
  const notify = (): void => {
    changed.resolve();
    changed = Promise.withResolvers();
  };
  const until = async (condition: () => boolean): Promise<void> => {
    while (!condition()) await changed.promise;
  };

  const choose = (exchange: Exchange): Script => {
    const header = exchange.headers["x-script"];
    const chosen =
      queue.shift() ??
      (typeof header === "string" ? byHeader.get(header) : undefined) ??
      (exchange.model === null ? undefined : byModel.get(exchange.model)) ??
      fallback;
    return typeof chosen === "function" ? chosen(exchange) : chosen;
  };

  const server = createServer((request, response) => {
    void answer(request, response).finally(notify);
  });
  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const body = await read(request);
    if (body === null) return; // The client left while it was still sending: there was no request.
    const exchange = open(journal.length + 1, request, body);
    journal.push(exchange);
    notify();
    response.once("close", () => {
      if (exchange.ended === "running") exchange.ended = "closed_by_client";
      notify();
    });
    await play(choose(exchange), exchange, response);
  };
  server.on("connection", () => (connections += 1));
  server.requestTimeout = 0;
  server.keepAliveTimeout = 75_000;
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no loopback port");

  return {
    url: `http://127.0.0.1:${address.port}/v1`,
    journal,
    connections: () => connections,
    next: (...scripts) => void queue.push(...scripts),
    onModel: (model, script) => void byModel.set(model, script),
    onHeader: (name, script) => void byHeader.set(name, script),
    otherwise: (script) => {
      fallback = script;
    },
    arrived: (count) => until(() => journal.length >= count),
    quiet: () => until(() => journal.every((exchange) => exchange.ended !== "running")),
    bill: (rates) => sumBill(journal, typeof rates === "function" ? rates : () => rates),
    close: async () => {
      const closed = once(server, "close");
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}

async function read(request: IncomingMessage): Promise<Uint8Array | null> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  try {
    for await (const chunk of request as AsyncIterable<Buffer>) {
      bytes += chunk.byteLength;
      if (bytes > REQUEST_BYTES_MAX) throw new Error("request beyond every limit of the gateway");
      chunks.push(chunk);
    }
  } catch {
    return null;
  }
  return Buffer.concat(chunks);
}

function open(number: number, request: IncomingMessage, body: Uint8Array): Exchange {
  return {
    number,
    method: request.method ?? "",
    path: request.url ?? "",
    rawHeaders: request.rawHeaders,
    headers: request.headers,
    body,
    model: modelOf(body),
    acceptedAt: new Date(),
    delivered: { frames: 0, bytes: 0 },
    billed: null,
    ended: "running",
  };
}

function modelOf(body: Uint8Array): string | null {
  try {
    const parsed: unknown = JSON.parse(Buffer.from(body).toString());
    const model = (parsed as { model?: unknown } | null)?.model;
    return typeof model === "string" ? model : null;
  } catch {
    return null; // Multipart, or broken JSON passed through on purpose: it names no model.
  }
}

async function play(script: Script, exchange: Exchange, response: ServerResponse): Promise<void> {
  switch (script.kind) {
    case "stall":
      exchange.billed = script.bill ?? null;
      return;
    case "close":
    case "reset":
      exchange.billed = script.bill ?? null;
      exchange.ended = "cut_by_script";
      if (script.kind === "reset") response.socket?.resetAndDestroy();
      else response.socket?.destroy();
      return;
    case "json":
    case "bytes":
    case "sse":
      await playAnswer(script, exchange, response);
  }
}

async function playAnswer(
  script: AnswerScript,
  exchange: Exchange,
  response: ServerResponse,
): Promise<void> {
  await script.headersGate;
  if (script.headersDelayMs !== undefined) await wait(script.headersDelayMs, response);
  if (response.destroyed) return;
  if (script.bill !== undefined && typeof script.bill !== "function") exchange.billed = script.bill;
  const frames =
    script.kind === "json" ? [Buffer.from(JSON.stringify(script.body))] : script.frames;
  response.writeHead(script.status ?? 200, headersOf(script, frames));
  response.flushHeaders();
  const whole = await writeFrames(frames, script.resetAtByte ?? Infinity, exchange, response);
  if (typeof script.bill === "function") {
    exchange.billed = script.bill({ ...exchange.delivered, whole });
  }
  if (!whole || response.destroyed) return;
  const last = script.kind === "sse" ? (script.last ?? "end") : "end";
  if (last === "stall") return;
  if (last === "truncate" || promisesMore(script, exchange)) {
    // FIN without the terminating chunk, or short of the promised length.
    exchange.ended = "cut_by_script";
    response.socket?.end();
    return;
  }
  exchange.ended = "complete";
  await new Promise<void>((resolve) => response.end(resolve));
}

function headersOf(script: AnswerScript, frames: Iterable<Frame>) {
  const headers: Record<string, string | string[] | number> = {
    "content-type": script.kind === "sse" ? "text/event-stream; charset=utf-8" : "application/json",
    "x-request-id": "req_scripted",
    "openai-processing-ms": "7",
  };
  if (script.kind === "json") headers["content-length"] = lengthOf(frames);
  for (const [name, value] of Object.entries(script.headers ?? {})) {
    headers[name] = typeof value === "string" ? value : [...value];
  }
  if (script.contentLength !== undefined) headers["content-length"] = script.contentLength;
  return headers;
}

function lengthOf(frames: Iterable<Frame>): number {
  let bytes = 0;
  for (const frame of frames) bytes += bytesOf(frame).byteLength;
  return bytes;
}

function promisesMore(script: Answer, exchange: Exchange): boolean {
  return script.contentLength !== undefined && script.contentLength > exchange.delivered.bytes;
}

/** Writes frame after frame, as fast as the reader reads; answers whether all of them went out. */
async function writeFrames(
  frames: Iterable<Frame>,
  resetAtByte: number,
  exchange: Exchange,
  response: ServerResponse,
): Promise<boolean> {
  for (const frame of frames) {
    if (typeof frame === "object" && "bytes" in frame) {
      await Promise.race([frame.gate, closed(response)]);
      if (frame.delayMs !== undefined) await wait(frame.delayMs, response);
    }
    const bytes = bytesOf(frame);
    const room = resetAtByte - exchange.delivered.bytes;
    const sent = await write(response, bytes.subarray(0, Math.min(room, bytes.byteLength)));
    if (!sent) return false;
    exchange.delivered.bytes += Math.min(room, bytes.byteLength);
    if (room <= bytes.byteLength && resetAtByte !== Infinity) {
      exchange.ended = "cut_by_script";
      await settle(response);
      response.socket?.resetAndDestroy();
      return false;
    }
    exchange.delivered.frames += 1;
  }
  return true;
}

function bytesOf(frame: Frame): Uint8Array {
  const bytes = typeof frame === "object" && "bytes" in frame ? frame.bytes : frame;
  return typeof bytes === "string" ? Buffer.from(bytes) : bytes;
}

/** Resolves true once the bytes are with the kernel, false when the connection has gone. */
async function write(response: ServerResponse, bytes: Uint8Array): Promise<boolean> {
  if (response.destroyed) return false;
  if (bytes.byteLength === 0) return true;
  const written = new Promise<boolean>((resolve) => {
    response.write(bytes, (error) => resolve(error === undefined || error === null));
  });
  return await Promise.race([written, closed(response).then(() => false)]);
}

/** A reset discards what the peer's kernel has not read yet: gives loopback the moment to deliver. */
async function settle(response: ServerResponse): Promise<void> {
  await wait(20, response);
}

/** Settles when the answer's connection has gone; one listener per answer, however long it is. */
const departures = new WeakMap<ServerResponse, Promise<void>>();

function closed(response: ServerResponse): Promise<void> {
  if (response.destroyed) return Promise.resolve();
  const known = departures.get(response);
  if (known !== undefined) return known;
  const departure = new Promise<void>((resolve) => response.once("close", resolve));
  departures.set(response, departure);
  return departure;
}

async function wait(ms: number, response: ServerResponse): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const elapsed = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, ms);
  });
  await Promise.race([elapsed, closed(response)]);
  clearTimeout(timer);
}

function unscripted(exchange: Exchange): Script {
  const message = `no script for ${exchange.method} ${exchange.path} (model ${exchange.model})`;
  const error = { message, type: "server_error", param: null, code: "unscripted" };
  return { kind: "json", status: 500, body: { error } };
}

function sumBill(journal: readonly Exchange[], ratesOf: (exchange: Exchange) => Rates): bigint {
  let total = 0n;
  for (const exchange of journal) {
    if (exchange.billed === null) continue;
    const rates = ratesOf(exchange);
    for (const name of USAGE_CLASSES) {
      const units = exchange.billed[name] ?? 0;
      if (units === 0) continue;
      const rate = rates[name];
      if (rate === undefined) throw new Error(`exchange ${exchange.number} bills unpriced ${name}`);
      total += BigInt(units) * rate;
    }
  }
  return total;
}
