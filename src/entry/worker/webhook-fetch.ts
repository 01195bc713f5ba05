/**
 * The port `webhook` on Workers: `fetch`, which leaves from Cloudflare's edge and reaches the public internet
 * only. There is no private network of the operator's behind it, and so nothing that could be allowed.
 */
import { DELIVERY_MS_MAX } from "../../core/limits.ts";
import type { Received, WebhookPort } from "../../gate/ports.ts";

export function createFetchWebhookPort(): WebhookPort {
  return { allowsPrivate: false, post };
}

async function post({ url, headers, body }: Parameters<WebhookPort["post"]>[0]): Promise<Received> {
  try {
    const answer = await fetch(url, {
      method: "POST",
      headers,
      body,
      redirect: "manual",
      signal: AbortSignal.timeout(DELIVERY_MS_MAX),
    });
    // The status has said it: nothing else is read.
    await answer.body?.cancel();
    return { kind: "answered", status: answer.status };
  } catch (error) {
    const isLate = error instanceof Error && error.name === "TimeoutError";
    const message = isLate ? `no answer within ${DELIVERY_MS_MAX / 1_000} s` : "no answer";
    return { kind: "failed", message };
  }
}
