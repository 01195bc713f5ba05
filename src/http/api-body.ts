/** The body of a management request: JSON, small, read once, checked against its schema. */
import type { z } from "@hono/zod-openapi";

import { InputError } from "../core/errors.ts";
import {
  API_BODY_BYTES_MAX,
  JSON_DEPTH_MAX,
  JSON_NUMBER_CHARS_MAX,
  JSON_VALUES_MAX,
} from "../core/limits.ts";
import { parseStrictJson } from "../lib/canonical-json.ts";
import { excessOf } from "../lib/json-bounds.ts";
import { decodeUtf8 } from "../lib/json.ts";
import type { Exchange } from "./exchange.ts";

/** An absent body is an empty object: what the schema requires is then named as missing. */
export async function readJson(
  exchange: Pick<Exchange, "header" | "readBody">,
  bytesMax: number = API_BODY_BYTES_MAX,
): Promise<unknown> {
  const bytes = await exchange.readBody(bytesMax);
  if (bytes.length === 0) return {};
  if (mediaOf(exchange) !== "application/json") {
    const message = "The body is JSON: send it with `Content-Type: application/json`.";
    throw new InputError("unsupported_media_type", "content-type", message);
  }
  const text = decodeUtf8(bytes);
  if (text === null) throw new InputError("invalid_json", null, FLAWS.invalid);
  return parseBody(text);
}

/** A body that is a text of one of these media types, and which. */
export async function readText(
  exchange: Pick<Exchange, "header" | "readBody">,
  medias: readonly string[],
  bytesMax: number = API_BODY_BYTES_MAX,
): Promise<{ readonly media: string; readonly text: string }> {
  const bytes = await exchange.readBody(bytesMax);
  const media = mediaOf(exchange);
  if (media === null || !medias.includes(media)) {
    const message = `The body is sent with a \`Content-Type\` of ${medias.join(" or ")}.`;
    throw new InputError("unsupported_media_type", "content-type", message);
  }
  const text = decodeUtf8(bytes);
  if (text === null) throw new InputError("invalid_value", null, "The body is not UTF-8.");
  return { media, text };
}

/** JSON of strangers, in one reading. Throws InputError. */
export function parseBody(text: string): unknown {
  refuseExcess(text);
  const read = parseStrictJson(text, JSON_DEPTH_MAX);
  if (read.kind === "value") return read.value;
  throw new InputError("invalid_json", read.member, FLAWS[read.why]);
}

/** Throws InputError for a body that is compressed. */
function mediaOf(exchange: Pick<Exchange, "header">): string | null {
  const encoding = exchange.header("content-encoding");
  if (encoding !== null && encoding !== "identity") {
    const message = "The body of a management request is not compressed.";
    throw new InputError("unsupported_encoding", "content-encoding", message);
  }
  return exchange.header("content-type")?.split(";")[0]?.trim().toLowerCase() ?? null;
}

/** Before anything is built of it: this is what bounds the time that a body takes. */
function refuseExcess(text: string): void {
  const excess = excessOf(text, BOUNDS);
  if (excess !== null) throw new InputError("invalid_json", null, EXCESSES[excess]);
}

const BOUNDS = { valuesMax: JSON_VALUES_MAX, numberCharsMax: JSON_NUMBER_CHARS_MAX };

const EXCESSES = {
  values: `The body holds more than ${JSON_VALUES_MAX} JSON values: send long lists as text.`,
  number: `A number of the body has more than ${JSON_NUMBER_CHARS_MAX} characters: send it as a string.`,
} as const;

/** What two readers could understand in two ways is refused, and not guessed at. */
const FLAWS = {
  invalid: "The body is not valid JSON.",
  duplicate: "A member stands twice in one object of the body.",
  too_deep: `The body nests deeper than ${JSON_DEPTH_MAX}.`,
  unpaired_surrogate: "A string of the body holds half a character (an unpaired surrogate).",
} as const;

/** What the schema makes of a value; throws InputError for the first thing that is wrong with it. */
export function check<Schema extends z.ZodType>(schema: Schema, value: unknown): z.output<Schema> {
  const result = schema.safeParse(value, { reportInput: true });
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  throw issue === undefined
    ? new InputError("invalid_value", null, "The request is not valid.")
    : errorOf(issue);
}

function errorOf(issue: z.core.$ZodIssue): InputError {
  const path = issue.path.map(String);
  if (issue.code === "unrecognized_keys") {
    const param = [...path, issue.keys[0] ?? ""].join(".");
    return new InputError("unknown_parameter", param, `Unknown parameter: '${param}'.`);
  }
  const param = path.length === 0 ? null : path.join(".");
  if (issue.input === undefined && param !== null) {
    const message = `Missing required parameter: '${param}'.`;
    return new InputError("missing_required_parameter", param, message);
  }
  const message = param === null ? issue.message : `Invalid '${param}': ${issue.message}`;
  return new InputError("invalid_value", param, message);
}
