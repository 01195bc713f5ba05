/**
 * Sends what stands in the outbox, at least once, signed as Standard Webhooks says
 * (https://github.com/standard-webhooks/standard-webhooks): the receiver verifies who sent it and when, and
 * knows by the id what it has had before.
 *
 * A replica takes a message for longer than a try can last; one that dies in the middle leaves it to the
 * others, who may send it a second time. What fails is tried again later and later, and at last is dead:
 * told in the log, listed, and sent anew when somebody asks for it.
 */
import {
  DEAD_KEPT_MS,
  DELIVERED_KEPT_MS,
  DELIVERIES_MAX,
  DELIVERIES_OF_TENANT_MAX,
  DELIVERY_LEASE_MS,
  DELIVERY_TRIES_MAX,
} from "../core/limits.ts";
import { hmacSha256Base64 } from "../lib/hash.ts";
import {
  claimDeliveries,
  endDelivered,
  endFailed,
  forgetDeliveries,
  type DueDelivery,
} from "../store/outbox.ts";
import type { WebhookRef } from "../store/webhooks.ts";
import type { Ports, Received } from "./ports.ts";
import type { SealedPlace } from "./sealing.ts";

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;

/** What is waited after each try: a deployment, an outage, a night. Together 20 hours and a half. */
const WAITS_MS: readonly number[] = [
  5_000,
  MINUTE_MS,
  5 * MINUTE_MS,
  30 * MINUTE_MS,
  2 * HOUR_MS,
  6 * HOUR_MS,
  12 * HOUR_MS,
];

/** So that the messages of one outage do not all come back in the same moment: a fifth more or less. */
const JITTER = 0.2;

/** Rows forgotten by one statement, and statements of one turn: 10,000 a minute are more than can be sent. */
const FORGET_ROWS_MAX = 500;
const FORGET_ROUNDS_MAX = 20;

export type Deliverer = {
  /** Takes what is due, as far as there is room, and tries it beside everything else; answers how much. */
  readonly turn: () => Promise<number>;
  /** Resolves when no try is under way. */
  readonly drained: () => Promise<void>;
  /** Removes what ended long ago. */
  readonly forget: () => Promise<void>;
};

type DeliverPorts = Pick<Ports, "db" | "webhook" | "seal" | "log" | "now">;

/** `chance` is from 0 to below 1. */
export function createDeliverer(
  ports: DeliverPorts,
  chance: () => number = Math.random,
): Deliverer {
  const { db, log } = ports;
  const flying = new Map<Promise<void>, string>();
  return {
    turn: async () => {
      const rows = DELIVERIES_MAX - flying.size;
      if (rows <= 0) return 0;
      const due = await claimDeliveries(db.admin, {
        rows,
        rowsOfTenant: DELIVERIES_OF_TENANT_MAX,
        leaseMs: DELIVERY_LEASE_MS,
        busyTenants: [...new Set(flying.values())],
      });
      for (const delivery of due) {
        const { tenantId, deliveryId } = delivery;
        // Untold, it is due again when its lease ends.
        const failed = (error: unknown) =>
          log.warn(
            { error, tenantId, deliveryId },
            "what became of a message could not be written",
          );
        const flight = deliver(ports, delivery, chance()).then(undefined, failed);
        flying.set(flight, tenantId);
        void flight.finally(() => flying.delete(flight));
      }
      return due.length;
    },
    drained: async () => {
      while (flying.size > 0) await Promise.all(flying.keys());
    },
    forget: async () => {
      const kept = { deliveredMs: DELIVERED_KEPT_MS, deadMs: DEAD_KEPT_MS, rows: FORGET_ROWS_MAX };
      for (let round = 0; round < FORGET_ROUNDS_MAX; round += 1) {
        if ((await forgetDeliveries(db.admin, kept)) < FORGET_ROWS_MAX) break;
      }
    },
  };
}

/** Where a webhook's signing secret is sealed. */
export function placeOfSecret({ tenantId, webhookId }: WebhookRef): SealedPlace {
  return { purpose: "webhook_secret", tenantId, rowId: webhookId };
}

async function deliver(ports: DeliverPorts, due: DueDelivery, chance: number): Promise<void> {
  const { deliveryId, tries } = due;
  if (due.isRemoved) return dead(ports, due, "its webhook was removed");
  const secret = ports.seal.open(placeOfSecret(due), due.sealedSecret);
  if (secret === null) {
    const result = "its secret cannot be opened: remove the webhook and create it anew";
    return dead(ports, due, result);
  }
  const timestamp = Math.floor(ports.now().getTime() / 1_000);
  const signed = `${deliveryId}.${timestamp}.${due.body}`;
  const received = await ports.webhook.post({
    url: due.url,
    headers: {
      "content-type": "application/json",
      "user-agent": "tollgate",
      "webhook-id": deliveryId,
      "webhook-timestamp": String(timestamp),
      "webhook-signature": `v1,${hmacSha256Base64(secret, signed)}`,
    },
    body: due.body,
  });
  const result = resultOf(received);
  if (received.kind === "answered" && received.status >= 200 && received.status < 300) {
    return endDelivered(ports.db.admin, due, result);
  }
  // 410 is how a receiver says that it wants no more.
  const isGone = received.kind === "answered" && received.status === 410;
  if (isGone || tries >= DELIVERY_TRIES_MAX) return dead(ports, due, result);
  const retryMs = retryAfterMs(tries, chance);
  await endFailed(ports.db.admin, due, { result, retryMs });
}

/** How long after so many tries the next one waits. */
export function retryAfterMs(tries: number, chance: number): number {
  const waitMs = WAITS_MS[tries - 1] ?? WAITS_MS.at(-1) ?? HOUR_MS;
  return Math.round(waitMs * (1 - JITTER + 2 * JITTER * chance));
}

async function dead(ports: DeliverPorts, due: DueDelivery, result: string): Promise<void> {
  const { tenantId, deliveryId, webhookId, tries } = due;
  await endFailed(ports.db.admin, due, { result, retryMs: null });
  ports.log.warn({ tenantId, deliveryId, webhookId, tries, result }, "a message is dead");
}

function resultOf(received: Received): string {
  return received.kind === "answered" ? `answered ${received.status}` : received.message;
}
