/**
 * Sees what an unmodified client sends. Node's own `fetch` tells each request on a diagnostics channel,
 * so the library under test needs no option that its users would not set.
 */
import { subscribe, unsubscribe } from "node:diagnostics_channel";

const CHANNEL = "undici:request:create";

export type Sent = { readonly method: string; readonly path: string };

/** Runs `work` and answers each HTTP request that this process sent to `url` meanwhile, by `fetch`. */
export async function requestsTo(url: string, work: () => Promise<unknown>): Promise<Sent[]> {
  const sent: Sent[] = [];
  const listen = (message: unknown): void => {
    const { request } = message as { request: Sent & { origin: string | URL } };
    if (new URL(String(request.origin)).origin === new URL(url).origin) {
      sent.push({ method: request.method, path: request.path });
    }
  };
  subscribe(CHANNEL, listen);
  try {
    await work();
  } finally {
    unsubscribe(CHANNEL, listen);
  }
  return sent;
}
