import type { Reply } from "../gate/ports.ts";

/**
 * One HTTP exchange on the hot path. Node and Workers each bring their own: on Node it stands on the
 * raw request and response, which was measured at half the CPU of web streams.
 */
export type Exchange = {
  readonly method: string;
  /** Path and query as they were sent. */
  readonly url: string;
  /** Name, value, name, value, as they were sent. */
  readonly rawHeaders: readonly string[];
  /** By lower-case name; several of one name are joined with a comma. */
  readonly header: (name: string) => string | null;
  /** The whole body. Throws InputError `body_too_large` as soon as more bytes than that were read. */
  readonly readBody: (bytesMax: number) => Promise<Uint8Array>;
  /** The body as it comes, or null where there is none; ends with an error beyond the limit. */
  readonly streamBody: (bytesMax: number) => AsyncIterable<Uint8Array> | null;
  readonly isGone: () => boolean;
  /** Takes over the response. */
  readonly reply: () => Reply;
  /** What a handler returns after `reply`. */
  readonly handled: Response;
};
