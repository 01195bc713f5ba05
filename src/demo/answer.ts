import type { Fields } from "./fields.ts";

/** What the server sends: one JSON body, or the events of a stream, each its own write. */
export type Answer =
  | { readonly kind: "json"; readonly status: number; readonly body: unknown }
  | { readonly kind: "stream"; readonly events: readonly string[] };

/** The label that every answer carries, so that nobody takes the demo for a model. */
export const FINGERPRINT = "tollgate-demo";

/** Every answer bears this date (2026-01-01): the same request is answered with the same bytes. */
export const CREATED = 1_767_225_600;

export const DONE = "data: [DONE]\n\n";

export function json(body: unknown): Answer {
  return { kind: "json", status: 200, body };
}

export function dataEvent(data: unknown): string {
  return `data: ${JSON.stringify(data)}\n\n`;
}

/** An id that depends on the request alone: FNV-1a of its JSON, 32 bits, in hex. */
export function idFor(prefix: string, body: Fields): string {
  return `${prefix}demo${hash(JSON.stringify(body)).toString(16).padStart(8, "0")}`;
}

/** FNV-1a over UTF-16 code units: spreads seeds, protects nothing. */
export function hash(text: string): number {
  let state = 0x811c9dc5;
  for (let index = 0; index < text.length; index++) {
    state = Math.imul(state ^ text.charCodeAt(index), 0x01000193);
  }
  return state >>> 0;
}
