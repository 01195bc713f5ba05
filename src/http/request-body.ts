/** A request's body, as far as its route needs it read. */
import { InputError } from "../core/errors.ts";
import { BODY_BYTES_MAX, UPLOAD_BYTES_MAX } from "../core/limits.ts";
import type { Asked, Edits, Route } from "../dialects/dialect.ts";
import { classify } from "../dialects/openai/classify.ts";
import { edit } from "../dialects/openai/edit.ts";
import { classifyMultipart, FORM_FIELDS } from "../dialects/openai/media.ts";
import { boundaryOf, multipartFieldReader } from "../dialects/openai/multipart.ts";
import { countable, type Countable } from "../dialects/openai/tokens.ts";
import { sha256Hex } from "../lib/hash.ts";
import { decodeUtf8, parseJson } from "../lib/json.ts";
import type { Exchange } from "./exchange.ts";

export type RequestBody = {
  /** What it asks for; null where nothing is read of it. */
  readonly asked: Asked | null;
  /** SHA-256 of the body, hex; empty for a body that streams through. */
  readonly digest: string;
  /** The caller's bytes, with the edits spliced in. */
  readonly forward: (edits: Edits) => Uint8Array | AsyncIterable<Uint8Array> | null;
  readonly countable: (route: Route) => Countable;
};

const NOTHING_COUNTABLE: Countable = { texts: [], overhead: 0 };

/** Throws InputError for a body that is too large, encoded, or not what its route takes. */
export async function readRequestBody(exchange: Exchange, route: Route): Promise<RequestBody> {
  if (route.body === "none") {
    return {
      asked: null,
      digest: "",
      forward: () => exchange.streamBody(UPLOAD_BYTES_MAX),
      countable: () => NOTHING_COUNTABLE,
    };
  }
  refuseEncoded(exchange);
  const bytes = await exchange.readBody(BODY_BYTES_MAX);
  const isForm = route.body === "multipart";
  return {
    asked: isForm ? classifyForm(exchange, route, bytes) : classify(route, bytes),
    digest: sha256Hex(bytes),
    forward: (edits) => (isForm ? bytes : edit(bytes, edits)),
    countable: (of) => (isForm ? NOTHING_COUNTABLE : countableOf(of, bytes)),
  };
}

function countableOf(route: Route, bytes: Uint8Array): Countable {
  const text = decodeUtf8(bytes);
  return text === null ? NOTHING_COUNTABLE : countable(route, parseJson(text)?.value ?? null);
}

/** A body that we cannot look into cannot be bounded. */
function refuseEncoded(exchange: Exchange): void {
  const encoding = exchange.header("content-encoding");
  if (encoding === null || encoding.toLowerCase() === "identity") return;
  const message = `Content-Encoding ${encoding} is not read here: send the body as it is.`;
  throw new InputError("unsupported_encoding", "content-encoding", message);
}

/** A form is never re-encoded: it is forwarded as the bytes that came. */
function classifyForm(exchange: Exchange, route: Route, bytes: Uint8Array): Asked {
  const boundary = boundaryOf(exchange.header("content-type") ?? "");
  if (boundary === null) {
    const message = "This route takes `multipart/form-data` with a boundary.";
    throw new InputError("unsupported_media_type", "content-type", message);
  }
  const reader = multipartFieldReader(boundary, FORM_FIELDS);
  reader.push(bytes);
  const [unclear] = reader.unclear();
  if (unclear !== undefined) {
    const message = `The form field \`${unclear}\` stands there twice, or is too long to be one.`;
    throw new InputError("invalid_value", unclear, message);
  }
  return classifyMultipart(route, reader.fields());
}
