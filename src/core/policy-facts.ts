/**
 * The facts that a policy may look at: this table is all of them. `docs/policies.md` shows the same
 * table, and a test keeps the two equal.
 *
 * A fact that nobody looked at has no value, and a policy that reads it cannot be evaluated: it never
 * reads as zero, for a rule against ten attempts must not pass because the attempts were not counted.
 */
import { isList } from "../lib/json.ts";
import { demandAt, unboundedParts } from "./bound.ts";
import { DETECTOR_KINDS_MAX } from "./detect.ts";
import type { History } from "./facts.ts";
import { CONTEXT_FIELD_BYTES_MAX, LABELS_MAX, RESOURCE_CHARS_MAX } from "./limits.ts";
import { FACT_CHARS_MAX, FACT_ITEMS_MAX, HISTORY_ATTEMPTS_MAX } from "./limits-policy.ts";
import { dollars } from "./money.ts";
import {
  argumentsOf,
  atMost,
  type FactSource,
  type FactValue,
  INT_MAX,
  outputTokensMax,
  type Seen,
  tokensMax,
  wholeOrNull,
} from "./policy-values.ts";

export type FactType =
  | "string"
  | "int"
  | "bool"
  | "list<string>"
  | "map<string, string>"
  | "timestamp"
  | "dyn";

export type Fact = {
  readonly path: string;
  readonly type: FactType;
  readonly needs: FactSource;
  readonly about: string;
  /** The longest text in it, and the most elements: what an expression over it may cost. */
  readonly charsMax: number;
  readonly itemsMax: number;
  /** Pico-dollars: shown as dollars in a reason. */
  readonly isMoney: boolean;
  /** Null where it was not looked at. */
  readonly read: (seen: Seen) => FactValue;
};

type More = Partial<Pick<Fact, "needs" | "charsMax" | "itemsMax" | "isMoney">>;

function fact(
  path: string,
  type: FactType,
  { about, read, ...more }: More & Pick<Fact, "about" | "read">,
): Fact {
  return {
    path,
    type,
    needs: "nothing",
    about,
    charsMax: CONTEXT_FIELD_BYTES_MAX,
    itemsMax: 0,
    isMoney: false,
    read,
    ...more,
  };
}

/** In the order of the documentation. */
export function policyFacts(): readonly Fact[] {
  return [
    ...requestFacts(),
    ...resourceFacts(),
    ...historyFacts(),
    ...callerFacts(),
    ...findingFacts(),
    ...timeFacts(),
  ];
}

function requestFacts(): readonly Fact[] {
  return [
    fact("request.door", "string", {
      about: "The door: `model`, `tool` or `step`.",
      read: ({ intent }) => intent.door,
    }),
    fact("request.operation", "string", {
      about:
        "What is done: `chat`, `responses`, `embeddings`, `image_generation`, `pass_through` and so on; at the tool door `execute_tool` or `mcp_request`, at the step door `execute_tool` or `step`.",
      read: ({ intent }) => intent.operation,
    }),
    fact("request.billing", "string", {
      about:
        "`metered`, `stated` (a tool or step), `free`, `deferred` (its cost appears elsewhere) or `unknown`.",
      read: ({ intent }) => intent.billing,
    }),
    fact("request.stream", "bool", {
      about: "Whether the answer streams.",
      read: ({ intent }) => intent.stream,
    }),
    fact("request.output_tokens_max", "int", {
      about:
        "Output tokens that one choice may take: what the client named, else the model's own maximum; the largest int where nothing bounds it.",
      read: outputTokensMax,
    }),
    fact("request.choices", "int", {
      about: "Answers asked for (`n`, `best_of`).",
      read: ({ intent }) => BigInt(intent.demand.choices),
    }),
    fact("request.input_bytes", "int", {
      about: "Bytes of the input, an upper bound of its tokens.",
      read: ({ intent }) => BigInt(intent.demand.inputBytes),
    }),
    ...contentFacts(),
  ];
}

function contentFacts(): readonly Fact[] {
  return [
    fact("request.images", "int", {
      about: "Images in the input.",
      read: ({ intent }) => BigInt(intent.demand.images),
    }),
    fact("request.audio_input", "bool", {
      about: "Whether the input has sound.",
      read: ({ intent }) => intent.demand.audioInput,
    }),
    fact("request.audio_output", "bool", {
      about: "Whether sound is asked for.",
      read: ({ intent }) => intent.demand.audioOutput,
    }),
    fact("request.unbounded", "list<string>", {
      itemsMax: LABELS_MAX,
      about:
        "What nothing bounds the cost of: `hosted_tool:web_search`, `file`, `stored_context`, `background`, `service_tier:priority` and so on.",
      read: ({ intent, facts }) => unboundedParts(demandAt(intent.demand, facts), facts.price),
    }),
    fact("request.reaches_stored", "bool", {
      about: "Whether it reads or changes objects that the provider stores.",
      read: ({ intent }) => intent.reachesStored,
    }),
    fact("request.tool", "string", {
      about: "The tool named by `Tollgate-Tool`; empty where none is.",
      read: ({ intent }) => intent.context.tool ?? "",
    }),
    fact("tool.effect_class", "string", {
      about:
        "What the operator declares of the tool: `pure`, `idempotent`, `keyed` or `effectful`, which is what one counts as that nobody declared; empty where none is run.",
      read: ({ intent }) => intent.act?.effectClass ?? "",
    }),
    fact("arguments", "dyn", {
      needs: "arguments",
      itemsMax: FACT_ITEMS_MAX,
      charsMax: FACT_CHARS_MAX,
      about:
        "The arguments of a tool or step, as JSON; `null` at the model door. Lists and objects beyond 100 members and texts beyond 4,096 characters cannot be judged.",
      read: ({ intent }) => argumentsOf(intent),
    }),
  ];
}

function resourceFacts(): readonly Fact[] {
  return [
    fact("resource.name", "string", {
      charsMax: RESOURCE_CHARS_MAX,
      about:
        "The model as it was asked for, the tool or step, or method and path of a pass-through.",
      read: ({ intent }) => intent.resource,
    }),
    fact("resource.model", "string", {
      charsMax: RESOURCE_CHARS_MAX,
      about: "The model that it is routed to; empty where there is none.",
      read: ({ facts }) => facts.route?.model ?? "",
    }),
    fact("resource.upstream", "string", {
      about: "The upstream that it is routed to; empty where there is none.",
      read: ({ facts }) => facts.route?.upstream ?? "",
    }),
    fact("resource.priced", "bool", {
      about: "Whether a price of the model is known.",
      read: ({ facts }) => facts.price !== null,
    }),
    fact("estimate.cost", "int", {
      isMoney: true,
      about:
        'The most that the call can cost, in pico-dollars: compare it with `usd("1.50")`. The largest int where it is not known.',
      read: ({ estimate }) => atMost(estimate?.costPicousd ?? null),
    }),
    fact("estimate.cost_known", "bool", {
      about: "Whether `estimate.cost` is a bound.",
      read: ({ estimate }) => estimate !== null && estimate.costPicousd !== null,
    }),
    fact("estimate.tokens", "int", {
      about: "The most tokens that the call can use; the largest int where it is not known.",
      read: tokensMax,
    }),
  ];
}

function historyFacts(): readonly Fact[] {
  return [
    fact("run.id", "string", {
      about: "The run that the caller named; empty where it named none and the call is its own.",
      read: ({ intent }) => intent.context.run ?? "",
    }),
    fact("run.named", "bool", {
      about: "Whether the caller named the run.",
      read: ({ intent }) => intent.context.run !== null,
    }),
    fact("run.age_seconds", "int", {
      needs: "history",
      about: "Seconds since the first call of the run; 0 for the first.",
      read: ({ facts }) => wholeOrNull(facts.history?.runAgeSeconds),
    }),
    fact("run.attempts", "int", {
      needs: "history",
      about: "Attempts that the run was allowed before this call; no more than 1,000 are counted.",
      read: ({ facts }) => wholeOrNull(facts.history?.runAttempts),
    }),
    fact("run.spend", "int", {
      needs: "history",
      isMoney: true,
      about:
        "What the run has cost and holds reserved, in pico-dollars; the largest int where it had 1,000 attempts or more.",
      read: ({ facts }) => runSpend(facts.history),
    }),
    ...taintFacts(),
    fact("retry.attempt", "int", {
      needs: "history",
      about: "The number of this attempt at its step, from 1.",
      read: ({ facts }) => wholeOrNull(facts.history?.attempt),
    }),
    fact("retry.prior_status", "string", {
      needs: "history",
      about:
        "How the attempt before it ended: `succeeded`, `failed`, `aborted`, `released`, `unknown`, `running`; empty for a first attempt.",
      read: ({ facts }) => facts.history?.priorStatus ?? null,
    }),
    fact("retry.sdk_retries", "int", {
      about: "How often the client's library says that it has tried already.",
      read: ({ intent }) => BigInt(intent.client.sdkRetryCount),
    }),
  ];
}

function taintFacts(): readonly Fact[] {
  return [
    fact("run.tainted", "bool", {
      needs: "history",
      about:
        "Whether the run has read what a tool answered that is not trusted; true, too, where it had 1,000 attempts or more.",
      read: ({ facts }) => isTainted(facts.history),
    }),
    fact("run.tainted_by", "string", {
      needs: "history",
      charsMax: RESOURCE_CHARS_MAX,
      about: "The first such tool, `server/tool`; empty where none is known.",
      read: ({ facts }) => (facts.history === null ? null : (facts.history.taintedBy ?? "")),
    }),
  ];
}

/** Beyond the attempts that are looked at nobody knows, and it must not read as less than it is. */
function isTainted(history: History | null): boolean | null {
  if (history === null) return null;
  return history.taintedBy !== null || history.runAttempts >= HISTORY_ATTEMPTS_MAX;
}

/** Beyond the attempts that are counted nobody knows the sum, and it must not read as less than it is. */
function runSpend(history: History | null): bigint | null {
  if (history === null) return null;
  return history.runAttempts < HISTORY_ATTEMPTS_MAX ? history.runSpendPicousd : INT_MAX;
}

function callerFacts(): readonly Fact[] {
  return [
    fact("key.id", "string", {
      about: "The id of the calling key.",
      read: ({ facts }) => facts.caller.keyId,
    }),
    fact("key.scopes", "list<string>", {
      itemsMax: LABELS_MAX,
      about: "What the key may do: `invoke`, `report`, `approve`, `admin`.",
      read: ({ facts }) => facts.caller.scopes,
    }),
    fact("key.labels", "map<string, string>", {
      itemsMax: LABELS_MAX,
      about: "The labels of the key.",
      read: ({ facts }) => new Map(Object.entries(facts.keyLabels)),
    }),
    fact("customer", "string", {
      about: "`Tollgate-Customer`; empty where none is named.",
      read: ({ intent }) => intent.context.customer ?? "",
    }),
    fact("labels", "map<string, string>", {
      itemsMax: LABELS_MAX,
      about: "`Tollgate-Labels` of the call.",
      read: ({ intent }) => new Map(Object.entries(intent.context.labels)),
    }),
    fact("operation", "string", {
      about: "The business operation, `Tollgate-Operation`; empty where none is named.",
      read: ({ intent }) => intent.context.operation ?? "",
    }),
    fact("tenant.mode", "string", {
      about: "`strict` or `tolerant`.",
      read: ({ facts }) => facts.caller.mode,
    }),
    fact("client.sdk", "string", {
      about: "The client library and its version, as it says itself; empty where it does not.",
      read: ({ intent }) => intent.client.sdk ?? "",
    }),
    fact("client.user_agent", "string", {
      about: "The `User-Agent`.",
      read: ({ intent }) => intent.client.userAgent,
    }),
  ];
}

function findingFacts(): readonly Fact[] {
  const needs = "detectors";
  return [
    fact("detectors.secrets", "int", {
      needs,
      about: "Secrets found in the texts of the request: keys, tokens, private keys.",
      read: ({ facts }) => wholeOrNull(facts.findings?.secrets),
    }),
    fact("detectors.pii", "int", {
      needs,
      about: "Personal data found: card and account numbers, e-mail addresses, phone numbers.",
      read: ({ facts }) => wholeOrNull(facts.findings?.pii),
    }),
    fact("detectors.injection", "int", {
      needs,
      about: "Phrases of prompt injection found.",
      read: ({ facts }) => wholeOrNull(facts.findings?.injection),
    }),
    fact("detectors.kinds", "list<string>", {
      needs,
      itemsMax: DETECTOR_KINDS_MAX,
      about: "The kinds found: `aws_access_key`, `card_number`, `ignore_instructions` and so on.",
      read: ({ facts }) =>
        facts.findings === null ? null : facts.findings.found.map(({ kind }) => kind),
    }),
    fact("detectors.complete", "bool", {
      needs,
      about:
        "Whether all texts were searched; false where there was too much of them, or none could be read.",
      read: ({ facts }) => facts.findings?.complete ?? null,
    }),
  ];
}

function timeFacts(): readonly Fact[] {
  return [
    fact("time.now", "timestamp", {
      about: "When it is judged.",
      read: ({ facts }) => facts.now,
    }),
    fact("time.hour", "int", {
      about: "The hour, 0 to 23, in UTC.",
      read: ({ facts }) => BigInt(facts.now.getUTCHours()),
    }),
    fact("time.weekday", "int", {
      about: "The day of the week, 1 (Monday) to 7 (Sunday), in UTC.",
      read: ({ facts }) => BigInt(((facts.now.getUTCDay() + 6) % 7) + 1),
    }),
  ];
}

/** A fact as a reason quotes it. */
export function factText(read: Fact, seen: Seen): string {
  const value = read.read(seen);
  if (value === null) return "unknown";
  if (read.isMoney && typeof value === "bigint") {
    return value === INT_MAX ? "an unknown amount" : dollars(value);
  }
  if (value instanceof Date) return value.toISOString();
  if (isList(value)) return value.filter((item) => typeof item === "string").join(", ");
  return typeof value === "object" ? "" : String(value);
}
