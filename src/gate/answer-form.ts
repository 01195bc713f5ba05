/** What an answer is by its head: a stream of events, or one document. */
import type { Route } from "../dialects/dialect.ts";
import type { Permit } from "./admit.ts";
import { valueOf } from "./headers.ts";

/** Whether the head calls it a stream of events: media types are the same in any case (RFC 9110 §8.3.1). */
export function isEventStream(headers: readonly string[]): boolean {
  const [mediaType = ""] = (valueOf(headers, "content-type") ?? "").split(";", 1);
  return mediaType.trim().toLowerCase() === "text/event-stream";
}

/** Whether its bytes are encoded, though every call asks for `identity`. */
export function isEncoded(headers: readonly string[]): boolean {
  const encodings = (valueOf(headers, "content-encoding") ?? "").split(",");
  return encodings.some((each) => !["", "identity"].includes(each.trim().toLowerCase()));
}

/**
 * Whether an answer that its head calls something else may be the stream that was asked for: some upstreams name
 * it `text/plain`, or not at all. Sound may begin with any bytes.
 */
export function mayBeEvents({ intent }: Permit, route: Route, status: number): boolean {
  if (!intent.stream || route.billing !== "metered" || route.operation === "speech") return false;
  return status >= 200 && status < 300;
}

/** A short 400 that names the option which we added. */
export function namesStreamOptions(parts: readonly Uint8Array[]): boolean {
  return Buffer.concat(parts).includes("stream_options");
}
