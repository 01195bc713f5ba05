/**
 * The texts of a tool's result, as detectors search them, and its longest list. `result` is a CallToolResult of the
 * Model Context Protocol, or whatever a server sent in its place, as parsed JSON.
 *
 * Content are the texts that can be rewritten without changing what the result is: those of text blocks and embedded
 * resources, and the strings of `structuredContent`. All else (names of members, numbers, addresses, descriptions,
 * `_meta`) is searched, too, and can only keep the result from passing.
 */
import { type JsonScan, nestsDeeper, scanJson, stringAt } from "../lib/json-scan.ts";
import { excessOf } from "../lib/json-bounds.ts";
import { isList, isRecord, parseJson } from "../lib/json.ts";
import type { Text } from "./detect.ts";
import { namesSecret } from "./detect-secrets.ts";
import { JSON_DEPTH_MAX } from "./limits.ts";
import { RESULT_VALUES_MAX } from "./limits-policy.ts";

/** The longest list that is counted: how many items, and the names and numbers that lead to it. */
export type Rows = { readonly items: number; readonly path: readonly string[] };

export type ResultTexts =
  | {
      readonly kind: "read";
      readonly texts: readonly Text[];
      readonly longest: Rows;
      /** What is no text, in the plural: images, sound. */
      readonly unsearched: readonly string[];
    }
  /** In a sentence, without anything of the result. */
  | { readonly kind: "unreadable"; readonly why: string };

type Reading = {
  readonly texts: Text[];
  readonly unsearched: Set<string>;
  longest: Rows;
  /** Values that may still be read. */
  left: number;
  refused: Extract<JsonScan, { readonly kind: "refused" }>["why"] | null;
};

/** A number in fewer characters is none of what detectors know: no card has fewer than 13 digits. */
const NUMBER_CHARS_MIN = 13;

export function readResult(result: unknown): ResultTexts {
  const reading: Reading = {
    texts: [],
    unsearched: new Set(),
    longest: { items: 0, path: [] },
    left: RESULT_VALUES_MAX,
    refused: isBounded(result) ? null : "too_many",
  };
  if (reading.refused === null) readMembers(reading, result);
  if (reading.refused !== null) return { kind: "unreadable", why: REFUSED[reading.refused] };
  const { texts, longest, unsearched } = reading;
  return { kind: "read", texts, longest, unsearched: [...unsearched] };
}

const TOO_MUCH = `The result has more than ${RESULT_VALUES_MAX} values, or nests deeper than ${JSON_DEPTH_MAX}, which is more than is checked.`;
const REFUSED = {
  too_many: TOO_MUCH,
  too_deep: TOO_MUCH,
  duplicate:
    "A text of the result is JSON in which a member stands twice: its readers would not read the same, so it cannot be checked.",
} as const;

/** What stands in a text that is a JSON object or list, or null for any other text. */
export function jsonIn(text: string): JsonScan | null {
  // A lone string or number is a text like any other.
  if (!/^\s*[[{]/.test(text)) return null;
  const last = text.trimEnd().at(-1);
  if (last !== "]" && last !== "}") return null;
  if (nestsDeeper(text, JSON_DEPTH_MAX)) return { kind: "refused", why: "too_deep" };
  // Before anything is built of it: eight megabytes of empty objects take a second.
  const bounds = { valuesMax: RESULT_VALUES_MAX, numberCharsMax: text.length };
  if (excessOf(text, bounds) !== null) return { kind: "refused", why: "too_many" };
  if (parseJson(text) === null) return null;
  return scanJson(text, { depthMax: JSON_DEPTH_MAX, valuesMax: RESULT_VALUES_MAX });
}

/** What is searched of a string: with the name of its member where only that says what it is. */
export function searchedOf(text: string, name: string | null): Searched {
  const before = name !== null && namesSecret(name) ? `${name}: ` : "";
  return { text: before + text, from: before.length };
}

/** The string itself stands in the text from `from` on. */
export type Searched = { readonly text: string; readonly from: number };

function readMembers(reading: Reading, result: unknown): void {
  if (!isRecord(result)) return readOutside(reading, result);
  const { content, structuredContent, ...rest } = result;
  readOutside(reading, rest);
  if (structuredContent !== undefined) {
    const text = JSON.stringify(structuredContent);
    const scan = scanJson(text, { depthMax: JSON_DEPTH_MAX, valuesMax: reading.left });
    readScan(reading, { text, scan, path: ["structuredContent"], isContent: true });
  }
  if (!isList(content)) return content === undefined ? undefined : readOutside(reading, content);
  count(reading, { items: content.length, path: ["content"] });
  for (const [at, block] of content.entries()) readBlock(reading, block, ["content", String(at)]);
}

function readBlock(reading: Reading, block: unknown, path: readonly string[]): void {
  if (!isRecord(block)) return readOutside(reading, block);
  const { text, data, resource, ...rest } = block;
  const { unsearched } = reading;
  readOutside(reading, rest);
  switch (block["type"]) {
    case "text":
      readText(reading, text, [...path, "text"]);
      return readOutside(reading, { data, resource });
    case "image":
    case "audio":
      unsearched.add(block["type"] === "image" ? "images" : "sound");
      return readOutside(reading, { text, resource });
    case "resource":
      readResource(reading, resource, [...path, "resource"]);
      return readOutside(reading, { text, data });
    case "resource_link":
      return readOutside(reading, { text, data, resource });
    default:
      unsearched.add("blocks of a kind that is not known");
      return readOutside(reading, { text, data, resource });
  }
}

function readResource(reading: Reading, resource: unknown, path: readonly string[]): void {
  if (!isRecord(resource)) return readOutside(reading, resource);
  const { text, blob, ...rest } = resource;
  readOutside(reading, rest);
  readText(reading, text, [...path, "text"]);
  if (blob !== undefined) reading.unsearched.add("files");
}

function readText(reading: Reading, text: unknown, path: readonly string[]): void {
  if (typeof text !== "string") return readOutside(reading, text);
  const scan = jsonIn(text);
  if (scan === null) pushText(reading, text, true);
  else readScan(reading, { text, scan, path, isContent: true });
}

function readOutside(reading: Reading, value: unknown): void {
  if (value === undefined) return;
  const text = JSON.stringify(value);
  const scan = scanJson(text, { depthMax: JSON_DEPTH_MAX, valuesMax: reading.left });
  readScan(reading, { text, scan, path: null, isContent: false });
}

type Scanned = {
  readonly text: string;
  readonly scan: JsonScan;
  /** Null: its lists are not counted. */
  readonly path: readonly string[] | null;
  readonly isContent: boolean;
};

function readScan(reading: Reading, { text, scan, path, isContent }: Scanned): void {
  if (scan.kind === "refused") {
    reading.refused ??= scan.why;
    return;
  }
  const { places, longest } = scan;
  reading.left -= places.length;
  if (reading.left < 0) reading.refused ??= "too_many";
  if (path !== null && longest !== null) {
    count(reading, { items: longest.items, path: [...path, ...longest.path] });
  }
  for (const { kind, start, end, name } of places) {
    if (kind === "string") {
      const searched = searchedOf(stringAt(text, start, end), name);
      pushText(reading, searched.text, isContent);
    } else if (kind === "name") pushText(reading, stringAt(text, start, end), false);
    else if (end - start >= NUMBER_CHARS_MIN) pushText(reading, text.slice(start, end), false);
  }
}

function pushText({ texts, unsearched }: Reading, text: string, isContent: boolean): void {
  if (/^\s{0,8}data:[^,]{0,200};base64,/i.test(text)) unsearched.add("data URLs");
  texts.push({ text, isContent });
}

function count(reading: Reading, rows: Rows): void {
  if (rows.items > reading.longest.items) reading.longest = rows;
}

/** Before anything recurses into it. */
function isBounded(result: unknown): boolean {
  const stack: { readonly value: unknown; readonly depth: number }[] = [
    { value: result, depth: 1 },
  ];
  for (let values = 1; ; values += 1) {
    const top = stack.pop();
    if (top === undefined) return true;
    const { value, depth } = top;
    if (typeof value !== "object" || value === null) continue;
    const inner = isList(value) ? value : Object.values(value);
    // What is put on the stack is bounded as well as what is taken from it.
    if (depth > JSON_DEPTH_MAX || values + inner.length + stack.length > RESULT_VALUES_MAX) {
      return false;
    }
    for (const each of inner) stack.push({ value: each, depth: depth + 1 });
  }
}
