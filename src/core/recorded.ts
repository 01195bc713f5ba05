/**
 * A decision's record read back: the facts and the intent that were judged, so that they can be judged
 * again. The inverse of `record.ts`, with the columns of the decision beside it.
 *
 * What the record leaves out because it is so for nearly every call is filled in here, and nothing else
 * is: a record that lacks what the judgement saw cannot be judged again, and says so.
 */
import { isList, isRecord, textOrNull } from "../lib/json.ts";
import { ATTEMPT_STATUSES } from "./attempt.ts";
import { SCOPES } from "./caller.ts";
import { type Findings, FINDING_GROUPS, findingsOf } from "./detect.ts";
import type { Facts, History } from "./facts.ts";
import {
  type ActFacts,
  ACTS,
  BILLINGS,
  type Demand,
  DOORS,
  type Intent,
  type Json,
  OPERATIONS,
  STANDINGS,
} from "./intent.ts";
import { EFFECT_CLASSES } from "./operation.ts";
import type { CompiledBundle } from "./policy-bundle.ts";
import type { Price } from "./price.ts";
import { USAGE_CLASSES, type Usage } from "./usage.ts";
import { type Reason, REASONS } from "./verdict.ts";

/** The columns of a decision that the judgement saw. */
export type JudgedColumns = {
  readonly tenantId: string;
  readonly keyId: string;
  readonly door: string;
  readonly operation: string;
  readonly resource: string;
  readonly upstream: string | null;
  readonly model: string | null;
  readonly stepId: string | null;
};

/** All but what must be looked up by its version: the policies and the price. */
export type Recorded = {
  readonly intent: Intent;
  readonly facts: Omit<Facts, "bundle" | "price">;
  readonly bundleVersion: string | null;
  /** What the judgement said no for; null: it did not. */
  readonly judged: Reason | null;
  readonly message: string | null;
};

const PRIOR = ["", ...ATTEMPT_STATUSES] as const;

type Members = Readonly<Record<string, unknown>>;

/** Null where the record is of another form: it was not written by this judgement. */
export function readRecord(columns: JudgedColumns, record: unknown): Recorded | null {
  if (!isRecord(record)) return null;
  const { estimate, context, client } = record;
  if (!isRecord(estimate) || !isRecord(context) || !isRecord(client)) return null;
  const operation = [...OPERATIONS, ...ACTS].find((known) => known === columns.operation);
  const billing = BILLINGS.find((known) => known === record["billing"]);
  const door = DOORS.find((known) => known === columns.door);
  const judgedAt = textOrNull(record["judged_at"]);
  const digest = textOrNull(record["input_sha256"]);
  const stated = textOrNull(estimate["stated_picousd"]);
  if (operation === undefined || billing === undefined || door === undefined) return null;
  if (judgedAt === null || digest === null || !isList(record["scopes"])) return null;
  const intent: Intent = {
    door,
    operation,
    billing,
    resource: columns.resource,
    demand: demandOf(estimate),
    stream: record["stream"] === true,
    reachesStored: record["reaches_stored"] === true,
    ...(isJson(record["arguments"]) ? { arguments: record["arguments"] } : {}),
    inputDigest: digest,
    // Not recorded: it numbers attempts, and judges none.
    contentDigest: digest,
    call: () => null,
    context: contextOf(columns, context, record),
    client: {
      userAgent: textOrNull(client["user_agent"]) ?? "",
      sdk: textOrNull(client["sdk"]),
      sdkRetryCount: wholeOf(client["sdk_retry_count"]) ?? 0,
      // It decides how a refusal is phrased, and nothing that is judged.
      isCodex: false,
    },
    tool: textOrNull(record["tool"]),
    // What names attempts and effects is arbitrated by the posting, and nothing that is judged.
    idempotency: null,
    effect: null,
    costStatedPicousd: stated === null ? null : BigInt(stated),
    act: readAct(record["act"]),
    leaseMs: null,
  };
  return {
    intent,
    facts: factsOf(columns, record, { estimate, at: new Date(judgedAt) }),
    bundleVersion: textOrNull(record["policy_version"]),
    judged: REASONS.find((reason) => reason === record["judged"]) ?? null,
    message: textOrNull(record["message"]),
  };
}

/** The facts with what their versions name. */
export function factsWith(
  { facts }: Recorded,
  { bundle, price }: { readonly bundle: CompiledBundle | null; readonly price: Price | null },
): Facts {
  return { ...facts, bundle, price };
}

function factsOf(
  columns: JudgedColumns,
  record: Members,
  { estimate, at }: { readonly estimate: Members; readonly at: Date },
): Recorded["facts"] {
  const scopes = record["scopes"];
  const { upstream, model } = columns;
  const metered = record["billing"] === "metered";
  return {
    now: at,
    caller: {
      tenantId: columns.tenantId,
      keyId: columns.keyId,
      scopes: SCOPES.filter((scope) => isList(scopes) && scopes.includes(scope)),
      mode: record["tenant_mode"] === "tolerant" ? "tolerant" : "strict",
    },
    route: metered && upstream !== null && model !== null ? { upstream, model } : null,
    timeoutMs: wholeOf(estimate["timeout_ms"]),
    sharesAccount: record["shares_account"] === true,
    clampedTo: wholeOf(estimate["limit_clamped_to"]),
    keyLabels: textsOf(record["key_labels"]),
    findings: readFindings(record["findings"]),
    history: historyOf(record["history"]),
    rerouted: reroutedOf(record["rerouted"]),
  };
}

function demandOf(estimate: Members): Demand {
  const { unbounded, fixed } = estimate;
  return {
    inputBytes: wholeOf(estimate["input_bytes"]) ?? 0,
    images: wholeOf(estimate["images"]) ?? 0,
    audioInput: estimate["audio_input"] === true,
    audioOutput: estimate["audio_output"] === true,
    outputTokensMax: wholeOf(estimate["output_tokens_max"]),
    choices: wholeOf(estimate["choices"]) ?? 1,
    fixed: isRecord(fixed) ? usageOf(fixed) : {},
    producesTokens: estimate["produces_tokens"] !== false,
    serviceTier: textOrNull(estimate["service_tier"]),
    unbounded: isList(unbounded) ? unbounded.filter((name) => typeof name === "string") : [],
  };
}

function contextOf(columns: JudgedColumns, context: Members, record: Members): Intent["context"] {
  const most = textOrNull(context["max_cost_picousd"]);
  return {
    run: textOrNull(context["run"]),
    step: columns.stepId,
    parentStep: textOrNull(context["parent_step"]),
    operation: textOrNull(context["operation"]),
    tool: textOrNull(context["tool"]),
    customer: textOrNull(context["customer"]),
    labels: textsOf(context["labels"]),
    costPicousdMax: most === null ? null : BigInt(most),
    dryRun: false,
    traceId: textOrNull(record["trace_id"]),
  };
}

function usageOf(fixed: Members): Usage {
  return Object.fromEntries(
    USAGE_CLASSES.flatMap((kind) => {
      const units = wholeOf(fixed[kind]);
      return units === null ? [] : [[kind, units]];
    }),
  );
}

function readFindings(value: unknown): Findings | null {
  if (!isRecord(value) || !isList(value["found"])) return null;
  const found = value["found"].flatMap((item) => {
    if (!isRecord(item)) return [];
    const group = FINDING_GROUPS.find((name) => name === item["group"]);
    const kind = textOrNull(item["kind"]);
    const count = wholeOf(item["count"]);
    return group === undefined || kind === null || count === null ? [] : [{ kind, group, count }];
  });
  const outside = isList(value["outside"]) ? value["outside"] : [];
  return findingsOf(
    found,
    value["complete"] === true,
    outside.filter((kind) => typeof kind === "string"),
  );
}

function historyOf(value: unknown): History | null {
  if (!isRecord(value)) return null;
  const runAgeSeconds = wholeOf(value["run_age_seconds"]);
  const runAttempts = wholeOf(value["run_attempts"]);
  const attempt = wholeOf(value["attempt"]);
  const spend = textOrNull(value["run_spend_picousd"]);
  const priorStatus = PRIOR.find((status) => status === value["prior_status"]);
  if (runAgeSeconds === null || runAttempts === null || attempt === null) return null;
  if (spend === null || priorStatus === undefined) return null;
  const runSpendPicousd = BigInt(spend);
  // Of records that were made before anything could taint a run, it is absent.
  const taintedBy = textOrNull(value["tainted_by"]);
  return { runAgeSeconds, runAttempts, runSpendPicousd, attempt, priorStatus, taintedBy };
}

/** What of an act is judged: how it stands, and whether its declaration asks people. */
function readAct(value: unknown): ActFacts | null {
  if (!isRecord(value)) return null;
  const effectClass = EFFECT_CLASSES.find((known) => known === value["effect_class"]);
  if (effectClass === undefined) return null;
  const standing = STANDINGS.find((known) => known === value["standing"]);
  const definition = textOrNull(value["definition"]);
  const { approval } = value;
  const quorum = isRecord(approval) ? wholeOf(approval["quorum"]) : null;
  return {
    effectClass,
    effect: textOrNull(value["effect"]),
    extracted: null,
    listed: standing === undefined || definition === null ? null : { standing, definition },
    approval:
      quorum === null || !isRecord(approval)
        ? null
        : { quorum, role: textOrNull(approval["role"]) },
  };
}

function reroutedOf(value: unknown): Facts["rerouted"] {
  if (!isRecord(value)) return null;
  const model = textOrNull(value["model"]);
  const policy = textOrNull(value["policy"]);
  return model === null || policy === null ? null : { model, policy };
}

/** What `JSON.parse` made, but for what is absent. */
function isJson(value: unknown): value is Json {
  return value !== undefined;
}

function wholeOf(value: unknown): number | null {
  return typeof value === "number" && Number.isSafeInteger(value) ? value : null;
}

function textsOf(value: unknown): Readonly<Record<string, string>> {
  if (!isRecord(value)) return {};
  return Object.fromEntries(
    Object.entries(value).flatMap(([name, text]) =>
      typeof text === "string" ? [[name, text]] : [],
    ),
  );
}
