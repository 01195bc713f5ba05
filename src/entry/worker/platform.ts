/** What Workers have beyond the web's own: types only, so that no second set of globals fights Node's. */

/** Keeps an invocation alive for what outlives its answer, at most 30 s after it or after the client left. */
export type Context = { readonly waitUntil: (work: Promise<unknown>) => void };

/** Variables and secrets are texts; other bindings are objects. */
export type Bindings = Readonly<Record<string, unknown>>;

/** A pass-through of bytes without a buffer of its own: what is written leaves when it is read. */
export type BytePipe = {
  readonly readable: ReadableStream<Uint8Array>;
  readonly writable: WritableStream<Uint8Array>;
};

declare const FixedLengthStream: new (length: number) => BytePipe;
declare const IdentityTransformStream: new () => BytePipe;

/** A pipe that announces its length on the wire where it is known, and travels in chunks where not. */
export function bytePipe(length: number | null): BytePipe {
  return length === null ? new IdentityTransformStream() : new FixedLengthStream(length);
}

/** The length that a header tells, or null when it tells none. */
export function lengthFrom(text: string | null): number | null {
  return text !== null && /^\d{1,15}$/.test(text) ? Number(text) : null;
}
