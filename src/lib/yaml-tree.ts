/**
 * YAML as plain values that remember where they stand. Two things are settled here, because later the
 * text is gone: `${VAR}` inside string values is expanded where that is asked for, and every value keeps
 * its line and column. No message repeats a value of the file, because any of them may be a key.
 */
import {
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  parseDocument,
  type ErrorCode,
  type Node,
  type Scalar,
} from "yaml";

import { didYouMean } from "./nearest.ts";

export type Position = { readonly line: number; readonly column: number };

/** What is wrong, where, and what instead. */
export type TreeProblem = { readonly position: Position; readonly message: string };

export type Tree = {
  readonly value: unknown;
  readonly problems: readonly TreeProblem[];
  /** Where a member stands; of a missing one, where its nearest present parent stands. */
  readonly positionOf: (path: readonly PropertyKey[]) => Position;
  /** Where the name of a member stands. */
  readonly positionOfKey: (path: readonly PropertyKey[]) => Position;
};

export type TreeOptions = {
  /** What `${VAR}` is expanded from; null leaves it as it was written. */
  readonly env: Readonly<Record<string, string | undefined>> | null;
  /** Whether a number at this path is kept as the text it was written in, so that no float touches it. */
  readonly keepsNumberText: (path: readonly PropertyKey[]) => boolean;
  /** Values that are read at most; absent: what a configuration may hold. */
  readonly nodesMax?: number;
};

/** What people write is smaller; more than this is a mistake or a bomb of aliases. */
const NODES_MAX = 50_000;
const DEPTH_MAX = 32;
/** Problems told at once; nobody reads more. */
const PROBLEMS_MAX = 100;

const VARIABLE = /\$\{([^}]*)\}?/g;
const VARIABLE_NAME = /^[A-Za-z_][A-Za-z0-9_]*$/;

/** The YAML library quotes the text it stumbled over, which may be a key: these sentences do not. */
const SYNTAX: Readonly<Record<ErrorCode, string>> = {
  ALIAS_PROPS: "an alias takes no anchor and no tag: remove them",
  BAD_ALIAS:
    "an alias names an anchor that does not exist: define it above, or quote a value that starts with *",
  BAD_COLLECTION_TYPE: "this tag does not fit the value: remove it",
  BAD_DIRECTIVE: "unknown directive: remove the line that starts with %",
  BAD_DQ_ESCAPE:
    "unknown escape in a double-quoted string: write \\\\ for a backslash, or use single quotes",
  BAD_INDENT:
    "wrong indentation, or a bracket above it is open: members of one object start in one column",
  BAD_PROP_ORDER: "anchors and tags stand before the value: move them",
  BAD_SCALAR_START: "a plain value cannot start with this character: put it in quotes",
  BLOCK_AS_IMPLICIT_KEY:
    "a nested object starts on a line of its own: break the line after the colon",
  BLOCK_IN_FLOW: "inside [ ] and { } use commas, not lines that start with -",
  DUPLICATE_KEY: "this key stands twice in the same object: remove one",
  IMPOSSIBLE: "this cannot be read as YAML: check the quotes and brackets around it",
  KEY_OVER_1024_CHARS: "a key longer than 1024 characters: check the quotes before it",
  MISSING_CHAR: "a closing quote, bracket, comma or colon is missing",
  MULTILINE_IMPLICIT_KEY: "a key stands on one line: check the quotes and colons here",
  MULTIPLE_ANCHORS: "a value has one anchor at most: remove the others",
  MULTIPLE_DOCS: "one document only: remove the line --- and what follows",
  MULTIPLE_TAGS: "a value has one tag at most: remove the others",
  NON_STRING_KEY: "a key is a text: put it in quotes",
  RESOURCE_EXHAUSTION: "nested too deeply",
  TAB_AS_INDENT: "a tab indents here: use spaces",
  TAG_RESOLVE_FAILED: "unknown tag, or a value that does not fit it: remove the tag",
  UNEXPECTED_TOKEN: "unexpected text: check the quotes, brackets and indentation before it",
};

/** Reads YAML. An empty text is null. Never throws: everything wrong with it is in `problems`. */
export function readTree(text: string, options: TreeOptions): Tree {
  const lines = new LineCounter();
  const document = parseDocument(text, {
    lineCounter: lines,
    prettyErrors: false,
    stringKeys: true,
    uniqueKeys: true,
    merge: false,
  });
  const offsets = new Map<string, { value: number; key: number }>([["[]", { value: 0, key: 0 }]]);
  const problems: TreeProblem[] = [];
  const positionAt = (offset: number): Position => {
    const { line, col } = lines.linePos(offset);
    return { line: Math.max(line, 1), column: Math.max(col, 1) };
  };
  const report = (offset: number, message: string): void => {
    if (problems.length < PROBLEMS_MAX) problems.push({ position: positionAt(offset), message });
  };
  for (const error of [...document.errors, ...document.warnings]) {
    report(error.pos[0], SYNTAX[error.code]);
  }
  const walk: Walk = {
    options,
    offsets,
    report,
    nodesMax: options.nodesMax ?? NODES_MAX,
    nodes: 0,
  };
  const value =
    isUnreadable(document.errors) || document.contents === null
      ? null
      : plainOf(walk, document.contents, [], (node) =>
          isAlias(node) ? node.resolve(document) : node,
        );
  const find = (path: readonly PropertyKey[]) => {
    for (let length = path.length; length > 0; length -= 1) {
      const found = offsets.get(pathKey(path.slice(0, length)));
      if (found !== undefined) return found;
    }
    return { value: 0, key: 0 };
  };
  return {
    value,
    problems,
    positionOf: (path) => positionAt(find(path).value),
    positionOfKey: (path) => positionAt(find(path).key),
  };
}

/** A key that stands twice is a mistake, but the rest can still be read and told about. */
function isUnreadable(errors: readonly { readonly code: ErrorCode }[]): boolean {
  return errors.some(({ code }) => code !== "DUPLICATE_KEY");
}

type Walk = {
  readonly options: TreeOptions;
  readonly offsets: Map<string, { value: number; key: number }>;
  readonly report: (offset: number, message: string) => void;
  readonly nodesMax: number;
  nodes: number;
};

type Resolve = (node: Node) => Node | undefined;

function plainOf(walk: Walk, from: Node, path: readonly PropertyKey[], resolve: Resolve): unknown {
  const offset = from.range?.[0] ?? 0;
  walk.nodes += 1;
  if (walk.nodes > walk.nodesMax || path.length > DEPTH_MAX) {
    const what = path.length > DEPTH_MAX ? `nested deeper than ${DEPTH_MAX}` : "more values";
    if (walk.nodes <= walk.nodesMax + 1) walk.report(offset, `${what} than a configuration has`);
    return null;
  }
  note(walk, path, { value: offset });
  const node = resolve(from);
  if (isScalar(node)) return scalarOf(walk, node, path, offset);
  if (isSeq<Node>(node)) {
    return node.items.map((item, at) => plainOf(walk, item, [...path, at], resolve));
  }
  if (node === undefined) walk.report(offset, SYNTAX.BAD_ALIAS);
  if (!isMap<Node, Node | null>(node)) return null;
  const members: [string, unknown][] = [];
  for (const { key, value } of node.items) {
    const name = isScalar(key) ? String(key.value) : "";
    const keyOffset = key.range?.[0] ?? offset;
    if (name === "__proto__") walk.report(keyOffset, "no member is called __proto__: rename it");
    const at = [...path, name];
    note(walk, at, { value: keyOffset, key: keyOffset });
    members.push([name, value === null ? null : plainOf(walk, value, at, resolve)]);
  }
  return Object.fromEntries(members);
}

function scalarOf(walk: Walk, node: Scalar, path: readonly PropertyKey[], offset: number): unknown {
  const value = node.value;
  if (typeof value === "string") return expanded(walk, value, offset);
  if (typeof value !== "number" && typeof value !== "bigint") return value;
  return walk.options.keepsNumberText(path) ? (node.source ?? String(value)) : value;
}

/** A variable that is empty counts as missing: an empty key would be sent as a key. */
function expanded(walk: Walk, text: string, offset: number): string {
  const { env } = walk.options;
  if (env === null) return text;
  return text.replace(VARIABLE, (whole: string, name: string) => {
    if (!whole.endsWith("}") || !VARIABLE_NAME.test(name)) {
      walk.report(offset, "${ starts the name of an environment variable, as in ${OPENAI_API_KEY}");
      return "";
    }
    const value = env[name];
    if (value !== undefined && value !== "") return value;
    const state = value === "" ? "is empty" : "is not set";
    const guess = didYouMean(name, setNames(env));
    walk.report(
      offset,
      `the environment variable ${name} ${state}: set it before starting.${guess}`,
    );
    return "";
  });
}

function setNames(env: NonNullable<TreeOptions["env"]>): readonly string[] {
  return Object.keys(env).filter((name) => (env[name] ?? "") !== "");
}

function note(walk: Walk, path: readonly PropertyKey[], at: { value: number; key?: number }): void {
  const key = at.key ?? walk.offsets.get(pathKey(path))?.key ?? at.value;
  walk.offsets.set(pathKey(path), { value: at.value, key });
}

function pathKey(path: readonly PropertyKey[]): string {
  return JSON.stringify(path.map(String));
}
