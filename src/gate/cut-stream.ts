/** An answer that ended before it was complete: how it is noticed, and how the client of a stream is told. */
import type { Meter, Route } from "../dialects/dialect.ts";
import { OBJECTS } from "../dialects/openai/meter.ts";
import { phraseStreamError } from "../dialects/openai/phrase.ts";

/** A clean end of file without the terminal marker: official libraries would take it for success. */
export function isCut(route: Route, status: number | null, meter: Meter | null): boolean {
  if (meter === null || status !== 200) return false;
  if (!["chat", "text_completion", "responses"].includes(route.operation)) return false;
  const { progress, error } = meter.reading();
  return error === null && progress !== "complete" && progress !== "finishing";
}

/**
 * The same of one document: a body in chunks whose sender was ended, or a length that was told too short. A 200
 * without a byte is one too; other statuses may have nothing to say.
 */
export function isCutDocument(route: Route, status: number | null, meter: Meter | null): boolean {
  if (meter === null || status === null || status < 200 || status >= 300) return false;
  if (!OBJECTS.has(route.operation)) return false;
  const { progress } = meter.reading();
  return progress === "started" || (progress === "none" && status === 200);
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
