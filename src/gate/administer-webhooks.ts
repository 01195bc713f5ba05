/** Where a tenant wants to be told: webhooks, their secrets, and what could not be delivered to them. */
import { InputError } from "../core/errors.ts";
import { withPrefix } from "../core/ids.ts";
import { WEBHOOKS_MAX } from "../core/limits.ts";
import { wrongWebhookUrl, type MessageKind } from "../core/webhook.ts";
import { randomSecret } from "../lib/hash.ts";
import { insertEvent } from "../store/events.ts";
import { findDelivery, insertDelivery, reviveDelivery, type DeliveryRef } from "../store/outbox.ts";
import { transaction } from "../store/transaction.ts";
import {
  countWebhooks,
  findWebhook,
  insertWebhook,
  lockWebhooks,
  removeWebhook as remove,
  type WebhookRef,
} from "../store/webhooks.ts";
import { nameOf, notFound, requireScope, type Actor, type AdministrationPorts } from "./acts.ts";
import { placeOfSecret } from "./deliver.ts";

export type NewWebhookTerms = {
  readonly tenantId: string;
  readonly url: string;
  readonly kinds: readonly MessageKind[];
};

/** `secret` signs every message: told once, and stored sealed. */
export type IssuedWebhook = { readonly webhookId: string; readonly secret: string };

export type WebhookAdministration = {
  readonly create: (actor: Actor, terms: NewWebhookTerms) => Promise<IssuedWebhook>;
  /** What waits for it is dead. Removing twice is once. */
  readonly remove: (actor: Actor, webhook: WebhookRef) => Promise<void>;
  /** Sends it a `ping`; answers the delivery's id. */
  readonly ping: (actor: Actor, webhook: WebhookRef) => Promise<string>;
  /** A dead message is due at once, with all its tries before it. */
  readonly redeliver: (actor: Actor, delivery: DeliveryRef) => Promise<void>;
};

export function createWebhookAdministration(ports: AdministrationPorts): WebhookAdministration {
  return {
    create: (actor, terms) => create(ports, actor, terms),
    remove: (actor, webhook) => removeWebhook(ports, actor, webhook),
    ping: (actor, webhook) => ping(ports, actor, webhook),
    redeliver: (actor, delivery) => redeliver(ports, actor, delivery),
  };
}

/** Of a secret: what Standard Webhooks recommends is 24 to 64. */
const SECRET_BYTES = 32;

async function create(
  ports: AdministrationPorts,
  actor: Actor,
  terms: NewWebhookTerms,
): Promise<IssuedWebhook> {
  const { tenantId, url, kinds } = terms;
  requireScope(actor, tenantId, ["admin"]);
  const wrong = wrongWebhookUrl(url, ports.webhook.allowsPrivate);
  if (wrong !== null) throw new InputError("invalid_value", "url", wrong);
  const webhookId = withPrefix("webhook", ports.newId());
  const bytes = randomSecret(SECRET_BYTES);
  const sealedSecret = ports.seal.seal(placeOfSecret({ tenantId, webhookId }), bytes);
  await transaction(ports.db.admin, async (tx) => {
    await lockWebhooks(tx, tenantId);
    if ((await countWebhooks(tx, tenantId)) >= WEBHOOKS_MAX) {
      const message = `A tenant has at most ${WEBHOOKS_MAX} webhooks: remove one first.`;
      throw new InputError("conflict", null, message);
    }
    const createdBy = nameOf(actor);
    await insertWebhook(tx, { tenantId, webhookId, url, kinds, sealedSecret, createdBy });
    await insertEvent(tx, {
      tenantId,
      eventId: withPrefix("event", ports.newId()),
      kind: "webhook.created",
      actor: createdBy,
      subject: webhookId,
      // Of the URL its host: some receivers keep a secret in the path.
      body: { host: new URL(url).host, kinds },
    });
  });
  return { webhookId, secret: `whsec_${Buffer.from(bytes).toString("base64")}` };
}

async function removeWebhook(
  ports: AdministrationPorts,
  actor: Actor,
  webhook: WebhookRef,
): Promise<void> {
  const { tenantId, webhookId } = webhook;
  requireScope(actor, tenantId, ["admin"]);
  await transaction(ports.db.admin, async (tx) => {
    if ((await findWebhook(tx, webhook)) === null) throw notFound("webhook", "webhook");
    if (!(await remove(tx, webhook))) return;
    await insertEvent(tx, {
      tenantId,
      eventId: withPrefix("event", ports.newId()),
      kind: "webhook.removed",
      actor: nameOf(actor),
      subject: webhookId,
      body: {},
    });
  });
}

async function ping(
  ports: AdministrationPorts,
  actor: Actor,
  webhook: WebhookRef,
): Promise<string> {
  const { tenantId, webhookId } = webhook;
  requireScope(actor, tenantId, ["admin"]);
  const deliveryId = withPrefix("delivery", ports.newId());
  await transaction(ports.db.admin, async (tx) => {
    const found = await findWebhook(tx, webhook);
    if (found === null || found.removedAt !== null) throw notFound("webhook", "webhook");
    const body = JSON.stringify({
      type: "ping",
      timestamp: ports.now().toISOString(),
      data: { tenant: tenantId, webhook_id: webhookId },
    });
    await insertDelivery(tx, { tenantId, deliveryId, webhookId, kind: "ping", body });
    await insertEvent(tx, {
      tenantId,
      eventId: withPrefix("event", ports.newId()),
      kind: "webhook.tested",
      actor: nameOf(actor),
      subject: webhookId,
      body: { delivery: deliveryId },
    });
  });
  return deliveryId;
}

async function redeliver(
  ports: AdministrationPorts,
  actor: Actor,
  delivery: DeliveryRef,
): Promise<void> {
  const { tenantId, deliveryId } = delivery;
  requireScope(actor, tenantId, ["admin"]);
  await transaction(ports.db.admin, async (tx) => {
    const found = await findDelivery(tx, delivery);
    if (found === null) throw notFound("delivery", "delivery");
    const webhook = await findWebhook(tx, { tenantId, webhookId: found.webhookId });
    if (webhook === null || webhook.removedAt !== null) {
      throw new InputError("conflict", null, "Its webhook was removed: nobody is there to tell.");
    }
    if (!(await reviveDelivery(tx, delivery))) {
      const message = `Only a dead message is sent anew, and this one is ${found.state}.`;
      throw new InputError("conflict", null, message);
    }
    await insertEvent(tx, {
      tenantId,
      eventId: withPrefix("event", ports.newId()),
      kind: "delivery.revived",
      actor: nameOf(actor),
      subject: deliveryId,
      body: { tries: found.tries, last_result: found.lastResult },
    });
  });
}
