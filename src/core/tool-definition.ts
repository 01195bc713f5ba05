/**
 * What a server says that a tool is: its name, what models are told of it, its schemas and its annotations. An
 * operator approves it whole, by its hash, for each part of it can mislead a model or hide what a call does.
 */
import { canonicalJson } from "../lib/canonical-json.ts";
import { sha256Hex } from "../lib/hash.ts";
import { isExactNumber } from "../lib/exact-json.ts";
import { isList, isRecord } from "../lib/json.ts";
import { JSON_DEPTH_MAX } from "./limits.ts";
import {
  DEFINITION_BYTES_MAX,
  DIFFERENCE_CONTEXT_CHARS,
  DIFFERENCE_PATH_CHARS_MAX,
  DIFFERENCE_VALUE_CHARS_MAX,
  DIFFERENCES_MAX,
  TOOL_NAME_CHARS_MAX,
} from "./limits-tools.ts";

export type Definition =
  | {
      readonly kind: "listed";
      /** Without its server. */
      readonly tool: string;
      /** Of `content`, hex. */
      readonly sha256: string;
      /** The canonical JSON of all that was said, also of members that nobody knows. */
      readonly content: string;
    }
  /** `why`: in a sentence, for the operator. */
  | { readonly kind: "flawed"; readonly why: string };

/**
 * What the protocol allows in names, and the slash, which servers use that are older than the rule. The first slash
 * of `server/tool` ends the server, whose name has none.
 */
const TOOL_NAME = new RegExp(`^[A-Za-z0-9._/-]{1,${TOOL_NAME_CHARS_MAX}}$`);

/** One tool of a server's list, as `JSON.parse` or `parseExactJson` makes it. */
export function definitionOf(listed: unknown): Definition {
  if (!isRecord(listed)) return flawed("A tool is listed as something that is no object.");
  const { name } = listed;
  if (typeof name !== "string") return flawed("A tool is listed without a name.");
  if (!TOOL_NAME.test(name)) {
    const rule = `1 to ${TOOL_NAME_CHARS_MAX} letters, digits, \`_\`, \`-\`, \`.\` or \`/\``;
    const shown = JSON.stringify(name.slice(0, TOOL_NAME_CHARS_MAX));
    return flawed(`The name of a tool has ${rule}; one is listed as ${shown}.`);
  }
  const flaw = flawOfValue(listed, 1, { chars: 0 });
  if (flaw !== null) return flawed(`The definition of \`${name}\` ${flaw}.`);
  const content = canonicalJson(listed);
  // Characters were counted on the way, so that nothing huge was built; what is kept is counted in bytes.
  if (Buffer.byteLength(content) > DEFINITION_BYTES_MAX) {
    return flawed(`The definition of \`${name}\` ${TOO_LARGE}.`);
  }
  return { kind: "listed", tool: name, sha256: sha256Hex(content), content };
}

const TOO_LARGE = `has more than ${DEFINITION_BYTES_MAX} bytes`;

function flawed(why: string): Definition {
  return { kind: "flawed", why };
}

/** What keeps a value from having a canonical text within bounds, as the end of a sentence, or null. */
function flawOfValue(value: unknown, depth: number, seen: { chars: number }): string | null {
  seen.chars += typeof value === "string" ? value.length + 2 : 1;
  if (seen.chars > DEFINITION_BYTES_MAX) return TOO_LARGE;
  if (value === null || typeof value === "boolean" || isExactNumber(value)) return null;
  if (typeof value === "number") return Number.isFinite(value) ? null : "has a number without end";
  if (typeof value === "string") return value.isWellFormed() ? null : "has half a character";
  if (depth > JSON_DEPTH_MAX) return `nests deeper than ${JSON_DEPTH_MAX}`;
  if (isList(value)) {
    for (const item of value) {
      const flaw = flawOfValue(item, depth + 1, seen);
      if (flaw !== null) return flaw;
    }
    return null;
  }
  if (!isRecord(value)) return "has what is no JSON";
  for (const [member, inner] of Object.entries(value)) {
    const flaw = flawOfValue(member, depth, seen) ?? flawOfValue(inner, depth + 1, seen);
    if (flaw !== null) return flaw;
  }
  return null;
}

/** A place where two JSON values differ. */
export type DifferenceLine = {
  /** A JSON pointer (RFC 6901); a long one is cut, with a mark at its end. */
  readonly path: string;
  /** As JSON; null: it was not there. A long one is cut to what is around the change, with marks where it was cut. */
  readonly before: string | null;
  readonly after: string | null;
};

export type Difference = {
  readonly lines: readonly DifferenceLine[];
  /** Places that differ and are not among the lines. */
  readonly more: number;
};

/** Where two definitions differ, by the names of members and the places in lists. Takes what `definitionOf` let pass. */
export function differenceOf(before: unknown, after: unknown): Difference {
  const lines: DifferenceLine[] = [];
  let places = 0;
  const visit = (path: string, old: unknown, young: unknown): void => {
    const parts = partsOf(old, young);
    if (parts !== null) {
      for (const part of parts) {
        visit(`${path}/${escaped(part)}`, memberOf(old, part), memberOf(young, part));
      }
      return;
    }
    const [was, is] = [textOf(old), textOf(young)];
    if (was === is) return;
    places += 1;
    if (lines.length < DIFFERENCES_MAX) lines.push(lineOf(path, was, is));
  };
  visit("", before, after);
  return { lines, more: places - lines.length };
}

/** By what two values are compared inside: where both are objects, or both are lists. */
function partsOf(old: unknown, young: unknown): readonly string[] | null {
  if (isList(old) && isList(young)) {
    const length = Math.max(old.length, young.length);
    return Array.from({ length }, (_, index) => String(index));
  }
  if (!isObject(old) || !isObject(young)) return null;
  return [...new Set([...Object.keys(old), ...Object.keys(young)])].toSorted();
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return isRecord(value) && !isExactNumber(value);
}

/** Own members only: a schema may have a member `constructor`, or `__proto__`. */
function memberOf(value: unknown, part: string): unknown {
  if (isList(value)) return value[Number(part)];
  return isRecord(value) && Object.hasOwn(value, part) ? value[part] : undefined;
}

function escaped(part: string): string {
  return part.replaceAll("~", "~0").replaceAll("/", "~1");
}

function textOf(value: unknown): string | null {
  return value === undefined ? null : canonicalJson(value);
}

function lineOf(path: string, before: string | null, after: string | null): DifferenceLine {
  // What comes before the first difference of two long texts is cut, so that the change itself is shown.
  const same = before === null || after === null ? 0 : sameStart(before, after);
  const from = Math.max(0, same - DIFFERENCE_CONTEXT_CHARS);
  return {
    path: cut(path, 0, DIFFERENCE_PATH_CHARS_MAX),
    before: before === null ? null : cut(before, from, DIFFERENCE_VALUE_CHARS_MAX),
    after: after === null ? null : cut(after, from, DIFFERENCE_VALUE_CHARS_MAX),
  };
}

function sameStart(a: string, b: string): number {
  const end = Math.min(a.length, b.length);
  let at = 0;
  while (at < end && a[at] === b[at]) at += 1;
  return at;
}

/** So many characters from there on; what is left out on either side is counted. Short texts are left whole. */
function cut(text: string, from: number, charsMax: number): string {
  if (text.length <= charsMax) return text;
  const start = beforePair(text, from);
  const end = beforePair(text, start + charsMax);
  const left = start === 0 ? "" : `[${start} characters] …`;
  const right = end >= text.length ? "" : `… [${text.length - end} more characters]`;
  return `${left}${text.slice(start, end)}${right}`;
}

/** The place itself, or the one before it where a character of two units would be parted. */
function beforePair(text: string, at: number): number {
  const unit = text.charCodeAt(at);
  return unit >= 0xdc00 && unit <= 0xdfff ? at - 1 : at;
}
