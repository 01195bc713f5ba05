/** Answering who asks again: with the answer that there is, or once there is one. */
import type { Exchange } from "./exchange.ts";
import type { Captured } from "../gate/capture.ts";

/** The answer as it was given, byte for byte, with its own decision; and that it is a repeat. */
export function sendRepeat(exchange: Exchange, kept: Captured): Response {
  const reply = exchange.reply();
  reply.head(kept.status, [...kept.headers, "idempotent-replayed", "true"], false);
  reply.write(kept.body);
  reply.end();
  return exchange.handled;
}
