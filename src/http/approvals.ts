/** Approvals: what waits for a person, what exactly it is, and the answers. */
import { z } from "@hono/zod-openapi";

import { APPROVAL_STATES } from "../core/approval.ts";
import { APPROVAL_REASON_CHARS_MAX } from "../core/limits.ts";
import { decodeUtf8 } from "../lib/json.ts";
import { define, found, NONE, pageOf as pageFrom, type Api, type Asked } from "./api.ts";
import { Id, ModelName, pageOf, Paging, Tenanted, TenantOnly, time, usd } from "./schemas.ts";

const ApprovalId = z.strictObject({ approval: Id });
const States = z.enum(APPROVAL_STATES);

const Reason = z
  .string()
  .trim()
  .max(APPROVAL_REASON_CHARS_MAX)
  .regex(/^[^\p{Cc}]*$/u, "text in one line");

const Digest = z
  .string()
  .regex(/^[0-9a-f]{64}$/, "the `digest` of the approval: 64 hexadecimal digits")
  .openapi({ description: "Of the call as it was shown: another call is not what was seen." });

const members = {
  id: z.string(),
  tenant: z.string(),
  state: States,
  digest: z.string(),
  requested_by: z.string(),
  decision: z.string(),
  run: z.string(),
  step: z.string().nullable(),
  door: z.string(),
  operation: z.string().nullable(),
  resource: z.string(),
  estimate_usd: usd.nullable(),
  policies: z
    .array(z.object({ id: z.string(), version: z.string(), reason: z.string().nullable() }))
    .readonly(),
  approvals: z.number().int(),
  quorum: z.number().int(),
  role: z.string().nullable(),
  created_at: time,
  expires_at: time,
  decided_at: time.nullable(),
  consumed_by: z.string().nullable(),
};

const Approval = z.object(members).openapi("Approval");

const ShownApproval = z
  .object({
    ...members,
    votes: z
      .array(
        z.object({ key: z.string(), approves: z.boolean(), reason: z.string(), voted_at: time }),
      )
      .readonly(),
    call: z.string().nullable().openapi({
      description:
        "The exact call, as it was sent: not read and written anew, which could hide what differs. Null: it is kept no more, or cannot be opened any more.",
    }),
    call_encoding: z
      .enum(["utf-8", "base64"])
      .openapi({ description: "`base64`: the call is no text." }),
  })
  .openapi("ShownApproval");

export function approvalRoutes(api: Api): void {
  lookRoutes(api);
  voteRoutes(api);
  cancelRoute(api);
}

function lookRoutes(api: Api): void {
  define(
    api,
    {
      method: "get",
      path: "/approvals",
      summary: "List approvals, newest first",
      description: "`expired`: nobody answered in time. `lapsed`: approved, and not used in time.",
      scopes: ["approve", "admin"],
      tenancy: "one",
      params: NONE,
      query: z.strictObject({
        ...Tenanted,
        ...Paging,
        state: States.optional(),
        resource: ModelName.optional(),
      }),
      body: NONE,
      status: 200,
      answer: pageOf(Approval),
    },
    ({ bindings: { ledger }, tenantId, query }) =>
      ledger.approvals(tenantId, {
        ...pageFrom(query),
        state: query.state ?? null,
        resource: query.resource ?? null,
      }),
  );
  define(
    api,
    {
      method: "get",
      path: "/approvals/{approval}",
      summary: "Show an approval with the exact call that it is about",
      scopes: ["approve", "admin"],
      tenancy: "one",
      params: ApprovalId,
      query: TenantOnly,
      body: NONE,
      status: 200,
      answer: ShownApproval,
    },
    async ({ bindings: { administration, ledger }, actor, tenantId, params }) => {
      const ref = { tenantId, approvalId: params.approval };
      const approval = found(await ledger.approval(ref), "approval");
      const call = await administration.approvals.callOf(actor, ref);
      return {
        ...approval,
        votes: await ledger.votes(ref),
        ...shownCall(call),
      };
    },
  );
}

function voteRoutes(api: Api): void {
  define(
    api,
    {
      method: "post",
      path: "/approvals/{approval}/approve",
      summary: "Approve exactly this call, once",
      description:
        "Never by the key that asked. It counts once for a key; the last one of the quorum approves.",
      scopes: ["approve"],
      tenancy: "one",
      params: ApprovalId,
      query: TenantOnly,
      body: z.strictObject({ ...Tenanted, digest: Digest, reason: Reason.optional() }),
      status: 200,
      answer: Approval,
    },
    (asked) => answered(asked, { approves: true, reason: asked.body.reason ?? "" }),
  );
  define(
    api,
    {
      method: "post",
      path: "/approvals/{approval}/deny",
      summary: "Deny this call, for good",
      scopes: ["approve"],
      tenancy: "one",
      params: ApprovalId,
      query: TenantOnly,
      body: z.strictObject({ ...Tenanted, digest: Digest, reason: Reason.min(1, "why") }),
      status: 200,
      answer: Approval,
    },
    (asked) => answered(asked, { approves: false, reason: asked.body.reason }),
  );
}

function cancelRoute(api: Api): void {
  define(
    api,
    {
      method: "post",
      path: "/approvals/{approval}/cancel",
      summary: "Take a question back: by the key that asked, or an administrator",
      scopes: ["invoke", "admin"],
      tenancy: "one",
      params: ApprovalId,
      query: TenantOnly,
      body: TenantOnly,
      status: 200,
      answer: Approval,
    },
    async ({ bindings: { administration, ledger }, actor, tenantId, params }) => {
      const ref = { tenantId, approvalId: params.approval };
      await administration.approvals.cancel(actor, ref);
      return found(await ledger.approval(ref), "approval");
    },
  );
}

type Voting = Asked<{ approval: string }, object, { digest: string }>;

async function answered(
  { bindings: { administration, ledger }, actor, tenantId, params, body }: Voting,
  answer: { readonly approves: boolean; readonly reason: string },
) {
  const ref = { tenantId, approvalId: params.approval };
  await administration.approvals.vote(actor, { ...ref, ...answer, digest: body.digest });
  return found(await ledger.approval(ref), "approval");
}

function shownCall(bytes: Uint8Array | null) {
  if (bytes === null) return { call: null, call_encoding: "utf-8" } as const;
  const text = decodeUtf8(bytes);
  if (text !== null) return { call: text, call_encoding: "utf-8" } as const;
  return { call: Buffer.from(bytes).toString("base64"), call_encoding: "base64" } as const;
}
