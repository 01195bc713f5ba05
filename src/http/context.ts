/**
 * The context of a call, from whatever its client is able to send. Per field the first found wins:
 * header · W3C `baggage` member `tollgate.<field>` · path prefix · body `metadata.tollgate_*` ·
 * Codex's own headers · `traceparent` (trace = run).
 */
import { InputError } from "../core/errors.ts";
import type { ClientFacts, Context } from "../core/intent.ts";
import {
  CONTEXT_FIELD_BYTES_MAX,
  IDEMPOTENCY_KEY_CHARS_MAX,
  LABELS_MAX,
  PREFER_WAIT_MS_MAX,
  SDK_RETRIES_MAX,
} from "../core/limits.ts";
import { costFromUsd } from "../core/money.ts";
import { decodePercent } from "../lib/json.ts";
import {
  BAGGAGE,
  FIELDS,
  headerName,
  METADATA,
  refuseUnknown,
  refuseUnknownHeaders,
} from "./context-names.ts";
import type { Exchange } from "./exchange.ts";

export type Carried = {
  readonly exchange: Pick<Exchange, "header" | "rawHeaders">;
  /** From `/run/{run}/step/{step}/…`. */
  readonly pathRun: string | null;
  readonly pathStep: string | null;
  /** `metadata.tollgate_*` of the body, without the prefix. */
  readonly metadata: Readonly<Record<string, string>>;
};

/** `outcome`: what the call says of its run, still to be read; null where it says nothing. */
export type ReadContext = { readonly context: Context; readonly outcome: string | null };

/**
 * Throws InputError, naming the header, for a value that is empty, too long, not plain text or no cost, and for a name
 * that begins as ours and is none of ours.
 */
export function readContext({ exchange, pathRun, pathStep, metadata }: Carried): ReadContext {
  refuseUnknownHeaders(exchange.rawHeaders);
  const baggage = readBaggage(exchange.header("baggage"));
  const names = Object.keys(metadata);
  const hasMetadata = names.length > 0;
  if (hasMetadata) refuseUnknown(names, METADATA);
  const field = (name: keyof typeof FIELDS, path: string | null = null): string | null => {
    const header = exchange.header(FIELDS[name]);
    if (header !== null) return plain(header, () => headerName(FIELDS[name]));
    const member = baggage?.get(name);
    if (member !== undefined) return plain(member, () => `baggage tollgate.${name}`);
    if (path !== null || !hasMetadata) return path;
    const key = name.replaceAll("-", "_");
    const body = metadata[key];
    return body === undefined ? null : plain(body, () => `metadata.tollgate_${key}`);
  };
  const traceId = readTraceId(exchange.header("traceparent"));
  const codexRun = exchange.header("session_id") ?? exchange.header("conversation_id");
  const codex = isCodex(exchange) && codexRun !== null ? plain(codexRun, () => "session_id") : null;
  const maxCost = amountText(field("max-cost"));
  const dryRun = field("dry-run");
  const context = {
    run: addressable(field("run", pathRun)) ?? codex ?? traceId,
    step: field("step", pathStep),
    parentStep: field("parent-step"),
    operation: field("operation"),
    tool: field("tool"),
    customer: field("customer"),
    labels: readLabels(field("labels")),
    costPicousdMax: maxCost === null ? null : costFromUsd(maxCost, "Tollgate-Max-Cost"),
    dryRun: dryRun !== null && readFlag(dryRun),
    traceId,
  };
  return { context, outcome: field("outcome") };
}

/**
 * The idempotency key and whether an unknown outcome may be tried again, or null without a key. Throws
 * InputError for a key that is not 1 to 255 visible ASCII characters (draft-ietf-httpapi-idempotency-key-header).
 */
export function readIdempotency(
  exchange: Pick<Exchange, "header">,
): { readonly key: string; readonly acceptsUnknown: boolean } | null {
  const key = exchange.header("idempotency-key");
  if (key === null) return null;
  if (key.length > IDEMPOTENCY_KEY_CHARS_MAX || !/^[\x21-\x7e]+$/.test(key)) {
    const message = `Idempotency-Key must be 1 to ${IDEMPOTENCY_KEY_CHARS_MAX} visible ASCII characters, without spaces.`;
    throw new InputError("invalid_header", "Idempotency-Key", message);
  }
  const unknown = exchange.header("tollgate-retry-unknown");
  if (unknown !== null && unknown !== "accept") {
    const message = "Tollgate-Retry-Unknown is `accept`, or absent.";
    throw new InputError("invalid_header", "Tollgate-Retry-Unknown", message);
  }
  return { key, acceptsUnknown: unknown === "accept" };
}

/** A repeat that comes at once finds its answer being written: it waits that long, in ms, preferred or not. */
export const REPEAT_MS_MIN = 250;

/** `Prefer: wait=N` (RFC 7240) in milliseconds, at most what anybody may wait here; null without one. */
export function readWaitMs(exchange: Pick<Exchange, "header">): number | null {
  const prefer = exchange.header("prefer");
  const match = prefer === null ? null : /(?:^|[,;\s])wait=(\d{1,6})(?:$|[,;\s])/i.exec(prefer);
  return match === null ? null : Math.min(Number(match[1]) * 1_000, PREFER_WAIT_MS_MAX);
}

export function readClient(exchange: Pick<Exchange, "header">): ClientFacts {
  const retries = Number(exchange.header("x-stainless-retry-count") ?? "0");
  const lang = exchange.header("x-stainless-lang");
  const version = exchange.header("x-stainless-package-version");
  return {
    userAgent: (exchange.header("user-agent") ?? "").slice(0, CONTEXT_FIELD_BYTES_MAX),
    sdk: lang === null ? null : `${lang}/${version ?? ""}`.slice(0, CONTEXT_FIELD_BYTES_MAX),
    sdkRetryCount:
      Number.isSafeInteger(retries) && retries > 0 ? Math.min(retries, SDK_RETRIES_MAX) : 0,
    isCodex: isCodex(exchange),
  };
}

function isCodex(exchange: Pick<Exchange, "header">): boolean {
  const name = exchange.header("originator") ?? exchange.header("user-agent") ?? "";
  return name.toLowerCase().startsWith("codex");
}

/** Throws InputError for a run that no URL can name: programs fold these two out of a path before they send it. */
function addressable(run: string | null): string | null {
  if (run !== "." && run !== "..") return run;
  const named = headerName(FIELDS.run);
  const message = `${named} cannot be \`${run}\`: no URL leads to such a run, so nobody could look at it or stop it.`;
  throw new InputError("invalid_header", named, message);
}

function plain(value: string, named: () => string): string {
  const isPlain = /^[\x20-\x7e]+$/.test(value) && value.trim() !== "";
  if (isPlain && value.length <= CONTEXT_FIELD_BYTES_MAX) return value.trim();
  const where = named();
  throw new InputError(
    "invalid_header",
    where,
    `${where} must be 1 to ${CONTEXT_FIELD_BYTES_MAX} visible ASCII characters.`,
  );
}

/** Throws InputError, naming the header, for what is no number: `$1`. */
function amountText(text: string | null): string | null {
  if (text === null || /^[+-]?\d+(?:\.\d+)?(?:e[+-]?\d+)?$/i.test(text)) return text;
  const message = `Tollgate-Max-Cost is an amount of US dollars without a sign for them, as 0.05, and this is none: \`${text}\`.`;
  throw new InputError("invalid_value", "Tollgate-Max-Cost", message);
}

/** Null where none of its members is ours. Throws InputError for one that begins as ours and is not. */
function readBaggage(header: string | null): ReadonlyMap<string, string> | null {
  if (header === null || !header.includes("tollgate.")) return null;
  const members = new Map<string, string>();
  for (const member of header.split(",", 64)) {
    const [pair = ""] = member.split(";", 1);
    const equals = pair.indexOf("=");
    const name = pair.slice(0, equals).trim();
    if (equals < 0 || !name.startsWith("tollgate.")) continue;
    const value = decodePercent(pair.slice(equals + 1).trim());
    members.set(name.slice("tollgate.".length).replaceAll("_", "-"), value ?? "");
  }
  refuseUnknown(members.keys(), BAGGAGE);
  return members;
}

/** W3C Trace Context: `version-trace-parent-flags`; the zero trace is invalid by that standard. */
function readTraceId(header: string | null): string | null {
  const match = header === null ? null : /^[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-/.exec(header);
  const trace = match?.[1] ?? null;
  return trace === null || /^0+$/.test(trace) ? null : trace;
}

/** `k=v, k=v`. */
function readLabels(text: string | null): Readonly<Record<string, string>> {
  if (text === null) return {};
  const pairs = text.split(",").map((pair) => pair.trim());
  if (pairs.length > LABELS_MAX) {
    throw new InputError("invalid_header", "Tollgate-Labels", `At most ${LABELS_MAX} labels.`);
  }
  return Object.fromEntries(
    pairs.map((pair) => {
      const equals = pair.indexOf("=");
      if (equals > 0) return [pair.slice(0, equals).trim(), pair.slice(equals + 1).trim()];
      throw new InputError(
        "invalid_header",
        "Tollgate-Labels",
        `Labels are written \`name=value, name=value\`; this is not: \`${pair}\`.`,
      );
    }),
  );
}

function readFlag(text: string): boolean {
  if (["1", "true", "yes"].includes(text.toLowerCase())) return true;
  if (["0", "false", "no"].includes(text.toLowerCase())) return false;
  throw new InputError("invalid_header", "Tollgate-Dry-Run", "Tollgate-Dry-Run is true or false.");
}
