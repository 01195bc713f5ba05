/** Reconciliation: the ledger beside a provider's invoice, of one tenant or of the whole installation. */
import { z } from "@hono/zod-openapi";

import { InputError } from "../core/errors.ts";
import {
  FIGURES,
  figuresBy,
  PROVIDERS,
  type Figure,
  type Invoice,
  type InvoiceLine,
} from "../core/invoice.ts";
import { CONTEXT_FIELD_BYTES_MAX } from "../core/limits.ts";
import {
  AMOUNTS_MAX,
  RECONCILED_DAYS_MAX,
  RECONCILED_LINES_MAX,
  RECONCILIATION_BYTES_MAX,
  STATED_UNITS_MAX,
} from "../core/limits-finance.ts";
import { costFromUsd, costOfInvoice } from "../core/money.ts";
import { REASONS } from "../core/reconcile-reasons.ts";
import { requireSight } from "../gate/administer-reconciliations.ts";
import { define, NONE, pageOf as pageFrom, type Api, type Asked } from "./api.ts";
import {
  AmountText,
  ModelName,
  pageOf,
  Paging,
  Tenanted,
  TenantOnly,
  time,
  usd,
} from "./schemas.ts";

/** How the API names what is compared. */
const MEMBERS = {
  requests: "requests",
  input: "input_tokens",
  cached: "cached_tokens",
  output: "output_tokens",
  cost: "cost_usd",
} as const satisfies Record<Figure, string>;

const Units = z.int().min(0).max(STATED_UNITS_MAX).optional();
const Day = z.iso
  .date({ error: "a day such as 2026-11-22" })
  .refine((day) => day >= "1970" && day < "9999", { error: "a day between 1970 and 9998" });

const InvoiceLineBody = z.strictObject({
  day: Day,
  model: ModelName.openapi({
    description: "As the provider names it; of what is no model, its words.",
  }),
  no_model: z.boolean().optional(),
  tiers: z.array(z.string().min(1).max(CONTEXT_FIELD_BYTES_MAX)).max(8).optional(),
  amounts: z
    .int()
    .min(0)
    .max(AMOUNTS_MAX)
    .optional()
    .openapi({ description: "How many rounded amounts `cost_usd` is the sum of." }),
  requests: Units,
  input_tokens: Units.openapi({ description: "All of the input, the cached part included." }),
  cached_tokens: Units,
  output_tokens: Units,
  cost_usd: AmountText.optional(),
});

const Stated = z
  .array(z.enum([MEMBERS.requests, MEMBERS.input, MEMBERS.cached, MEMBERS.output, MEMBERS.cost]))
  .min(1)
  .max(FIGURES.length)
  .openapi({ description: "What the invoice states of each line: there what is absent is 0." });

const InvoiceBody = {
  upstream: ModelName.openapi({ description: "The upstream whose account the invoice is of." }),
  provider: z.enum(PROVIDERS),
  from: Day,
  to: Day.openapi({
    description: `The day behind the last one; ${RECONCILED_DAYS_MAX} days at most.`,
  }),
  states: Stated,
  lines: z.array(InvoiceLineBody).max(RECONCILED_LINES_MAX),
  tolerance_usd: AmountText.optional().openapi({
    description: "The sum of unexplained cost that is let pass; none if absent.",
  }),
};

const FiguresAnswer = z.object({
  requests: z.number().int().nullable(),
  input_tokens: z.number().int().nullable(),
  cached_tokens: z.number().int().nullable(),
  output_tokens: z.number().int().nullable(),
  cost_usd: usd.nullable(),
});

const sides = {
  ours: FiguresAnswer,
  theirs: FiguresAnswer,
  difference: FiguresAnswer.openapi({ description: "Theirs less ours." }),
  unexplained: FiguresAnswer,
};

const States = z.enum(["reconciled", "differs"]);

const Reconciliation = z
  .object({
    id: z.string(),
    state: States,
    upstream: z.string(),
    from: z.string(),
    to: z.string(),
    totals: z.object({
      ...sides,
      equal: z.number().int(),
      explained: z.number().int(),
      not_explained: z.number().int(),
      days_not_explained: z
        .array(z.string())
        .readonly()
        .openapi({ description: "The days of those lines: all others agree." }),
    }),
    lines: z
      .array(
        z.object({
          day: z.string(),
          model: z.string(),
          verdict: z.enum(["equal", "explained", "unexplained"]),
          ...sides,
          reasons: z.array(z.object({ code: z.enum(REASONS), says: z.string() })).readonly(),
        }),
      )
      .readonly(),
  })
  .openapi("Reconciliation");

const Recorded = z
  .object({
    id: z.string(),
    upstream: z.string(),
    provider: z.string(),
    from: z.string(),
    to: z.string(),
    state: States,
    totals: z.unknown(),
    recorded_by: z.string(),
    recorded_at: time,
  })
  .openapi("RecordedReconciliation");

const PeriodStates = z
  .object({
    from: z.string(),
    to: z.string(),
    upstreams: z
      .array(
        z.object({
          upstream: z.string(),
          state: z.enum(["reconciled", "differs", "not_reconciled"]),
          days: z.number().int(),
          reconciled_days: z.number().int(),
          differing_days: z.number().int(),
        }),
      )
      .readonly(),
  })
  .openapi("ReconciliationStates");

const DESCRIPTION =
  "By UTC day and model: what the ledger posted, what the provider states, the difference, and the known reasons that explain it. " +
  "What it came to is kept, and `GET /reports/reconciliation/state` tells the state of a period. `npx tollgate reconcile` makes the lines of the provider's exports.";

export function reconciliationRoutes(api: Api): void {
  compareRoutes(api);
  listRoutes(api);
  stateRoute(api);
}

type CompareBody = z.output<ReturnType<typeof z.strictObject<typeof InvoiceBody>>>;

function compareRoutes(api: Api): void {
  const route = {
    method: "post",
    scopes: ["report", "admin"],
    params: NONE,
    bodyBytesMax: RECONCILIATION_BYTES_MAX,
    description: DESCRIPTION,
    status: 200,
    answer: Reconciliation,
  } as const;
  define(
    api,
    {
      ...route,
      path: "/reports/reconciliation",
      summary: "Compare a tenant's ledger with a provider's invoice",
      tenancy: "one",
      query: TenantOnly,
      body: z.strictObject({ ...Tenanted, ...InvoiceBody }),
    },
    ({ bindings, actor, tenantId, body }) => compare({ bindings, actor }, tenantId, body),
  );
  define(
    api,
    {
      ...route,
      path: "/installation/reconciliation",
      summary: "Compare the ledger of all tenants with a provider's invoice",
      tenancy: "installation",
      query: NONE,
      body: z.strictObject(InvoiceBody),
    },
    ({ bindings, actor, body }) => compare({ bindings, actor }, null, body),
  );
}

async function compare(
  {
    bindings: { ledger, administration },
    actor,
  }: Pick<Asked<unknown, unknown, unknown>, "bindings" | "actor">,
  whose: string | null,
  body: CompareBody,
) {
  requireSight(actor, whose);
  const { upstream, provider, from, to } = body;
  const tolerance = costFromUsd(body.tolerance_usd ?? "0", "tolerance_usd");
  const invoice = invoiceOf(body);
  const view = await ledger.reconcile({ whose, upstream, invoice, tolerance });
  const { state, totals } = view;
  const row = { whose, upstream, provider, from, to, state, summary: totals };
  return { id: await administration.recordReconciliation(actor, row), ...view };
}

function invoiceOf({ from, to, states, lines }: CompareBody): Invoice {
  return {
    from,
    to,
    states: FIGURES.filter((figure) => states.includes(MEMBERS[figure])),
    lines: lines.map((line, at): InvoiceLine => {
      if (line.day < from || line.day >= to) {
        const message = `The line is not of the days from ${from} to before ${to}.`;
        throw new InputError("invalid_value", `lines.${at}.day`, message);
      }
      const cost = costOfInvoice(line.cost_usd ?? "0", `lines.${at}.cost_usd`);
      return {
        day: line.day,
        model: line.model,
        isModel: line.no_model !== true,
        tiers: line.tiers ?? [],
        amounts: line.amounts ?? 0,
        figures: figuresBy((figure) =>
          figure === "cost" ? cost : BigInt(line[MEMBERS[figure]] ?? 0),
        ),
      };
    }),
  };
}

function listRoutes(api: Api): void {
  const route = {
    method: "get",
    scopes: ["report", "admin"],
    params: NONE,
    body: NONE,
    status: 200,
    answer: pageOf(Recorded),
  } as const;
  define(
    api,
    {
      ...route,
      path: "/reports/reconciliation",
      summary: "List what was reconciled, newest first",
      tenancy: "one",
      query: z.strictObject({ ...Tenanted, ...Paging }),
    },
    ({ bindings: { ledger }, tenantId, query }) =>
      ledger.reconciliations(tenantId, pageFrom(query)),
  );
  define(
    api,
    {
      ...route,
      path: "/installation/reconciliation",
      summary: "List what was reconciled of all tenants together, newest first",
      tenancy: "installation",
      query: z.strictObject(Paging),
    },
    ({ bindings: { ledger }, actor, query }) => {
      requireSight(actor, null);
      return ledger.reconciliations(null, pageFrom(query));
    },
  );
}

function stateRoute(api: Api): void {
  define(
    api,
    {
      method: "get",
      path: "/reports/reconciliation/state",
      summary: "Say how far a period agrees with the providers' invoices, by upstream",
      description:
        "From `from` to before `to`, in days of UTC; the last whole month if absent. What was compared for the whole installation counts for each tenant.",
      scopes: ["report", "admin"],
      tenancy: "one",
      params: NONE,
      query: z.strictObject({ ...Tenanted, from: Day.optional(), to: Day.optional() }),
      body: NONE,
      status: 200,
      answer: PeriodStates,
    },
    async ({ bindings: { ledger }, tenantId, query }) => {
      const now = await ledger.now();
      const from = query.from ?? firstOfMonth(now, -1);
      const to = query.to ?? firstOfMonth(now, 0);
      return { from, to, upstreams: await ledger.reconciliationStates(tenantId, { from, to }) };
    },
  );
}

function firstOfMonth(now: Date, months: number): string {
  const first = Date.UTC(now.getUTCFullYear(), now.getUTCMonth() + months, 1);
  return new Date(first).toISOString().slice(0, 10);
}
