/** Attempts that their callers make themselves, and the operations that they belong to. */
import { z } from "@hono/zod-openapi";

import { ATTEMPT_STATUSES } from "../core/attempt.ts";
import {
  CONTEXT_FIELD_BYTES_MAX,
  LEASE_SECONDS_DEFAULT,
  LEASE_SECONDS_MAX,
  LEASE_SECONDS_MIN,
  STEP_BODY_BYTES_MAX,
  USAGE_CLASSES_MAX,
} from "../core/limits.ts";
import { InputError } from "../core/errors.ts";
import { costFromUsd, usdOrNull } from "../core/money.ts";
import { flawOfOperation, OPERATION_TYPE, RUN_OPERATION } from "../core/operation.ts";
import type { Reported } from "../gate/steps.ts";
import { canonicalJson } from "../lib/canonical-json.ts";
import { define, found, NONE, type Api } from "./api.ts";
import { AmountText, anyJson, Id, Tenanted, TenantOnly, time, usd } from "./schemas.ts";

export const OperationParams = z.strictObject({
  type: z.string().regex(OPERATION_TYPE, "a letter, then letters, digits, `_`, `.` or `-`"),
  key: z.string().min(1).max(CONTEXT_FIELD_BYTES_MAX),
});

const AttemptParams = z.strictObject({ attempt: Id });

/** One paragraph for people: an error's message, or how it was found out. */
const Sentence = z
  .string()
  .min(1)
  .max(2_000)
  .regex(/^[^\0]*$/u, "text without NUL")
  .refine((text) => text.isWellFormed(), { error: "whole characters" });

export const LeaseSeconds = z
  .number()
  .int()
  .min(LEASE_SECONDS_MIN)
  .max(LEASE_SECONDS_MAX)
  .openapi({ description: `Default: ${LEASE_SECONDS_DEFAULT}.` });

const Counts = z
  .record(z.string().regex(/^[a-z][a-z0-9_]{0,63}$/), z.number().int().min(0))
  .refine((usage) => Object.keys(usage).length <= USAGE_CLASSES_MAX, {
    error: `at most ${USAGE_CLASSES_MAX} classes`,
  });

const result = anyJson("Kept, sealed, for who asks again, up to 256 KiB.");

const Attempt = z
  .object({
    attempt_id: z.string(),
    run: z.string(),
    status: z.enum(ATTEMPT_STATUSES),
    cost_usd: usd.nullable(),
    ended_at: time.nullable(),
    repeated: z.boolean().openapi({ description: "It had ended so before: nothing was changed." }),
  })
  .openapi("ReportedAttempt");

const Operation = z
  .object({
    type: z.string(),
    key: z.string(),
    effects: z
      .array(
        z.object({
          effect: z.string(),
          state: z.enum(["claimed", "applied", "not_applied", "uncertain"]),
          attempt: z.string(),
          run: z.string(),
          at: time,
        }),
      )
      .readonly(),
    more: z.boolean(),
  })
  .openapi("Operation");

export function operationRoutes(api: Api): void {
  completeRoute(api);
  failRoute(api);
  heartbeatRoute(api);
  reconcileRoute(api);
  operationRoute(api);
}

function completeRoute(api: Api): void {
  define(
    api,
    {
      method: "post",
      path: "/attempts/{attempt}/complete",
      summary: "Report that an attempt of the caller's own succeeded",
      description:
        "Idempotent. What it cost is as reported, else the tool's price, else all that was reserved. An attempt whose " +
        "lease ran out is settled by a late report, once; one that ended otherwise answers 409.",
      scopes: ["invoke", "admin"],
      tenancy: "one",
      params: AttemptParams,
      query: TenantOnly,
      body: z.strictObject({
        ...Tenanted,
        result,
        cost_usd: AmountText.optional(),
        usage: Counts.optional(),
      }),
      bodyBytesMax: STEP_BODY_BYTES_MAX,
      status: 200,
      answer: Attempt,
    },
    async ({ bindings: { gateway }, actor, tenantId, params, body }) =>
      shown(
        await gateway.steps.complete(
          actor,
          { tenantId, attemptId: params.attempt },
          {
            result: resultText(body.result),
            costPicousd: costOf(body.cost_usd),
            usage: body.usage ?? {},
          },
        ),
      ),
  );
}

function failRoute(api: Api): void {
  define(
    api,
    {
      method: "post",
      path: "/attempts/{attempt}/fail",
      summary: "Report that an attempt of the caller's own failed",
      description:
        "`executed` says whether anything happened. `no`: nothing is charged. `yes`: it ran, cost, and failed. " +
        "`unknown`: nobody can say; its money stays held, and an effectful tool does not run again before somebody reconciles it.",
      scopes: ["invoke", "admin"],
      tenancy: "one",
      params: AttemptParams,
      query: TenantOnly,
      body: z.strictObject({
        ...Tenanted,
        error: Sentence,
        executed: z.enum(["no", "yes", "unknown"]),
        cost_usd: AmountText.optional(),
      }),
      status: 200,
      answer: Attempt,
    },
    async ({ bindings: { gateway }, actor, tenantId, params, body }) => {
      const { error, executed } = body;
      const costPicousd = costOf(body.cost_usd);
      if (executed !== "yes" && costPicousd !== null) {
        const message = "Only what was executed has a cost: leave `cost_usd` away.";
        throw new InputError("invalid_value", "cost_usd", message);
      }
      const name = { tenantId, attemptId: params.attempt };
      return shown(await gateway.steps.fail(actor, name, { error, executed, costPicousd }));
    },
  );
}

function heartbeatRoute(api: Api): void {
  define(
    api,
    {
      method: "post",
      path: "/attempts/{attempt}/heartbeat",
      summary: "Say that an attempt of the caller's own still goes on",
      description:
        "Its lease is extended, never shortened, and never past a day after its decision. 409 when it has ended or its lease is over.",
      scopes: ["invoke", "admin"],
      tenancy: "one",
      params: AttemptParams,
      query: TenantOnly,
      body: z.strictObject({ ...Tenanted, lease_seconds: LeaseSeconds.optional() }),
      status: 200,
      answer: z.object({ attempt_id: z.string(), lease_expires_at: time }).openapi("Heartbeat"),
    },
    async ({ bindings: { gateway }, actor, tenantId, params, body }) => {
      const leaseMs = 1_000 * (body.lease_seconds ?? LEASE_SECONDS_DEFAULT);
      const name = { tenantId, attemptId: params.attempt };
      const until = await gateway.steps.heartbeat(actor, name, leaseMs);
      return { attempt_id: params.attempt, lease_expires_at: until.toISOString() };
    },
  );
}

function reconcileRoute(api: Api): void {
  define(
    api,
    {
      method: "post",
      path: "/attempts/{attempt}/reconcile",
      summary: "Say what became of an attempt whose outcome nobody knew",
      description:
        "Idempotent, and an event of its own. `applied` settles it as succeeded; otherwise it did not happen and may be tried again.",
      scopes: ["approve", "admin"],
      tenancy: "one",
      params: AttemptParams,
      query: TenantOnly,
      body: z.strictObject({
        ...Tenanted,
        applied: z.boolean(),
        evidence: Sentence,
        result,
        cost_usd: AmountText.optional(),
      }),
      bodyBytesMax: STEP_BODY_BYTES_MAX,
      status: 200,
      answer: Attempt,
    },
    async ({ bindings: { gateway }, actor, tenantId, params, body }) => {
      const name = { tenantId, attemptId: params.attempt };
      const { applied, evidence } = body;
      const told = { applied, evidence, result: resultText(body.result) };
      const costPicousd = costOf(body.cost_usd);
      return shown(await gateway.steps.reconcile(actor, name, { ...told, costPicousd }));
    },
  );
}

function operationRoute(api: Api): void {
  define(
    api,
    {
      method: "get",
      path: "/operations/{type}/{key}",
      summary: "Get the effects of a business operation, whatever runs they are of",
      description:
        "What became of each is derived from the ledger. An effect that is not listed is free, and an operation of which none was ever claimed answers 404. The type `run` names what " +
        "a run did by itself.",
      scopes: ["report", "admin"],
      tenancy: "one",
      params: OperationParams,
      query: TenantOnly,
      body: NONE,
      status: 200,
      answer: Operation,
    },
    async ({ bindings: { ledger }, tenantId, params }) => {
      const flaw = params.type === RUN_OPERATION ? null : flawOfOperation(params);
      if (flaw !== null) throw new InputError("invalid_value", "key", flaw);
      const operation = await ledger.operation(tenantId, params);
      return found(operation.effects.length === 0 ? null : operation, "operation");
    },
  );
}

function resultText(value: unknown): string | null {
  return value === undefined ? null : canonicalJson(value);
}

export function costOf(text: string | undefined, param = "cost_usd"): bigint | null {
  return text === undefined ? null : costFromUsd(text, param);
}

function shown(reported: Reported): z.input<typeof Attempt> {
  const { attemptId, runId, status, costPicousd, endedAt, repeated } = reported;
  return {
    attempt_id: attemptId,
    run: runId,
    status,
    cost_usd: usdOrNull(costPicousd),
    ended_at: endedAt?.toISOString() ?? null,
    repeated,
  };
}
