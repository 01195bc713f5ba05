/** Asks the gate over HTTP, and makes of what it answers a value or the error that fits. */
import { GateUnavailable, InProgress, OutcomeUnknown, Refused, TollgateError } from "./errors.ts";
import { dispositionOf, isRecord, readRetryContext, textOf } from "./wire.ts";

export type Fetch = typeof globalThis.fetch;

export type Transport = {
  readonly origin: string;
  /** Throws what `errorFrom` makes of an answer that is not yes. */
  readonly post: (path: string, body: object, terms?: PostTerms) => Promise<unknown>;
};

export type PostTerms = {
  /** Whether asking again after an answer that got lost is harmless. */
  readonly repeats?: boolean;
  /** What the answer may take beyond the ordinary, because the gate was told to wait. */
  readonly waitSeconds?: number;
};

export type TransportOptions = {
  readonly origin: string;
  readonly apiKey: string;
  readonly fetch: Fetch;
  /** For one answer of the gate, which takes milliseconds. */
  readonly timeoutMs: number;
  /** Further tries where the gate says that trying again helps. */
  readonly maxRetries: number;
};

/** The first wait between two tries; it doubles. */
const WAIT_MS_FIRST = 100;
/** Longer than this nobody is kept waiting: the caller is told, and decides. */
const WAIT_MS_MAX = 5_000;

export function createTransport(options: TransportOptions): Transport {
  return {
    origin: options.origin,
    post: async (path, body, terms = {}) => {
      let waitMs = WAIT_MS_FIRST;
      // Ends: it answers, throws, or uses up a try.
      for (let left = options.maxRetries; ; left -= 1) {
        const tried = await tryOnce(options, path, { body, terms });
        if (tried.kind === "answered") return tried.body;
        const askedMs = tried.afterMs ?? waitMs;
        if (left <= 0 || !tried.mayRepeat || askedMs > WAIT_MS_MAX) throw tried.error;
        await sleep(askedMs);
        waitMs = Math.min(2 * waitMs, WAIT_MS_MAX);
      }
    },
  };
}

type Tried =
  | { readonly kind: "answered"; readonly body: unknown }
  | {
      readonly kind: "failed";
      readonly error: TollgateError;
      readonly mayRepeat: boolean;
      readonly afterMs: number | null;
    };

async function tryOnce(
  options: TransportOptions,
  path: string,
  { body, terms }: { readonly body: object; readonly terms: PostTerms },
): Promise<Tried> {
  const timeoutMs = options.timeoutMs + 1_000 * (terms.waitSeconds ?? 0);
  let answer: Response;
  let text: string;
  try {
    answer = await options.fetch(`${options.origin}${path}`, {
      method: "POST",
      headers: {
        authorization: `Bearer ${options.apiKey}`,
        "content-type": "application/json",
      },
      body: JSON.stringify(body),
      signal: AbortSignal.timeout(timeoutMs),
    });
    text = await answer.text();
  } catch (cause) {
    const message = `Tollgate at ${options.origin} did not answer: ${String(cause)}`;
    const error = new GateUnavailable(message, {
      status: 0,
      code: "unreachable",
      retryable: true,
      cause,
    });
    // What was asked may have been done, and its answer lost.
    return { kind: "failed", error, mayRepeat: terms.repeats === true, afterMs: null };
  }
  const read = readJson(text);
  if (answer.ok && read !== undefined) return { kind: "answered", body: read };
  const error = errorFrom(answer, read);
  const mayRepeat = answer.status === 503 || answer.status === 429 || terms.repeats === true;
  return {
    kind: "failed",
    error,
    mayRepeat: mayRepeat && error.retryable,
    afterMs: waitOf(answer.headers),
  };
}

function errorFrom(answer: Response, body: unknown): TollgateError {
  const error = isRecord(body) && isRecord(body["error"]) ? body["error"] : {};
  const figures = isRecord(error["tollgate"]) ? error["tollgate"] : {};
  const message = textOf(error["message"]) ?? `Tollgate answered ${answer.status}.`;
  const code = textOf(error["code"]) ?? "unexpected_answer";
  const retryable = answer.headers.get("x-should-retry") === "true" || answer.status >= 500;
  const terms = { status: answer.status, code, retryable };
  const decisionId = textOf(figures["decision_id"]);
  if (!isRecord(body) || decisionId === null) {
    return answer.status >= 500
      ? new GateUnavailable(message, terms)
      : new TollgateError(message, terms);
  }
  const retryContext = readRetryContext(body["retry_context"]);
  const refusal = {
    ...terms,
    disposition: dispositionOf(body["disposition"]),
    decisionId,
    retryContext,
    prior: retryContext?.prior ?? null,
    approvalId: isRecord(body["approval"]) ? textOf(body["approval"]["id"]) : null,
    retryAfterMs: waitOf(answer.headers),
  };
  if (IN_PROGRESS.has(code)) return new InProgress(message, refusal);
  return refusal.disposition === "reconcile"
    ? new OutcomeUnknown(message, refusal)
    : new Refused(message, refusal);
}

const IN_PROGRESS: ReadonlySet<string> = new Set(["idempotency_in_progress", "effect_in_flight"]);

function waitOf(headers: Headers): number | null {
  const ms = Number(headers.get("retry-after-ms") ?? "");
  return Number.isFinite(ms) && ms > 0 ? ms : null;
}

/** Undefined where the text is no JSON: something else answered. */
function readJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function sleep(ms: number): Promise<void> {
  return new Promise((done) => setTimeout(done, ms));
}
