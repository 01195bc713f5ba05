/**
 * Expressions of policies: CEL over the facts, compiled once, without side effects, and bounded in time
 * before they are ever evaluated (see `policy-cost.ts`).
 *
 * A guard layer stands around the evaluator: its `matches` is a JavaScript RegExp, which 27 characters can
 * keep busy for ten seconds, so patterns are compiled here to automata that take linear time.
 */
import { Environment } from "@marcbachmann/cel-js";
import { RE2JS } from "re2js";

import {
  EXPRESSION_COST_MAX,
  EXPRESSION_DEPTH_MAX,
  EXPRESSION_NODES_MAX,
  FACT_ITEMS_MAX,
} from "./limits-policy.ts";
import { picousdFromUsd } from "./money.ts";
import { countCost, MATCHES_LINEAR, type ReadPattern } from "./policy-cost.ts";
import { type Fact, policyFacts } from "./policy-facts.ts";
import type { FactValue } from "./policy-values.ts";

/** The roots of the facts, as an evaluation takes them: absent where nobody looked. */
export type Roots = Readonly<Record<string, FactValue | Readonly<Record<string, FactValue>>>>;

export type Evaluated =
  | { readonly kind: "value"; readonly value: boolean }
  | { readonly kind: "failed"; readonly why: string };

export type Expression = {
  readonly evaluate: (roots: Roots) => Evaluated;
  /** The paths of the facts that it may read. */
  readonly reads: ReadonlySet<string>;
  /** Steps that evaluating takes at most. */
  readonly steps: number;
};

/** What is wrong, and at which character of the expression, from 1. */
export type ExpressionProblem = { readonly at: number; readonly message: string };

export type Compilation =
  | { readonly kind: "compiled"; readonly expression: Expression }
  | { readonly kind: "broken"; readonly problems: readonly ExpressionProblem[] };

export type Compiler = { readonly compile: (text: string) => Compilation };

/** One for each bundle: it holds the patterns of its expressions. */
export function createCompiler(): Compiler {
  const facts = policyFacts();
  const patterns = new Map<string, RE2JS>();
  const environment = environmentOf(facts, patterns);
  const readPattern = patternReader(patterns);
  return {
    compile: (text) => {
      const parsed = attempt(() => environment.parse(text));
      if (parsed.kind === "failed") return broken(parsed);
      const { ast } = parsed.value;
      // Before the types are checked: what is counted here is renamed to what is bounded.
      const counted = countCost(ast, facts, readPattern);
      if (counted.problems.length > 0) {
        return broken(...counted.problems.map(({ at, message }) => ({ at: at + 1, why: message })));
      }
      for (const { text: amount, at } of counted.amounts) {
        const read = attempt(() => usdOf(amount));
        if (read.kind === "failed") return broken({ ...read, at: at + 1 });
      }
      const { steps } = counted.cost;
      if (steps > EXPRESSION_COST_MAX) return broken({ at: 1, why: tooDear(steps) });
      const checked = parsed.value.check();
      if (!checked.valid) return broken(failureOf(checked.error));
      if (checked.type !== "bool") {
        const why = `an expression is true or false; this one is of type ${checked.type ?? "unknown"}`;
        return broken({ at: 1, why });
      }
      const evaluate = (roots: Roots) => evaluated(parsed.value, roots);
      return { kind: "compiled", expression: { evaluate, reads: counted.reads, steps } };
    },
  };
}

/** Compiles each pattern once, and keeps it for the evaluation. */
function patternReader(patterns: Map<string, RE2JS>): ReadPattern {
  return (pattern) => {
    const compiled = attempt(() => patterns.get(pattern) ?? RE2JS.compile(pattern));
    if (compiled.kind === "failed") return compiled;
    patterns.set(pattern, compiled.value);
    return { kind: "program", instructions: compiled.value.programSize() };
  };
}

type Failure = { readonly kind: "failed"; readonly why: string; readonly at: number };

function evaluated(run: (roots: Roots) => unknown, roots: Roots): Evaluated {
  const result = attempt(() => run(roots));
  if (result.kind === "failed") return { kind: "failed", why: result.why };
  if (typeof result.value === "boolean") return { kind: "value", value: result.value };
  return { kind: "failed", why: "its expression gave neither true nor false" };
}

/** Evaluators and parsers say what is wrong by throwing, and in no other way. */
function attempt<Value>(
  work: () => Value,
): { readonly kind: "done"; readonly value: Value } | Failure {
  try {
    return { kind: "done", value: work() };
  } catch (error) {
    return failureOf(error);
  }
}

/** The first line: the others point at the text with spaces. */
function failureOf(error: unknown): Failure {
  const message = error instanceof Error ? error.message : String(error);
  const why = message.split("\n", 1)[0] ?? message;
  return { kind: "failed", why, at: startOf(error) + 1 };
}

function startOf(error: unknown): number {
  if (typeof error !== "object" || error === null || !("range" in error)) return 0;
  const { range } = error;
  if (typeof range !== "object" || range === null || !("start" in range)) return 0;
  return typeof range.start === "number" ? range.start : 0;
}

function broken(
  ...problems: readonly { readonly at: number; readonly why: string }[]
): Compilation {
  return { kind: "broken", problems: problems.map(({ at, why }) => ({ at, message: why })) };
}

function tooDear(steps: number): string {
  return (
    `evaluating it could take ${steps} steps, and ${EXPRESSION_COST_MAX} are allowed: a comprehension ` +
    "over arguments counts 100 times, one inside another 10,000 times, and matches counts each character " +
    "as often as its pattern has instructions: a shorter pattern, or contains, takes less"
  );
}

function environmentOf(facts: readonly Fact[], patterns: ReadonlyMap<string, RE2JS>): Environment {
  const environment = new Environment({
    limits: {
      maxAstNodes: EXPRESSION_NODES_MAX,
      maxDepth: EXPRESSION_DEPTH_MAX,
      maxListElements: FACT_ITEMS_MAX,
      maxMapEntries: FACT_ITEMS_MAX,
      maxCallArguments: 4,
    },
  });
  environment.registerFunction(`string.${MATCHES_LINEAR}(string): bool`, linearMatch(patterns));
  environment.registerFunction("usd(string): int", usdOf);
  const roots = new Map<string, Record<string, string>>();
  for (const { path, type } of facts) {
    const [root = path, member] = path.split(".");
    if (member === undefined) environment.registerVariable(root, celType(type));
    else roots.set(root, { ...roots.get(root), [member]: celType(type) });
  }
  for (const [name, schema] of roots) environment.registerVariable({ name, schema });
  return environment;
}

/** Throws for a pattern that no expression holds, which `countCost` lets none through with. */
function linearMatch(patterns: ReadonlyMap<string, RE2JS>) {
  return (text: string, pattern: string): boolean => {
    const compiled = patterns.get(pattern);
    if (compiled === undefined) throw new Error("its pattern was not compiled");
    return compiled.test(text);
  };
}

/** Dollars as pico-dollars, exactly. */
function usdOf(decimal: string): bigint {
  return picousdFromUsd(decimal);
}

function celType(type: Fact["type"]): string {
  return type === "timestamp" ? "google.protobuf.Timestamp" : type;
}
