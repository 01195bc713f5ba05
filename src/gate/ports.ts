import type { Database } from "../store/database.ts";
import type { Seal } from "./sealing.ts";

/** Everything that differs between Node, Workers and tests. Nothing else is injected. */
export type Ports = {
  readonly db: Database;
  readonly upstream: UpstreamPort;
  /** Milliseconds of a clock that never runs backwards: for deadlines and durations, not for dates. */
  readonly monotonicMs: () => number;
  /** The wall clock of this process: for ids and for choosing a price by date. Windows use the database's. */
  readonly now: () => Date;
  /** 26 characters, ordered by time: the part of an id after its prefix. */
  readonly newId: () => string;
  readonly countTokens: CountTokens;
  /** Work that outlives the response; a failure is logged under `name`, never lost. */
  readonly runAfter: (name: string, work: () => Promise<void>) => void;
  readonly log: Log;
  /** Seals what is stored of calls, answers and secrets, with the installation's data key. */
  readonly seal: Seal;
  readonly webhook: WebhookPort;
  /** The process is ending: what can be tried again later is left to the next one. */
  readonly isClosing: () => boolean;
};

/**
 * Posts a message where a tenant said: to public addresses only, by https, unless the operator allows
 * others. The address is checked when the connection is made; no redirect is followed; a try ends within
 * DELIVERY_MS_MAX, whatever the receiver does.
 */
export type WebhookPort = {
  /** Private addresses, and http: for receivers on the operator's own network. */
  readonly allowsPrivate: boolean;
  readonly post: (message: {
    readonly url: string;
    readonly headers: Readonly<Record<string, string>>;
    readonly body: string;
  }) => Promise<Received>;
};

/** `message`: why there was no answer, in words that may be stored and shown. */
export type Received =
  | { readonly kind: "answered"; readonly status: number }
  | { readonly kind: "failed"; readonly message: string };

/** Tokens of all texts together; null where they could not be counted. Who has no tokeniser answers their bound. */
export type CountTokens = (
  texts: readonly string[],
  encoding: "o200k_base" | "cl100k_base",
) => Promise<number | null>;

export type Log = {
  readonly debug: (fields: object, message: string) => void;
  readonly info: (fields: object, message: string) => void;
  readonly warn: (fields: object, message: string) => void;
  readonly error: (fields: object, message: string) => void;
};

/** One request to an upstream. Headers are name, value, name, value: what undici takes without copying. */
export type UpstreamRequest = {
  readonly upstream: string;
  /** Tenant-supplied hosts get a pool of their own, so no connection is shared between tenants. */
  readonly origin: string;
  readonly path: string;
  readonly method: string;
  readonly headers: readonly string[];
  readonly body: Uint8Array | AsyncIterable<Uint8Array> | null;
  /** Asked when the first byte is about to be written. False: write none, and fail as `lapsed`. */
  readonly mayStart: () => boolean;
};

/**
 * Hears one answer. Called in order: head, then data any number of times, then exactly one of end or fail.
 * Headers are name, value, name, value, the names in lower case.
 */
export type UpstreamListener = {
  readonly onHead: (status: number, headers: readonly string[]) => void;
  /** False: pause until `resume` is called on the exchange. */
  readonly onData: (chunk: Uint8Array) => boolean;
  readonly onEnd: () => void;
  readonly onFail: (failure: UpstreamFailure) => void;
};

/** `sent` false: no byte of the request reached the upstream, so it cannot have run. */
export type UpstreamFailure =
  | {
      readonly kind: "refused" | "reset" | "timeout" | "aborted" | "protocol";
      readonly sent: boolean;
      readonly message: string;
    }
  /** The request's own body ended with `cause`: the upstream never had it whole, so it cannot have run. */
  | {
      readonly kind: "body";
      readonly sent: false;
      readonly message: string;
      readonly cause: unknown;
    }
  /** The gate took its permit back before a byte was sent: it is a fault of ours, and not the upstream's. */
  | { readonly kind: "lapsed"; readonly sent: false; readonly message: string }
  /** What heard the answer has thrown: a fault of ours too, though the request may have run. */
  | { readonly kind: "fault"; readonly sent: true; readonly message: string };

export type UpstreamExchange = {
  /** Whether a byte of the request may have reached the upstream. */
  readonly isSent: () => boolean;
  readonly resume: () => void;
  readonly abort: () => void;
};

export type UpstreamPort = {
  readonly dispatch: (request: UpstreamRequest, listener: UpstreamListener) => UpstreamExchange;
  readonly close: () => Promise<void>;
};

/** Where an answer goes: the client's connection. A stream's first bytes leave at once. */
export type Reply = {
  /** `flush`: the head leaves before any byte of a body, as a stream's must. */
  readonly head: (status: number, headers: string[], flush: boolean) => void;
  /** One write. False: the client reads slowly; `onDrain` tells when it has caught up. */
  readonly write: (chunk: Uint8Array) => boolean;
  /** Ends politely, with the last bytes if there are any, after everything written has left. */
  readonly end: (last?: Uint8Array) => void;
  /** Ends by breaking the connection: how a cut answer must look when its head promised more. */
  readonly destroy: () => void;
  readonly onDrain: (listener: () => void) => void;
  /** Told once when the client is gone before the answer ended. */
  readonly onGone: (listener: () => void) => void;
  readonly isGone: () => boolean;
};
