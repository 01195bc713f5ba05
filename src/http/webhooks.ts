/** Webhooks, and the messages that were sent to them or could not be. */
import { z } from "@hono/zod-openapi";

import { WEBHOOK_URL_CHARS_MAX } from "../core/limits.ts";
import { MESSAGE_KINDS } from "../core/webhook.ts";
import { define, found, NONE, pageOf as pageFrom, type Api } from "./api.ts";
import { Id, pageOf, Paging, Tenanted, TenantOnly, time } from "./schemas.ts";

const WebhookId = z.strictObject({ webhook: Id });
const DeliveryId = z.strictObject({ delivery: Id });
const DeliveryStates = z.enum(["pending", "delivered", "dead"]);

const Kinds = z
  .array(z.enum(MESSAGE_KINDS))
  .min(1, "at least one")
  .max(MESSAGE_KINDS.length)
  .refine((kinds) => new Set(kinds).size === kinds.length, { error: "each kind once" });

const webhookMembers = {
  id: z.string(),
  tenant: z.string(),
  url: z.string(),
  kinds: z.array(z.string()).readonly(),
  created_by: z.string(),
  created_at: time,
  removed_at: time.nullable(),
};

const Webhook = z.object(webhookMembers).openapi("Webhook");
const IssuedWebhook = z
  .object({
    ...webhookMembers,
    secret: z.string().openapi({ description: "Signs each message. Shown once, here." }),
  })
  .openapi("IssuedWebhook");

const Delivery = z
  .object({
    id: z.string().openapi({ description: "The `webhook-id` of the message." }),
    webhook: z.string(),
    kind: z.string(),
    state: DeliveryStates,
    tries: z.number().int(),
    last_result: z.string().nullable(),
    created_at: time,
    due_at: time.nullable(),
    ended_at: time.nullable(),
  })
  .openapi("Delivery");

export function webhookRoutes(api: Api): void {
  createRoute(api);
  listRoutes(api);
  changeRoutes(api);
  deliveryRoutes(api);
}

function createRoute(api: Api): void {
  define(
    api,
    {
      method: "post",
      path: "/webhooks",
      summary: "Create a webhook",
      description:
        "Messages are signed as Standard Webhooks says. Of all kinds, unless `kinds` names some.",
      scopes: ["admin"],
      tenancy: "one",
      params: NONE,
      query: TenantOnly,
      body: z.strictObject({
        ...Tenanted,
        url: z.string().min(1).max(WEBHOOK_URL_CHARS_MAX),
        kinds: Kinds.optional(),
      }),
      status: 201,
      answer: IssuedWebhook,
    },
    async ({ bindings: { administration, ledger }, actor, tenantId, body }) => {
      const terms = { tenantId, url: body.url, kinds: body.kinds ?? MESSAGE_KINDS };
      const { webhookId, secret } = await administration.webhooks.create(actor, terms);
      return { ...found(await ledger.webhook({ tenantId, webhookId }), "webhook"), secret };
    },
  );
}

function listRoutes(api: Api): void {
  define(
    api,
    {
      method: "get",
      path: "/webhooks",
      summary: "List webhooks, without their secrets",
      scopes: ["admin"],
      tenancy: "one",
      params: NONE,
      query: z.strictObject({ ...Tenanted, ...Paging }),
      body: NONE,
      status: 200,
      answer: pageOf(Webhook),
    },
    ({ bindings: { ledger }, tenantId, query }) => ledger.webhooks(tenantId, pageFrom(query)),
  );
}

function changeRoutes(api: Api): void {
  define(
    api,
    {
      method: "delete",
      path: "/webhooks/{webhook}",
      summary: "Remove a webhook; what waits for it is not sent any more",
      scopes: ["admin"],
      tenancy: "one",
      params: WebhookId,
      query: TenantOnly,
      body: NONE,
      status: 200,
      answer: Webhook,
    },
    async ({ bindings: { administration, ledger }, actor, tenantId, params }) => {
      const ref = { tenantId, webhookId: params.webhook };
      await administration.webhooks.remove(actor, ref);
      return found(await ledger.webhook(ref), "webhook");
    },
  );
  define(
    api,
    {
      method: "post",
      path: "/webhooks/{webhook}/test",
      summary: "Send a `ping`",
      scopes: ["admin"],
      tenancy: "one",
      params: WebhookId,
      query: TenantOnly,
      body: TenantOnly,
      status: 201,
      answer: Delivery,
    },
    async ({ bindings: { administration, ledger }, actor, tenantId, params }) => {
      const ref = { tenantId, webhookId: params.webhook };
      const deliveryId = await administration.webhooks.ping(actor, ref);
      return found(await ledger.delivery({ tenantId, deliveryId }), "delivery");
    },
  );
}

function deliveryRoutes(api: Api): void {
  define(
    api,
    {
      method: "get",
      path: "/deliveries",
      summary: "List messages to webhooks, newest first",
      description:
        "`dead`: every try has failed. Delivered ones are kept a week, dead ones a month.",
      scopes: ["admin"],
      tenancy: "one",
      params: NONE,
      query: z.strictObject({ ...Tenanted, ...Paging, state: DeliveryStates.optional() }),
      body: NONE,
      status: 200,
      answer: pageOf(Delivery),
    },
    ({ bindings: { ledger }, tenantId, query }) =>
      ledger.deliveries(tenantId, { ...pageFrom(query), state: query.state ?? null }),
  );
  define(
    api,
    {
      method: "post",
      path: "/deliveries/{delivery}/redeliver",
      summary: "Send a dead message anew",
      scopes: ["admin"],
      tenancy: "one",
      params: DeliveryId,
      query: TenantOnly,
      body: TenantOnly,
      status: 200,
      answer: Delivery,
    },
    async ({ bindings: { administration, ledger }, actor, tenantId, params }) => {
      const ref = { tenantId, deliveryId: params.delivery };
      await administration.webhooks.redeliver(actor, ref);
      return found(await ledger.delivery(ref), "delivery");
    },
  );
}
