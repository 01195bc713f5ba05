/** Outcomes: what became of runs and operations, told at once or late, and corrected. */
import { z } from "@hono/zod-openapi";

import type { Administrator, Caller } from "../core/caller.ts";
import { InputError } from "../core/errors.ts";
import { flawOfOperation, operationText, parseOperation } from "../core/operation.ts";
import type { OutcomeSubject } from "../core/outcome.ts";
import { define, found, NONE, pageOf as pageFrom, type Api } from "./api.ts";
import type { Env } from "./env.ts";
import { outcomeImportRoute } from "./outcome-import.ts";
import { OperationParams } from "./operations.ts";
import { OutcomeTypeName } from "./outcome-types.ts";
import { outcomeMembers, OutcomeStatuses, toldOf, type OutcomeMembers } from "./outcome-members.ts";
import { DayOrMoment, pageOf, Paging, RunId, Tenanted, TenantOnly, time, usd } from "./schemas.ts";

const viewMembers = {
  id: z.string(),
  tenant: z.string(),
  type: z.string(),
  run: z.string().nullable(),
  operation: z.string().nullable(),
  key: z.string(),
  status: OutcomeStatuses,
  value_usd: usd.nullable(),
  weight: z.int(),
  evidence: z.string(),
  occurred_at: time,
  recorded_at: time,
  recorded_by: z.string(),
  root: z.string().openapi({ description: "The first of its chain of corrections." }),
  supersedes: z.string().nullable(),
  superseded_by: z.string().nullable().openapi({ description: "Null: this one holds." }),
};

const Outcome = z.object(viewMembers).openapi("Outcome");
const RecordedOutcome = z
  .object({
    ...viewMembers,
    repeated: z.boolean().openapi({ description: "It was so before: nothing was written." }),
  })
  .openapi("RecordedOutcome");

const Body = z.strictObject({ ...Tenanted, ...outcomeMembers });

const DESCRIPTION =
  "Idempotent by content: what holds already is answered with 200 and written once. Something else of the same " +
  "type and key must name in `supersedes` what it corrects. `reversed` takes back what was a success.";

export function outcomeRoutes(api: Api): void {
  recordRoutes(api);
  listRoute(api);
  outcomeImportRoute(api);
}

function recordRoutes(api: Api): void {
  const common = {
    method: "post",
    description: DESCRIPTION,
    scopes: ["invoke", "admin"],
    tenancy: "one",
    query: TenantOnly,
    body: Body,
    status: 201,
    isRepeat: ({ repeated }: z.input<typeof RecordedOutcome>) => repeated,
    answer: RecordedOutcome,
  } as const;
  define(
    api,
    {
      ...common,
      path: "/runs/{run}/outcome",
      summary: "Say what became of a run",
      params: z.strictObject({ run: RunId }),
    },
    ({ bindings, actor, tenantId, params, body }) =>
      record(bindings, { actor, tenantId, subject: { kind: "run", name: params.run }, body }),
  );
  define(
    api,
    {
      ...common,
      path: "/operations/{type}/{key}/outcome",
      summary: "Say what became of a business operation, whatever runs worked on it",
      params: OperationParams,
    },
    ({ bindings, actor, tenantId, params, body }) => {
      const flaw = flawOfOperation(params);
      if (flaw !== null) throw new InputError("invalid_value", "key", flaw);
      const subject = { kind: "operation", name: operationText(params) } as const;
      return record(bindings, { actor, tenantId, subject, body });
    },
  );
}

type Said = {
  readonly actor: Caller | Administrator;
  readonly tenantId: string;
  readonly subject: OutcomeSubject;
  readonly body: OutcomeMembers;
};

async function record(
  { gateway, ledger }: Env["Bindings"],
  { actor, tenantId, subject, body }: Said,
): Promise<z.input<typeof RecordedOutcome>> {
  const told = toldOf(subject, body);
  const { outcomeId, repeated } = await gateway.outcomes.record(actor, tenantId, told);
  return { ...found(await ledger.outcome(tenantId, outcomeId), "outcome"), repeated };
}

function listRoute(api: Api): void {
  define(
    api,
    {
      method: "get",
      path: "/outcomes",
      summary: "List outcomes, newest first, with those that were superseded",
      description: "`from` and `to` bound when they occurred: from the first to before the second.",
      scopes: ["report", "admin"],
      tenancy: "one",
      params: NONE,
      query: z.strictObject({
        ...Tenanted,
        ...Paging,
        run: RunId.optional(),
        operation: z.string().max(256).optional(),
        type: OutcomeTypeName.optional(),
        status: OutcomeStatuses.optional(),
        from: DayOrMoment.optional(),
        to: DayOrMoment.optional(),
      }),
      body: NONE,
      status: 200,
      answer: pageOf(Outcome),
    },
    ({ bindings: { ledger }, tenantId, query }) =>
      ledger.outcomes(tenantId, {
        ...pageFrom(query),
        subject: subjectOf(query.run, query.operation),
        type: query.type ?? null,
        status: query.status ?? null,
        from: query.from === undefined ? null : new Date(query.from),
        to: query.to === undefined ? null : new Date(query.to),
      }),
  );
}

function subjectOf(run: string | undefined, operation: string | undefined): OutcomeSubject | null {
  if (run !== undefined && operation !== undefined) {
    const message = "An outcome is of a run or of an operation: name one of the two.";
    throw new InputError("invalid_value", "operation", message);
  }
  if (run !== undefined) return { kind: "run", name: run };
  if (operation === undefined) return null;
  return { kind: "operation", name: operationText(parseOperation(operation, "operation")) };
}
