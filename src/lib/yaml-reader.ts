/** Checks one part of a file against its schema and says what is wrong in words, with its place. */
import type * as z from "zod";

import { isRecord } from "./json.ts";
import { didYouMean } from "./nearest.ts";
import type { Position, Tree, TreeProblem } from "./yaml-tree.ts";

export type Path = readonly PropertyKey[];

export type Reader = {
  /** Reports at the value of a member. */
  readonly report: (path: Path, message: string) => void;
  /** Reports at the name of a member. */
  readonly reportKey: (path: Path, message: string) => void;
};

/** Collects into `problems`. What the tree already complained about is not complained about again. */
export function createReader(tree: Tree, problems: TreeProblem[]): Reader {
  const broken = new Set(tree.problems.map(({ position }) => placeOf(position)));
  const add = (position: Position, message: string): void => {
    if (!broken.has(placeOf(position))) problems.push({ position, message });
  };
  return {
    report: (path, message) => add(tree.positionOf(path), message),
    reportKey: (path, message) => add(tree.positionOfKey(path), message),
  };
}

/** The value as the schema reads it, or null after reporting each thing wrong with it. */
export function parse<Schema extends z.ZodType>(
  reader: Reader,
  schema: Schema,
  value: unknown,
  path: Path,
): z.infer<Schema> | null {
  const read = schema.safeParse(value);
  if (read.success) return read.data;
  const unknown = new Set<string>();
  for (const issue of read.error.issues) {
    const at = [...path, ...issue.path];
    if (issue.code === "unrecognized_keys") {
      const known = knownKeys(schema);
      for (const key of issue.keys) {
        unknown.add(key);
        reader.reportKey(
          [...at, key],
          `unknown key ${key}.${didYouMean(key, known)} ${knownText(known)}`,
        );
      }
    } else if (isMissing(value, issue.path)) {
      reader.reportKey(at, `${pathText(at)} is missing: ${issue.message}`);
    } else {
      reader.report(at, `${pathText(at)} must be ${issue.message}`);
    }
  }
  const onlyUnknown = read.error.issues.every(({ code }) => code === "unrecognized_keys");
  if (!onlyUnknown || !isRecord(value)) return null;
  // A misspelt key must not hide the mistakes that the rest has with other parts of the file.
  const rest = Object.entries(value).filter(([key]) => !unknown.has(key));
  return schema.safeParse(Object.fromEntries(rest)).data ?? null;
}

function knownText(known: readonly string[]): string {
  return `Known here: ${known.join(", ")}`;
}

function knownKeys(schema: z.ZodType): readonly string[] {
  return "shape" in schema && typeof schema.shape === "object"
    ? Object.keys(schema.shape ?? {})
    : [];
}

function isMissing(value: unknown, path: Path): boolean {
  let at = value;
  for (const key of path) {
    if (typeof at !== "object" || at === null || !Object.hasOwn(at, key)) return true;
    at = Reflect.get(at, key);
  }
  return false;
}

/** `upstreams[0].base_url`. */
function pathText(path: Path): string {
  let text = "";
  for (const key of path) {
    text += typeof key === "number" ? `[${key}]` : `${text === "" ? "" : "."}${String(key)}`;
  }
  return text === "" ? "the file" : text;
}

/** Top to bottom. */
export function inOrder(problems: readonly TreeProblem[]): readonly TreeProblem[] {
  return problems.toSorted(
    (a, b) => a.position.line - b.position.line || a.position.column - b.position.column,
  );
}

function placeOf({ line, column }: Position): string {
  return `${line}:${column}`;
}
