/** The codes of bad input, each with its HTTP status in `http/errors.ts`. */
export type InputCode =
  | "malformed_request"
  | "invalid_json"
  | "invalid_value"
  | "missing_required_parameter"
  | "unknown_parameter"
  | "invalid_header"
  | "invalid_api_key"
  | "forbidden"
  | "model_not_found"
  | "not_found"
  | "unknown_url"
  | "method_not_allowed"
  | "conflict"
  | "idempotency_in_progress"
  | "idempotency_key_reused"
  | "outcome_unknown"
  | "request_timeout"
  | "body_too_large"
  | "unsupported_encoding"
  | "unsupported_media_type"
  | "unmet_expectation"
  | "websocket_unsupported"
  | "headers_too_large";

/** The caller's mistake: what, where, and what instead. Thrown by parsers, answered by `http/app.ts`. */
export class InputError extends Error {
  override readonly name = "InputError";
  readonly code: InputCode;
  /** The header or body member at fault, or null. */
  readonly param: string | null;

  constructor(code: InputCode, param: string | null, message: string) {
    super(message);
    this.code = code;
    this.param = param;
  }
}
