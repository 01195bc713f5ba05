/** A stream that ended before it was complete: how it is noticed, and how its client is told. */
import type { Meter, Route } from "../dialects/dialect.ts";
import { phraseStreamError } from "../dialects/openai/phrase.ts";

/** A clean end of file without the terminal marker: official libraries would take it for success. */
export function isCut(route: Route, status: number | null, meter: Meter | null): boolean {
  if (meter === null || status !== 200) return false;
  if (!["chat", "text_completion", "responses"].includes(route.operation)) return false;
  const { progress, error } = meter.reading();
  return error === null && progress !== "complete" && progress !== "finishing";
}

const BREAK = new TextEncoder().encode("\n\n");

/**
 * One write. Where the upstream was cut inside an event, two line feeds close that one first; where
 * nobody listened it may have been, and between events they mean nothing.
 */
export function streamError(route: Route, message: string, meter: Meter | null): Uint8Array {
  const error = { code: "upstream_error", message };
  const event = phraseStreamError(route, error, meter?.nextSequence() ?? 0);
  return meter?.betweenEvents() === true ? event : Buffer.concat([BREAK, event]);
}
