/**
 * Business operations that span runs: `refund:order-123` is a type and a key. A client names one, or the
 * operator declares where it stands in the arguments of a tool.
 */
import { canonicalNumber } from "../lib/canonical-json.ts";
import { isExactNumber, sourceOf } from "../lib/exact-json.ts";
import { isList, isRecord } from "../lib/json.ts";
import { InputError } from "./errors.ts";
import { CONTEXT_FIELD_BYTES_MAX, POINTER_TOKENS_MAX, POINTERS_MAX } from "./limits.ts";

export type OperationName = { readonly type: string; readonly key: string };

/**
 * What running a tool twice does. `pure`: nothing · `idempotent`: what running it once does · `keyed`: the
 * same, as its receiver recognises a key · `effectful`: it happens twice.
 */
export const EFFECT_CLASSES = ["pure", "idempotent", "keyed", "effectful"] as const;
export type EffectClass = (typeof EFFECT_CLASSES)[number];

/** Where a tool's arguments name its operation. `observe` only records what `enforce` would claim. */
export type Extractor = {
  readonly type: string;
  /** JSON pointers (RFC 6901); several make a key of several parts. */
  readonly pointers: readonly string[];
  readonly mode: "observe" | "enforce";
};

export const OPERATION_TYPE = /^[A-Za-z][A-Za-z0-9_.-]{0,63}$/;

/** What happens in a run and belongs to no other operation belongs to the run: its key is the run's. */
export const RUN_OPERATION = "run";

const RUN_RULE = "type `run` is Tollgate's own: it is for what a run does by itself";

const TYPE_RULE = "a letter, then at most 63 letters, digits, `_`, `.` or `-`";

/** Reads `type:key`. Throws InputError naming `param`; the key keeps its colons. */
export function parseOperation(text: string, param: string): OperationName {
  const colon = text.indexOf(":");
  if (colon < 0) {
    const message = `An operation is written \`type:key\`, as \`refund:order-123\`; this has no colon: \`${text}\`.`;
    throw new InputError("invalid_value", param, message);
  }
  const name = { type: text.slice(0, colon), key: text.slice(colon + 1) };
  const flaw = flawOfOperation(name);
  if (flaw !== null) throw new InputError("invalid_value", param, flaw);
  return name;
}

/** What is wrong with an operation's name, in a sentence, or null. */
export function flawOfOperation({ type, key }: OperationName): string | null {
  if (!OPERATION_TYPE.test(type)) return `The type of an operation is ${TYPE_RULE}.`;
  if (type === RUN_OPERATION) return `The ${RUN_RULE}.`;
  if (key === "" || key.trim() !== key) {
    return "The key of an operation is not empty and has no space at either end.";
  }
  // Counted like the header that carries it.
  if (Buffer.byteLength(`${type}:${key}`) > CONTEXT_FIELD_BYTES_MAX) {
    return `An operation has at most ${CONTEXT_FIELD_BYTES_MAX} bytes, its type included.`;
  }
  return /\p{C}/u.test(key) ? "The key of an operation has no control characters." : null;
}

/** As it is shown and as a header carries it. */
export function operationText({ type, key }: OperationName): string {
  return `${type}:${key}`;
}

/** What is wrong with a declaration, in a sentence that begins behind the member's name, or null. */
export function flawOfExtractor({ type, pointers }: Extractor): string | null {
  if (!OPERATION_TYPE.test(type)) return `its type is ${TYPE_RULE}`;
  if (type === RUN_OPERATION) return `its ${RUN_RULE}`;
  if (pointers.length === 0 || pointers.length > POINTERS_MAX) {
    return `it has 1 to ${POINTERS_MAX} pointers`;
  }
  const bad = pointers.find((pointer) => parsePointer(pointer) === null);
  if (bad === undefined) return null;
  return (
    `not a JSON pointer of 1 to ${POINTER_TOKENS_MAX} parts: \`${bad}\`; write it as ` +
    "`/order_id` or `/order/id` (RFC 6901)"
  );
}

/**
 * The parts of a JSON pointer (RFC 6901 §3), or null where the text is none. The empty pointer is refused:
 * the arguments as a whole are an object, and no key.
 */
export function parsePointer(text: string): readonly string[] | null {
  const isBounded = text.length <= CONTEXT_FIELD_BYTES_MAX && text.isWellFormed();
  if (!isBounded || !text.startsWith("/") || /~(?![01])/.test(text)) return null;
  const parts = text
    .slice(1)
    .split("/")
    .map((part) => part.replaceAll("~1", "/").replaceAll("~0", "~"));
  return parts.length <= POINTER_TOKENS_MAX ? parts : null;
}

/** The value to which a pointer leads (RFC 6901 §4), or undefined where there is none. */
export function valueAt(value: unknown, parts: readonly string[]): unknown {
  let here = value;
  for (const part of parts) {
    if (isList(here)) {
      here = /^(?:0|[1-9]\d{0,8})$/.test(part) ? here[Number(part)] : undefined;
    } else if (isRecord(here) && !isExactNumber(here) && Object.hasOwn(here, part)) {
      here = here[part];
    } else {
      return undefined;
    }
  }
  return here;
}

export type Extracted =
  | { readonly kind: "found"; readonly operation: OperationName }
  /** `why`: in a sentence, for the decision and for the caller. */
  | { readonly kind: "missing"; readonly why: string };

/**
 * The operation that arguments name. Strings and numbers make a key; anything else is no name of a thing.
 * Several parts are joined by colons, with `%` and `:` in them percent-encoded, so that no two
 * lists of parts are one key.
 */
export function extractOperation(extractor: Extractor, args: unknown): Extracted {
  const parts: string[] = [];
  for (const pointer of extractor.pointers) {
    const tokens = parsePointer(pointer);
    const value = tokens === null ? undefined : valueAt(args, tokens);
    const text = textOf(value);
    if (text === null) return missing(pointer, whatStands(value));
    parts.push(text);
  }
  const [only = ""] = parts;
  const key = parts.length === 1 ? only : parts.map(encodePart).join(":");
  const operation = { type: extractor.type, key };
  const flaw = flawOfOperation(operation);
  return flaw === null ? { kind: "found", operation } : { kind: "missing", why: flaw };
}

function missing(pointer: string, found: string): Extracted {
  const why = `The operation's key is to stand at \`${pointer}\` of the arguments, as a string or a number; ${found}.`;
  return { kind: "missing", why };
}

function whatStands(value: unknown): string {
  if (value === undefined) return "nothing stands there";
  if (value === null) return "null stands there";
  if (value === "") return "an empty string stands there";
  return isList(value) ? "a list stands there" : `a value of type ${typeof value} stands there`;
}

function textOf(value: unknown): string | null {
  if (typeof value === "string") return value === "" ? null : value;
  // The digits of a long number are its name: `1.234567890123456789e+18` is what nobody else calls it.
  if (isExactNumber(value) && /^-?[1-9]\d*$/.test(sourceOf(value))) return sourceOf(value);
  return typeof value === "number" || isExactNumber(value) ? canonicalNumber(value) : null;
}

function encodePart(part: string): string {
  return part.replaceAll("%", "%25").replaceAll(":", "%3A");
}
