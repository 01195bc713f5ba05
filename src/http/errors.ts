/** One table: what went wrong → the status and the words of the answer, and what each party should do. */
import type { InputCode } from "../core/errors.ts";
import { InputError } from "../core/errors.ts";
import { phraseError, retryAfter } from "../dialects/openai/phrase.ts";
import type { Phrased } from "../dialects/dialect.ts";
import type { UpstreamFailure } from "../gate/ports.ts";
import { isUnavailable, Overloaded, Unavailable } from "../gate/unavailable.ts";

/** The caller mends the request; repeating it unchanged is answered the same. */
const STATUS: Readonly<Record<InputCode, number>> = {
  malformed_request: 400,
  invalid_json: 400,
  invalid_value: 400,
  missing_required_parameter: 400,
  unknown_parameter: 400,
  invalid_header: 400,
  invalid_api_key: 401,
  forbidden: 403,
  model_not_found: 404,
  not_found: 404,
  unknown_url: 404,
  method_not_allowed: 405,
  request_timeout: 408,
  conflict: 409,
  idempotency_in_progress: 409,
  outcome_unknown: 409,
  body_too_large: 413,
  unsupported_encoding: 415,
  unsupported_media_type: 415,
  unmet_expectation: 417,
  idempotency_key_reused: 422,
  websocket_unsupported: 426,
  headers_too_large: 431,
};

/** The rest of a body that is not waited for cannot be told from a next request. */
const ENDS_CONNECTION: ReadonlySet<InputCode> = new Set(["body_too_large", "request_timeout"]);

const NO_RETRY = { "x-should-retry": "false" };

const UNDECIDED =
  "Tollgate cannot record its decision at the moment, so nothing passes. Try again shortly.";

const LAPSED =
  "Too much time passed between the decision and the moment when this call could be sent, so it was not sent and nothing was charged. Try again shortly.";

/** When a gate that could not decide is worth asking again. */
const UNAVAILABLE_RETRY_MS = 1_000;

/** Phrases anything thrown. What is not the caller's mistake says nothing of the inside but an id to report. */
export function phraseThrown(error: unknown, requestId: string): Phrased {
  if (error instanceof InputError) {
    const { code, param, message } = error;
    const end = ENDS_CONNECTION.has(code) ? { connection: "close" } : {};
    return phraseError(STATUS[code], { code, param, message }, {}, { ...NO_RETRY, ...end });
  }
  if (isUnavailable(error)) {
    return phraseUnavailable(error instanceof Unavailable ? error.told : null);
  }
  const message = `Tollgate failed. Nothing was charged for this answer. Report request ${requestId}.`;
  return phraseError(500, { code: "internal_error", param: null, message }, {}, NO_RETRY);
}

/** 503 and when to come again; `told` says why where it is not the decision that cannot be recorded. */
export function phraseUnavailable(told: string | null): Phrased {
  const body = { code: "admission_unavailable", param: null, message: told ?? UNDECIDED };
  return phraseError(503, body, {}, retryAfter(UNAVAILABLE_RETRY_MS));
}

/** Not a caller's mistake, nor what turns calls away by the thousand: those are counted. */
export function needsLog(error: unknown): boolean {
  return !(error instanceof InputError) && !(error instanceof Overloaded);
}

/**
 * An upstream that gave no answer, or a request whose body broke off on its way there. 502 and 504 say
 * whose failure it is. What never arrived may be sent again at once; of what did, nobody knows whether it
 * ran, and official libraries retry both.
 */
export function phraseFailure(
  failure: UpstreamFailure,
  upstream: string,
  requestId: string,
  { isFree = false }: { readonly isFree?: boolean } = {},
): Phrased {
  if (failure.kind === "body") return phraseThrown(failure.cause, requestId);
  if (failure.kind === "lapsed") {
    return phraseThrown(new Unavailable(failure.message, { told: LAPSED }), requestId);
  }
  const status = failure.kind === "timeout" ? 504 : 502;
  const code = failure.sent ? "upstream_outcome_unknown" : "upstream_unreachable";
  const held = isFree
    ? "It may have run, and costs nothing."
    : "It may have run: its cost stays reserved until the outcome is known.";
  const known = failure.sent ? held : "It did not run and nothing was charged.";
  const message = `The upstream \`${upstream}\` gave no answer (${failure.message}). ${known}`;
  return phraseError(status, { code, param: null, message }, { upstream });
}
