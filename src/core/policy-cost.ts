/**
 * What evaluating an expression can cost, counted on its syntax tree before it is ever evaluated, for
 * the longest facts there can be. CEL has no loops but comprehensions over lists and maps, which have at
 * most FACT_ITEMS_MAX elements, so the count is an upper bound.
 *
 * Only the functions named here may be called: what can make a text or a list grow (`split`, `join`,
 * `map` inside `map`) is either left out or counted.
 */
import type { ASTNode } from "@marcbachmann/cel-js";

import { isList } from "../lib/json.ts";
import {
  ARGUMENT_CHARS_MAX,
  ARGUMENT_NODES_MAX,
  COMPREHENSION_DEPTH_MAX,
  PATTERN_CHARS_MAX,
  PATTERN_EXPANDED_MAX,
  PATTERN_PROGRAM_MAX,
} from "./limits-policy.ts";
import type { Fact } from "./policy-facts.ts";

export type Cost = {
  /** Of evaluating it. */
  readonly steps: number;
  /** Of what it gives: the longest text, the most elements, and the steps of reading all that is in it. */
  readonly chars: number;
  readonly items: number;
  readonly weight: number;
};

export type CostProblem = { readonly at: number; readonly message: string };

export type Counted = {
  readonly cost: Cost;
  /** The facts that it reads, by path. */
  readonly reads: ReadonlySet<string>;
  /** What calls of `usd` hold, written out: to be read once, before anything is judged. */
  readonly amounts: readonly Written[];
  readonly problems: readonly CostProblem[];
};

/** A pattern, compiled: the instructions of its program, or why it is none. */
export type PatternReading =
  | { readonly kind: "program"; readonly instructions: number }
  | { readonly kind: "failed"; readonly why: string };

export type ReadPattern = (pattern: string) => PatternReading;

export type Written = { readonly text: string; readonly at: number };

/** The name under which `matches` is evaluated: cel-js's own would take exponential time. */
export const MATCHES_LINEAR = "matchesLinear";

const COMPREHENSIONS = new Set(["all", "exists", "exists_one", "map", "filter"]);
const METHODS = new Set([
  "startsWith",
  "endsWith",
  "contains",
  "lowerAscii",
  "upperAscii",
  "trim",
  "substring",
  "indexOf",
  "size",
  "getHours",
  "getMinutes",
  "getSeconds",
  "getDayOfWeek",
  "getDayOfMonth",
  "getDate",
  "getMonth",
  "getFullYear",
]);
const FUNCTIONS = new Set([
  "size",
  "has",
  "int",
  "double",
  "string",
  "bool",
  "timestamp",
  "duration",
  "usd",
]);

/** A moment in a time zone is found by the runtime's calendar: some 40 µs. */
const TIME_ZONE_STEPS = 2_000;

/** Characters that comparing or searching reads in the time of one step. */
const CHARS_PER_STEP = 256;

/** Pairs of characters that looking for one text in another compares in that time: a nanosecond is two. */
const PAIRS_PER_STEP = 128;

const SCALAR: Cost = { steps: 1, chars: 64, items: 0, weight: 2 };

type Walk = {
  readonly facts: readonly Fact[];
  readonly reads: Set<string>;
  readonly readPattern: ReadPattern;
  readonly amounts: Written[];
  readonly problems: CostProblem[];
};

type Scope = { readonly names: ReadonlyMap<string, Cost>; readonly depth: number };

/** Counts, and renames each `matches` in the tree, whose patterns are read on the way: each costs its size. */
export function countCost(ast: ASTNode, facts: readonly Fact[], readPattern: ReadPattern): Counted {
  const walk: Walk = { facts, readPattern, reads: new Set(), amounts: [], problems: [] };
  const cost = costOf(walk, ast, { names: new Map(), depth: 0 });
  const { reads, amounts, problems } = walk;
  return { cost, reads, amounts, problems };
}

function costOf(walk: Walk, node: ASTNode, scope: Scope): Cost {
  switch (node.op) {
    case "value":
      return typeof node.args === "string" ? textCost(node.args.length) : SCALAR;
    case "id":
      return scope.names.get(node.args) ?? readFact(walk, node.args);
    case ".":
    case ".?":
      return selectCost(walk, node, scope);
    case "[]":
    case "[?]":
      return indexCost(walk, node.args, scope);
    case "call":
      return callCost(walk, node, scope);
    case "rcall":
      return methodCost(walk, node, scope);
    case "list":
      return literalCost(node.args.map((item) => costOf(walk, item, scope)));
    case "map":
      return literalCost(
        node.args.flatMap(([key, value]) => [costOf(walk, key, scope), costOf(walk, value, scope)]),
      );
    case "?:": {
      const [test, yes, no] = node.args;
      const cost = widest([costOf(walk, yes, scope), costOf(walk, no, scope)]);
      return { ...cost, steps: cost.steps + costOf(walk, test, scope).steps + 1 };
    }
    case "!_":
    case "-_":
      return { ...SCALAR, steps: costOf(walk, node.args, scope).steps + 1 };
    default:
      return binaryCost(walk, node.op, node.args, scope);
  }
}

/** `run.attempts` is one fact; below a fact, and below a variable, is a part of it. */
function selectCost(walk: Walk, node: ASTNode & { op: "." | ".?" }, scope: Scope): Cost {
  const [object, name] = node.args;
  if (object.op === "id" && !scope.names.has(object.args)) {
    const path = `${object.args}.${name}`;
    if (walk.facts.some((fact) => fact.path === path)) return readFact(walk, path);
  }
  const whole = costOf(walk, object, scope);
  return { ...whole, steps: whole.steps + 1 };
}

function indexCost(walk: Walk, [object, key]: [ASTNode, ASTNode], scope: Scope): Cost {
  const whole = costOf(walk, object, scope);
  return { ...whole, steps: whole.steps + costOf(walk, key, scope).steps + 1 };
}

/** Of a root (`run`) all facts below it: what is done with them cannot be told here. */
function readFact(walk: Walk, path: string): Cost {
  const read = walk.facts.filter((fact) => fact.path === path || fact.path.startsWith(`${path}.`));
  for (const fact of read) walk.reads.add(fact.path);
  const chars = Math.max(0, ...read.map(({ charsMax }) => charsMax));
  const items = Math.max(0, ...read.map(({ itemsMax }) => itemsMax));
  return { steps: 1, chars, items, weight: read.reduce((sum, fact) => sum + weightOf(fact), 1) };
}

function weightOf({ type, charsMax, itemsMax }: Fact): number {
  if (type === "dyn") return ARGUMENT_NODES_MAX + Math.ceil(ARGUMENT_CHARS_MAX / CHARS_PER_STEP);
  return Math.max(1, itemsMax) * textCost(charsMax).weight;
}

function textCost(chars: number): Cost {
  return { steps: 1, chars, items: 0, weight: 1 + Math.ceil(chars / CHARS_PER_STEP) };
}

function callCost(walk: Walk, node: ASTNode & { op: "call" }, scope: Scope): Cost {
  const [name, args] = node.args;
  if (!FUNCTIONS.has(name)) refuse(walk, node, name, [...FUNCTIONS]);
  const [first] = args;
  if (name === "usd" && first?.op === "value" && typeof first.args === "string") {
    walk.amounts.push({ text: first.args, at: first.start });
  } else if (name === "usd") {
    walk.problems.push({ at: node.start, message: 'usd takes an amount written out: usd("1.50")' });
  }
  const given = args.map((arg) => costOf(walk, arg, scope));
  return { ...textCost(charsOf(given)), steps: stepsOf(given) + textSteps(given) };
}

function methodCost(walk: Walk, node: ASTNode & { op: "rcall" }, scope: Scope): Cost {
  const [name, receiver, args] = node.args;
  if (COMPREHENSIONS.has(name)) return comprehensionCost(walk, node, scope);
  const on = costOf(walk, receiver, scope);
  if (name === "matches") return matchesCost(walk, node, on);
  if (!METHODS.has(name)) refuse(walk, node, name, [...METHODS, ...COMPREHENSIONS, "matches"]);
  const given = [on, ...args.map((arg) => costOf(walk, arg, scope))];
  const zone = name.startsWith("get") && args.length > 0 ? TIME_ZONE_STEPS : 0;
  const search = name === "contains" || name === "indexOf" ? searchSteps(given) : 0;
  return { ...textCost(on.chars), steps: stepsOf(given) + textSteps(given) + zone + search };
}

/**
 * Of looking for one text in another, which the runtime does in the time of both lengths multiplied where the
 * texts are made for it: for 2,048 characters in 4,096 in 2.2 ms.
 */
function searchSteps([on = SCALAR, sought = SCALAR]: readonly Cost[]): number {
  const chars = Math.min(sought.chars, Math.ceil(on.chars / 2));
  return Math.ceil((chars * (on.chars - chars)) / PAIRS_PER_STEP);
}

function matchesCost(walk: Walk, node: ASTNode & { op: "rcall" }, on: Cost): Cost {
  const [pattern, ...more] = node.args[2];
  const text = pattern?.op === "value" ? pattern.args : null;
  if (typeof text !== "string" || more.length > 0 || text.length > PATTERN_CHARS_MAX) {
    const message = `matches takes a pattern that is written out, of at most ${PATTERN_CHARS_MAX} characters`;
    walk.problems.push({ at: node.start, message });
    return SCALAR;
  }
  const at = pattern?.start ?? node.start;
  const instructions = instructionsOf(walk, text, at);
  node.args[0] = MATCHES_LINEAR;
  // Linear in the text is not cheap: each instruction may be visited for each character.
  return { ...SCALAR, steps: on.steps + 1 + on.chars * instructions };
}

/** Zero after a problem, which says enough. */
function instructionsOf(walk: Walk, pattern: string, at: number): number {
  const isTooLarge = expandedAtMost(pattern) > PATTERN_EXPANDED_MAX;
  const read: PatternReading = isTooLarge
    ? { kind: "failed", why: TOO_LARGE }
    : walk.readPattern(pattern);
  if (read.kind === "program" && read.instructions <= PATTERN_PROGRAM_MAX) return read.instructions;
  walk.problems.push({ at, message: read.kind === "failed" ? read.why : TOO_LARGE });
  return 0;
}

const TOO_LARGE =
  `a pattern has at most ${PATTERN_PROGRAM_MAX} instructions, and a repetition such as {0,300} ` +
  "writes out what it repeats that often: repeat less, or with * and +";

/**
 * An upper bound of what a pattern's repetitions write out, found on its text, because compiling it would
 * take the time that is to be saved: each character once and each repeated one as often as it says, times
 * what each repetition of a group says, as if all groups stood inside each other.
 */
function expandedAtMost(pattern: string): number {
  let items = pattern.length;
  let times = 1;
  for (const [, before = "", least = "", most] of pattern.matchAll(/(.?)\{(\d+)(?:,(\d*))?\}/gsu)) {
    const count = Math.max(1, Number(most === undefined || most === "" ? least : most));
    // After a bracket or another repetition it may be more than one character that is repeated.
    if (/[)}*+?]/u.test(before)) times *= count;
    else items += count;
  }
  return items * times;
}

function comprehensionCost(walk: Walk, node: ASTNode & { op: "rcall" }, scope: Scope): Cost {
  const [name, receiver, args] = node.args;
  const list = costOf(walk, receiver, scope);
  const [variable, ...body] = args;
  const depth = scope.depth + 1;
  if (depth > COMPREHENSION_DEPTH_MAX) {
    const message = `comprehensions stand at most ${COMPREHENSION_DEPTH_MAX} deep in each other`;
    walk.problems.push({ at: node.start, message });
    return SCALAR;
  }
  if (variable?.op !== "id") return SCALAR;
  const element = { ...list, steps: 1 };
  const names = new Map([...scope.names, [variable.args, element] as const]);
  const inner = body.map((each) => costOf(walk, each, { names, depth }));
  const steps = list.steps + 1 + list.items * (1 + stepsOf(inner));
  if (name === "filter") return { ...list, steps };
  if (name === "map") {
    const items = Math.max(list.items, itemsOf(inner));
    return { steps, chars: charsOf(inner), items, weight: 1 + list.items * weightsOf(inner) };
  }
  return { ...SCALAR, steps };
}

function binaryCost(
  walk: Walk,
  op: Exclude<
    ASTNode["op"],
    "value" | "id" | "." | ".?" | "call" | "rcall" | "list" | "map" | "?:"
  >,
  args: unknown,
  scope: Scope,
): Cost {
  const sides = isList(args) ? args.filter(isNode).map((side) => costOf(walk, side, scope)) : [];
  if (op === "||" || op === "&&") return { ...SCALAR, steps: stepsOf(sides) + 1 };
  // Two sides are compared as far as the shorter goes.
  const weights = sides.map(({ weight }) => weight);
  const compared = 1 + (op === "in" || op === "+" ? weightsOf(sides) : Math.min(...weights));
  const steps = stepsOf(sides) + compared;
  if (op !== "+") return { ...SCALAR, steps };
  return {
    steps,
    chars: sides.reduce((sum, { chars }) => sum + chars, 0),
    items: sides.reduce((sum, { items }) => sum + items, 0),
    weight: weightsOf(sides),
  };
}

function isNode(value: unknown): value is ASTNode {
  return typeof value === "object" && value !== null && "op" in value;
}

/** What a literal holds, and how much of it. */
function literalCost(items: readonly Cost[]): Cost {
  return {
    steps: stepsOf(items) + 1,
    chars: charsOf(items),
    items: Math.max(items.length, itemsOf(items)),
    weight: 1 + weightsOf(items),
  };
}

function widest(costs: readonly Cost[]): Cost {
  return {
    steps: Math.max(...costs.map(({ steps }) => steps)),
    chars: charsOf(costs),
    items: itemsOf(costs),
    weight: Math.max(...costs.map(({ weight }) => weight)),
  };
}

/** Of a method of texts, which reads each text that it is given once. */
function textSteps(given: readonly Cost[]): number {
  return 1 + given.reduce((sum, { chars }) => sum + Math.ceil(chars / CHARS_PER_STEP), 0);
}

function stepsOf(costs: readonly Cost[]): number {
  return costs.reduce((sum, { steps }) => sum + steps, 0);
}

function weightsOf(costs: readonly Cost[]): number {
  return costs.reduce((sum, { weight }) => sum + weight, 0);
}

function charsOf(costs: readonly Cost[]): number {
  return Math.max(0, ...costs.map(({ chars }) => chars));
}

function itemsOf(costs: readonly Cost[]): number {
  return Math.max(0, ...costs.map(({ items }) => items));
}

function refuse(walk: Walk, node: ASTNode, name: string, known: readonly string[]): void {
  const message = `${name} cannot be used here. Known: ${known.join(", ")}`;
  walk.problems.push({ at: node.start, message });
}
