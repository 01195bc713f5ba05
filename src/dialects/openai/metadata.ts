import { InputError } from "../../core/errors.ts";
import { CONTEXT_FIELD_BYTES_MAX } from "../../core/limits.ts";
import { readObject, wrongType } from "./fields.ts";

/** Members of `metadata` that are ours: context for the gate, never sent on. */
export const METADATA_PREFIX = "tollgate_";

/** OpenAI takes 16 pairs; beside them there is room for every context field of ours. */
const METADATA_PAIRS_MAX = 64;

/** The `metadata.tollgate_*` members without their prefix. Throws InputError where one is no short string. */
export function readMetadata(
  body: Readonly<Record<string, unknown>>,
): Readonly<Record<string, string>> {
  const metadata = readObject(body, "metadata");
  if (metadata === null) return {};
  const ours: [string, string][] = [];
  let pairs = 0;
  for (const name in metadata) {
    if (!Object.hasOwn(metadata, name)) continue;
    pairs += 1;
    if (pairs > METADATA_PAIRS_MAX) {
      const message = `Invalid value for 'metadata': expected at most ${METADATA_PAIRS_MAX} pairs.`;
      throw new InputError("invalid_value", "metadata", message);
    }
    if (!name.startsWith(METADATA_PREFIX)) continue;
    const param = `metadata.${name.slice(0, CONTEXT_FIELD_BYTES_MAX)}`;
    const value = metadata[name];
    if (typeof value !== "string") throw wrongType(param, "a string", value);
    if (new TextEncoder().encode(value).length > CONTEXT_FIELD_BYTES_MAX) {
      const message = `Invalid value for '${param}': expected at most ${CONTEXT_FIELD_BYTES_MAX} bytes.`;
      throw new InputError("invalid_value", param, message);
    }
    ours.push([name.slice(METADATA_PREFIX.length), value]);
  }
  // Built from entries, so that a member named `__proto__` is a member and nothing else.
  return ours.length === 0 ? {} : Object.fromEntries(ours);
}
