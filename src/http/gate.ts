/**
 * The step door: for tools and steps that callers run themselves. It asks the same gate as the other
 * doors, and grants a lease in place of a dispatch.
 */
import { z } from "@hono/zod-openapi";
import type { Context as HonoContext } from "hono";

import type { Caller } from "../core/caller.ts";
import { NO_DEMAND, type Intent } from "../core/intent.ts";
import {
  APPROVAL_CALL_BYTES_MAX,
  CONTEXT_FIELD_BYTES_MAX,
  IDEMPOTENCY_KEY_CHARS_MAX,
  LEASE_SECONDS_DEFAULT,
  PREFER_WAIT_MS_MAX,
  STEP_BODY_BYTES_MAX,
} from "../core/limits.ts";
import { detect } from "../core/detect.ts";
import type { ToldOutcome } from "../core/outcome.ts";
import { operationText, type OperationName } from "../core/operation.ts";
import { classifyStep, phraseGrant, phraseRefusal } from "../dialects/gate.ts";
import { textsOf } from "../dialects/openai/texts.ts";
import type { Phrased } from "../dialects/dialect.ts";
import type { Admission } from "../gate/admit.ts";
import type { ResultAsker } from "../gate/prior.ts";
import { assert } from "../lib/assert.ts";
import { canonicalJson } from "../lib/canonical-json.ts";
import { plainJson } from "../lib/exact-json.ts";
import { admitWaiting } from "./admit-waiting.ts";
import { tightest } from "./answer-headers.ts";
import { readJson, check } from "./api-body.ts";
import { describeDoor, NONE, type Api } from "./api.ts";
import { readCarriedOutcome, tellCarried } from "./carried-outcome.ts";
import { readClient, readContext, readIdempotency, readWaitMs } from "./context.ts";
import { phraseDryRun } from "./dry-run.ts";
import type { Env } from "./env.ts";
import { phraseUnavailable } from "./errors.ts";
import { identifyCaller } from "./identify.ts";
import { costOf, LeaseSeconds } from "./operations.ts";
import { AmountText, anyJson, Id, Labels, RunId } from "./schemas.ts";
import { ToolName } from "./tools.ts";

const Asked = z.strictObject({
  kind: z.enum(["tool", "step"]),
  name: ToolName,
  run: RunId.optional(),
  step: RunId.optional().openapi({
    description:
      "Stable when the same thing is tried again: what makes two asks attempts of one step.",
  }),
  parent_step: RunId.optional(),
  operation: z
    .string()
    .max(CONTEXT_FIELD_BYTES_MAX)
    .optional()
    .openapi({ example: "refund:order-123", description: "The business act: `type:key`." }),
  effect: RunId.optional().openapi({
    description: "Which effect of the operation this is; its name if absent.",
  }),
  arguments: anyJson("Up to 1 MiB."),
  estimate_usd: AmountText.optional().openapi({
    description:
      "The most that it may cost. A tool without a declared price needs one; a step costs nothing by itself.",
  }),
  customer: RunId.optional(),
  labels: Labels.optional(),
  idempotency_key: z
    .string()
    .regex(/^[\x21-\x7e]+$/, "visible ASCII characters, without spaces")
    .max(IDEMPOTENCY_KEY_CHARS_MAX)
    .optional(),
  repeats: Id.optional().openapi({ description: "The attempt that is repeated deliberately." }),
  lease_seconds: LeaseSeconds.optional(),
  wait: z
    .number()
    .int()
    .min(0)
    .max(PREFER_WAIT_MS_MAX / 1_000)
    .optional()
    .openapi({
      description: "Seconds to wait for another attempt that does the same, as `Prefer: wait=N`.",
    }),
  include_result: z
    .boolean()
    .optional()
    .openapi({ description: "Tell what a prior attempt gave that succeeded." }),
});

type Asked = z.output<typeof Asked>;

export function gateRoute(api: Api): void {
  describeDoor(api, {
    path: "/gate",
    summary: "Ask whether a tool or a step may run, and for a lease to run it",
    description:
      "The context may come in headers, as on the model door (`Tollgate-Run`, `Idempotency-Key`, `Prefer`, …); a header " +
      "counts before a member. 200 with `verdict: allow` grants it; then report with `/attempts/{attempt}/complete` or " +
      "`/fail`. A refusal has the status and `error` of the model door, a `disposition`, and the `retry_context`.",
    body: Asked,
  });
  api.post("/gate", async (c) => {
    const { gateway } = c.env;
    await gateway.fresh();
    const header = (name: string) => c.req.header(name) ?? null;
    const caller = identifyCaller(gateway, header);
    c.set("caller", caller);
    // Before its body is read: turning calls away must cost little, or those let in pay for it.
    if (gateway.turnsAway(caller.tenantId)) return send(phraseUnavailable(null));
    check(NONE, c.req.query());
    const asked = check(Asked, await readJson(c.env.exchange, STEP_BODY_BYTES_MAX));
    gateway.confirm(caller);
    const meant = meantBy(c, caller, asked);
    const { intent, outcome } = meant;
    if (outcome !== null) await tellCarried(gateway, caller, { outcome, intent });
    if (intent.context.dryRun) {
      return send(phraseDryRun(await gateway.admitDry(caller, intent)));
    }
    const waitMs = readWaitMs({ header }) ?? 1_000 * (asked.wait ?? 0);
    const admission = await admitWaiting(gateway, caller, intent, {
      waitMs,
      isGone: () => c.req.raw.signal.aborted,
    });
    // Nobody is there to be told.
    if (admission.kind === "gone") return send(phraseUnavailable("The client left."));
    const isDispatched = admission.kind === "admitted" || admission.kind === "tool_admitted";
    assert(!isDispatched, "what the step door asks for is not dispatched here");
    return send(await phraseAdmission(c, caller, admission, meant));
  });
}

type Meant = {
  readonly intent: Intent;
  /** Whose effects the caller is told. */
  readonly operation: OperationName | null;
  readonly withResult: boolean;
  /** What it says of its own run, to be recorded before it is admitted. */
  readonly outcome: ToldOutcome | null;
};

function meantBy(c: HonoContext<Env>, caller: Caller, asked: Asked): Meant {
  const { rawHeaders } = c.env.exchange;
  const exchange = { header: (name: string) => c.req.header(name) ?? null, rawHeaders };
  const { context: read, outcome } = readContext({
    exchange,
    pathRun: null,
    pathStep: null,
    metadata: carried(asked),
  });
  const isLabelled = Object.keys(read.labels).length > 0;
  const meant = classifyStep(
    {
      kind: asked.kind,
      name: asked.name,
      arguments: asked.arguments,
      effect: asked.effect ?? null,
      estimatePicousd: costOf(asked.estimate_usd, "estimate_usd"),
      repeats: asked.repeats ?? null,
      idempotencyKey: readIdempotency(exchange)?.key ?? asked.idempotency_key ?? null,
    },
    // A header carries ASCII; a member of the body takes the keys that arguments have.
    { ...read, operation: read.operation ?? asked.operation ?? null },
    c.env.gateway.authority.tool(caller.tenantId, asked.name),
  );
  const intent: Intent = {
    door: "step",
    operation: meant.doing,
    billing: "stated",
    resource: asked.name,
    demand: NO_DEMAND,
    stream: false,
    reachesStored: false,
    inputDigest: meant.inputDigest,
    contentDigest: meant.inputDigest,
    // Absent would say that they were not kept; null says that there are none.
    arguments: asked.arguments === undefined ? null : plainJson(asked.arguments),
    inspect: () => detect(textsOf(asked.arguments).map((text) => ({ text, isContent: true }))),
    call: () => shownCall(asked),
    context: {
      ...read,
      tool: asked.kind === "tool" ? asked.name : read.tool,
      labels: isLabelled ? read.labels : (asked.labels ?? {}),
      operation: meant.business === null ? null : operationText(meant.business),
    },
    client: readClient(exchange),
    tool: asked.name,
    idempotency: meant.idempotency,
    effect: meant.effect,
    costStatedPicousd: meant.costStatedPicousd,
    act: meant.act,
    leaseMs: 1_000 * (asked.lease_seconds ?? LEASE_SECONDS_DEFAULT),
  };
  const operation = meant.business ?? meant.effect;
  const told = outcome === null ? null : readCarriedOutcome(outcome, read.run);
  return { intent, operation, withResult: asked.include_result === true, outcome: told };
}

/** What a person is asked about: the act as it was asked for, in one canonical form. */
function shownCall(asked: Asked) {
  const { kind, name, arguments: args, operation, effect, repeats, estimate_usd: estimate } = asked;
  const call = {
    kind,
    name,
    arguments: args ?? null,
    operation: operation ?? null,
    effect: effect ?? null,
    repeats: repeats ?? null,
    estimate_usd: estimate ?? null,
  };
  const bytes = new TextEncoder().encode(canonicalJson(call));
  return bytes.byteLength > APPROVAL_CALL_BYTES_MAX ? null : bytes;
}

/** The members of the body that a header may carry, too; a header counts first. */
function carried(asked: Asked): Readonly<Record<string, string>> {
  const { run, step, parent_step: parentStep, customer } = asked;
  const members = { run, step, parent_step: parentStep, customer };
  return Object.fromEntries(
    Object.entries(members).flatMap(([name, value]) =>
      value === undefined ? [] : [[name, value] as const],
    ),
  );
}

async function phraseAdmission(
  { env: { gateway, ledger } }: HonoContext<Env>,
  caller: Caller,
  admission: Granted | Refused,
  { intent, operation, withResult }: Meant,
): Promise<Phrased> {
  const { tenantId } = caller;
  // Whatever it is refused for: a key that may not ask learns nothing by asking of what others did.
  const mayAsk = caller.scopes.includes("invoke");
  const { retry: found } = admission.kind === "granted" ? admission.grant : admission.refusal;
  const retry = mayAsk ? found : null;
  const attemptId = retry?.priorAttempt ?? null;
  const asker = { asks: withResult, tells: tellsOf(admission, caller) };
  const told = {
    stepId: intent.context.step,
    retry,
    prior: attemptId === null ? null : await gateway.steps.prior({ tenantId, attemptId }, asker),
    operation: operation === null || !mayAsk ? null : await ledger.operation(tenantId, operation),
  };
  if (admission.kind === "refused") {
    return phraseRefusal(admission.refusal, { ...told, ...admission }, admission.decidedAt);
  }
  const { grant } = admission;
  const { leaseMs, decidedAt, estimate } = grant;
  return phraseGrant({
    ...told,
    ...grant,
    leaseSeconds: leaseMs / 1_000,
    leaseExpiresAt: new Date(decidedAt.getTime() + leaseMs),
    reservedPicousd: estimate.costPicousd,
    budgetRemaining: tightest(grant.meters, null),
  });
}

/**
 * Whom a prior attempt's result is told. Only these two refusals say that the content is the same; an ask that
 * another one turns away would read the results of other keys by what it is refused for. A further attempt may
 * have other content, and then the result is its own key's.
 */
function tellsOf(admission: Granted | Refused, { keyId }: Caller): ResultAsker["tells"] {
  if (admission.kind === "granted") return { keyId };
  const { reason } = admission.refusal;
  return reason === "effect_applied" || reason === "duplicate_request" ? "same" : "nobody";
}

type Granted = Extract<Admission, { kind: "granted" }>;
type Refused = Extract<Admission, { kind: "refused" }>;

function send({ status, headers, body }: Phrased): Response {
  return new Response(body, { status, headers: { "cache-control": "no-store", ...headers } });
}
