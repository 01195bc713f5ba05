/** Where what stands in a JSON text: by places, so that parts of it can give way and the rest stays as it was written. */
import { assert } from "./assert.ts";

/** From `start` to `end`; strings with their quotation marks. */
export type JsonPlace = {
  readonly kind: "name" | "string" | "number";
  readonly start: number;
  readonly end: number;
  /** Of a value that is a member, its name; else null. */
  readonly name: string | null;
};

export type JsonScan =
  | {
      readonly kind: "scanned";
      /** Strings, numbers and names of members, in their order. */
      readonly places: readonly JsonPlace[];
      /** The longest list: how many items, and the names and numbers that lead to it. Null without any list. */
      readonly longest: { readonly items: number; readonly path: readonly string[] } | null;
    }
  /** A member that stands twice: some readers take the first and others the last. */
  | { readonly kind: "refused"; readonly why: "too_deep" | "too_many" | "duplicate" };

export type JsonScanBounds = { readonly depthMax: number; readonly valuesMax: number };

type Open = {
  /** Of an object, those that stood in it; null for a list. */
  readonly names: Set<string> | null;
  items: number;
  /** Of the member whose value is read. */
  name: string;
  isName: boolean;
};

/** Takes a text that `JSON.parse` takes. Looks at each character once, and recurses nowhere. */
export function scanJson(text: string, { depthMax, valuesMax }: JsonScanBounds): JsonScan {
  const open: Open[] = [];
  const places: JsonPlace[] = [];
  let longest: { readonly items: number; readonly path: readonly string[] } | null = null;
  let values = 0;
  for (let at = 0; at < text.length;) {
    const character = text.charAt(at);
    const top = open.at(-1);
    if (character === "}" || character === "]") {
      open.pop();
      const isLonger = top?.names === null && (longest === null || top.items > longest.items);
      if (isLonger) longest = { items: top.items, path: pathOf(open) };
    } else if (character === "," && top?.names instanceof Set) {
      top.isName = true;
    } else if (character === '"' && top?.isName === true) {
      const end = afterString(text, at);
      const name = stringAt(text, at, end);
      if (top.names?.has(name) === true) return { kind: "refused", why: "duplicate" };
      top.names?.add(name);
      top.name = name;
      top.isName = false;
      places.push({ kind: "name", start: at, end, name: null });
      at = end;
      continue;
    } else if (!/[\s,:]/.test(character)) {
      values += 1;
      if (values > valuesMax) return { kind: "refused", why: "too_many" };
      if (top !== undefined) top.items += 1;
      const end = afterValue(text, at);
      const name = top === undefined || top.names === null ? null : top.name;
      if (character === '"') places.push({ kind: "string", start: at, end, name });
      else if (/[-\d]/.test(character)) places.push({ kind: "number", start: at, end, name });
      else if (character === "{") open.push({ names: new Set(), items: 0, name: "", isName: true });
      else if (character === "[") open.push({ names: null, items: 0, name: "", isName: false });
      if (open.length > depthMax) return { kind: "refused", why: "too_deep" };
      at = end;
      continue;
    }
    at += 1;
  }
  return { kind: "scanned", places, longest };
}

/** Whether a text that may be JSON opens so many brackets: before `JSON.parse`, which took a second for 8 MB of them. */
export function nestsDeeper(text: string, depthMax: number): boolean {
  let depth = 0;
  for (let at = 0; at < text.length; at += 1) {
    const character = text[at];
    if (character === '"') at = afterString(text, at) - 1;
    else if (character === "[" || character === "{") depth += 1;
    else if (character === "]" || character === "}") depth -= 1;
    if (depth > depthMax) return true;
  }
  return false;
}

/** The string whose literal stands there, quotation marks included. */
export function stringAt(text: string, start: number, end: number): string {
  const literal = text.slice(start, end);
  if (!literal.includes("\\")) return literal.slice(1, -1);
  const value: unknown = JSON.parse(literal);
  assert(typeof value === "string", "a JSON string is a string");
  return value;
}

function pathOf(open: readonly Open[]): readonly string[] {
  return open.map(({ names, name, items }) => (names === null ? String(items - 1) : name));
}

/** Behind a string, number, `true`, `false` or `null`, or behind the bracket that opens a list or object. */
function afterValue(text: string, at: number): number {
  const character = text.charAt(at);
  if (character === '"') return afterString(text, at);
  if (character === "{" || character === "[") return at + 1;
  let end = at;
  while (end < text.length && /[-+.\w]/.test(text.charAt(end))) end += 1;
  return end;
}

function afterString(text: string, from: number): number {
  let at = from + 1;
  while (at < text.length && text[at] !== '"') at += text[at] === "\\" ? 2 : 1;
  return at + 1;
}
