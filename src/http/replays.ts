/** Judging again: one decision, or a period, by what was recorded or by other policies; shadow reports; exports. */
import { z } from "@hono/zod-openapi";

import { BACKTEST_ROWS_MAX } from "../core/limits-policy.ts";
import type { Ledger } from "../ledger/ledger.ts";
import { define, found, NONE, pageOf as pageFrom, type Api } from "./api.ts";
import { Source, Version } from "./policies.ts";
import { periodOf } from "./runs.ts";
import { DayOrMoment, Id, Paging, RunId, Tenanted, TenantOnly, time, usd } from "./schemas.ts";

const count = z.number().int();

const Judgement = z.object({
  verdict: z.enum(["pass", "block"]),
  reason: z.string().nullable(),
  estimate_usd: usd.nullable(),
  output_tokens_sent: count.nullable(),
  model: z.string().nullable(),
  needs_approval: z.boolean(),
  redact: z.array(z.string()).readonly(),
  risk: count.nullable(),
  policies: z.array(z.object({ id: z.string(), result: z.string() })).readonly(),
});

const Replay = z
  .object({
    decision: z.string(),
    equal: z.boolean().nullable(),
    differs: z.array(z.string()).readonly(),
    why: z.string().nullable(),
    recorded: Judgement.nullable(),
    now: Judgement.nullable(),
  })
  .openapi("Replay");

const Told = z.enum(["allow", "block", "require_approval", "reroute", "other terms"]);

const Backtest = z
  .object({
    decisions: count,
    unchanged: count,
    changed: count,
    changes: z
      .array(
        z.object({
          decision: z.string(),
          decided_at: time,
          run: z.string(),
          resource: z.string(),
          before: Told,
          after: Told,
          reason: z.string().nullable(),
          cost_usd: usd.nullable(),
        }),
      )
      .readonly(),
    changes_left_off: count,
    unknowable: count,
    unknowable_because: z.record(z.string(), count).readonly(),
    settled_usd: usd,
    would_block_usd: usd,
    would_ask_usd: usd,
    newly_allowed: count,
    other_terms: count,
    next: z.string().nullable(),
  })
  .openapi("Backtest");

const partMembers = {
  ...Tenanted,
  from: DayOrMoment.optional(),
  to: DayOrMoment.optional(),
  run: RunId.optional(),
  cursor: Id.optional().openapi({ description: "The `next` of the part before." }),
  rows: count
    .min(1)
    .max(BACKTEST_ROWS_MAX)
    .optional()
    .openapi({ description: `Decisions of this part: ${BACKTEST_ROWS_MAX} at most.` }),
};

type PartBody = {
  readonly from?: string | undefined;
  readonly to?: string | undefined;
  readonly run?: string | undefined;
  readonly cursor?: string | undefined;
  readonly rows?: number | undefined;
};

const candidateMembers = { version: Version.optional(), source: Source.optional() };

export function replayRoutes(api: Api): void {
  oneRoute(api);
  manyRoutes(api);
  shadowRoute(api);
  exportRoute(api);
}

function oneRoute(api: Api): void {
  define(
    api,
    {
      method: "post",
      path: "/decisions/{decision}/replay",
      reads: true,
      summary: "Judge a decision's recorded facts again",
      description:
        "By the policies and the price that it was judged by, which must give the same; or by a bundle that is named. Nothing is dispatched or spent.",
      scopes: ["report", "admin"],
      tenancy: "one",
      params: z.strictObject({ decision: Id }),
      query: TenantOnly,
      body: z.strictObject({ ...Tenanted, ...candidateMembers }),
      status: 200,
      answer: Replay,
    },
    async ({ bindings: { ledger }, tenantId, params, body }) => {
      const isNamed = body.version !== undefined || body.source !== undefined;
      const candidate = isNamed ? await candidateOf(ledger, tenantId, body) : null;
      return found(await ledger.replay(tenantId, { id: params.decision, candidate }), "decision");
    },
  );
}

function manyRoutes(api: Api): void {
  define(
    api,
    {
      method: "post",
      path: "/replay",
      reads: true,
      summary: "Judge the decisions of a period or a run again, by what they were judged by",
      description: "None may change. One call takes a part; `next` begins the part behind it.",
      scopes: ["report", "admin"],
      tenancy: "one",
      params: NONE,
      query: TenantOnly,
      body: z.strictObject(partMembers),
      status: 200,
      answer: Backtest,
    },
    async ({ bindings: { ledger }, tenantId, body }) =>
      ledger.backtest(tenantId, { part: await partOf(ledger, body), candidate: null }),
  );
  define(
    api,
    {
      method: "post",
      path: "/policies/backtest",
      reads: true,
      summary:
        "Show what other policies would have decided of a period or a run, and the difference in cost",
      description: "One call takes a part; `next` begins the part behind it.",
      scopes: ["report", "admin"],
      tenancy: "one",
      params: NONE,
      query: TenantOnly,
      body: z.strictObject({ ...partMembers, ...candidateMembers }),
      status: 200,
      answer: Backtest,
    },
    async ({ bindings: { ledger }, tenantId, body }) => {
      const candidate = await candidateOf(ledger, tenantId, body);
      return ledger.backtest(tenantId, { part: await partOf(ledger, body), candidate });
    },
  );
}

function shadowRoute(api: Api): void {
  define(
    api,
    {
      method: "get",
      path: "/policies/shadow-report",
      summary: "Show what shadow policies and shadow limits would have done in a period",
      description: "From `from` to before `to`; the month so far if absent.",
      scopes: ["report", "admin"],
      tenancy: "one",
      params: NONE,
      query: z.strictObject({
        ...Tenanted,
        from: DayOrMoment.optional(),
        to: DayOrMoment.optional(),
      }),
      body: NONE,
      status: 200,
      answer: z
        .object({
          from: time,
          to: time,
          policies: z
            .array(
              z.object({
                id: z.string(),
                version: z.string(),
                effect: z.string(),
                judged: count,
                matched: count,
                failed: count,
                matched_usd: usd,
                last_match: time.nullable(),
              }),
            )
            .readonly(),
          limits: z
            .array(
              z.object({
                limit_id: z.string(),
                unit: z.string(),
                window: z.string(),
                met: count,
                refused: count,
                refused_usd: usd,
                last_refused: time.nullable(),
              }),
            )
            .readonly(),
        })
        .openapi("ShadowReport"),
    },
    async ({ bindings: { ledger }, tenantId, query }) =>
      ledger.shadow(tenantId, periodOf(query.from, query.to, await ledger.now())),
  );
}

function exportRoute(api: Api): void {
  define(
    api,
    {
      method: "get",
      path: "/runs/{run}/export",
      summary: "Export a run as lines of JSON: policies, decisions, and a manifest",
      description:
        "The last line is a manifest: the number of lines, the SHA-256 of their bytes, and `next`, the cursor of the part behind this one.",
      scopes: ["report", "admin"],
      tenancy: "one",
      params: z.strictObject({ run: RunId }),
      query: z.strictObject({ ...Tenanted, ...Paging }),
      body: NONE,
      status: 200,
      answer: z.string(),
      media: "application/x-ndjson",
    },
    async ({ bindings: { ledger }, tenantId, params, query }) =>
      found(await ledger.exportRun(tenantId, { run: params.run, ...pageFrom(query) }), "run"),
  );
}

function candidateOf(
  ledger: Ledger,
  tenantId: string,
  named: { readonly version?: string | undefined; readonly source?: string | undefined },
) {
  const { source = null, version = null } = named;
  return ledger.candidate(tenantId, { source, version });
}

async function partOf(ledger: Ledger, body: PartBody) {
  const period = periodOf(body.from, body.to, await ledger.now());
  const { run = null, cursor = null, rows = null } = body;
  return { ...period, run, after: cursor, rows };
}
