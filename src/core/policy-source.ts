/**
 * A bundle as people write it, in YAML or JSON: read, checked against its form and compiled, each mistake
 * with its line and column. What is stored is the canonical content, which is read back the same way.
 */
import * as z from "zod";

import { isRecord } from "../lib/json.ts";
import { createReader, inOrder, parse, type Path, type Reader } from "../lib/yaml-reader.ts";
import { readTree, type TreeProblem } from "../lib/yaml-tree.ts";
import { FINDING_NAMES } from "./detect.ts";
import { DOORS } from "./intent.ts";
import {
  APPROVAL_MS_DEFAULT,
  APPROVAL_MS_MAX,
  APPROVERS_MAX,
  CLAMP_TOKENS_MIN,
  CONTEXT_FIELD_BYTES_MAX,
  NAME_LENGTH_MAX,
} from "./limits.ts";
import {
  BUNDLE_BYTES_MAX,
  BUNDLE_COST_MAX,
  EXPRESSION_CHARS_MAX,
  POLICIES_MAX,
  POLICY_PROBLEMS_MAX,
  POLICY_REASON_CHARS_MAX,
  RISK_MAX,
} from "./limits-policy.ts";
import {
  type Bundle,
  contentOf,
  type Effect,
  EFFECTS,
  type Policy,
  QUOTE,
  versionOf,
} from "./policy.ts";
import { type CompiledBundle, compileBundle, unreadableBundle } from "./policy-bundle.ts";
import { createCompiler } from "./policy-cel.ts";
import { policyFacts } from "./policy-facts.ts";

/** A mistake of a bundle's text, for people: lines and columns count from 1. */
export type SourceProblem = {
  readonly line: number;
  readonly column: number;
  readonly message: string;
};

export type SourceReading =
  | {
      readonly kind: "sound";
      readonly bundle: Bundle;
      readonly content: string;
      readonly version: string;
    }
  | { readonly kind: "broken"; readonly problems: readonly SourceProblem[] };

/** Models, tools or the like that one policy names; longer lists are a condition. */
const GLOBS_MAX = 64;
/** Values of a bundle, a hundred for each policy, and what begins one in YAML and JSON. */
const NODES_MAX = POLICIES_MAX * 100;
const VALUE_STARTS = /^[ \t]*-[ \t\r\n]|[[{,]/gmu;
const ID_CHARS_MAX = 64;
/** What a policy is for, in a paragraph or two. */
const DESCRIPTION_CHARS_MAX = 2_000;
/** Written as an escape of YAML it passes the door; no member of a JSON that PostgreSQL reads may hold it. */
const NO_NUL = /^[^\0]*$/u;
const APPROVAL_DEFAULT = { quorum: 1, role: null, expiresInMs: APPROVAL_MS_DEFAULT };

const UNITS_MS = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;

/** Reads a bundle's text. Never throws. */
export function readBundle(text: string): SourceReading {
  if (new TextEncoder().encode(text).byteLength > BUNDLE_BYTES_MAX) {
    const message = `a bundle has at most ${BUNDLE_BYTES_MAX} bytes`;
    return { kind: "broken", problems: [{ line: 1, column: 1, message }] };
  }
  // Counted on the text, for reading the YAML of 12,000 policies is what takes the time: 8 to 25 µs each value.
  if (Array.from(text.matchAll(VALUE_STARTS)).length > NODES_MAX) {
    const message = `at most ${POLICIES_MAX} policies and ${NODES_MAX} values in a bundle`;
    return { kind: "broken", problems: [{ line: 1, column: 1, message }] };
  }
  // A policy reads no environment: `${…}` is what it says.
  const tree = readTree(text, { env: null, keepsNumberText: () => false, nodesMax: NODES_MAX });
  const problems: TreeProblem[] = [...tree.problems];
  const reader = createReader(tree, problems);
  const root = parse(reader, rootSchema(), tree.value ?? {}, []);
  // Made once: a schema takes longer to make than a policy to check.
  const schema = policySchema();
  const policies: Policy[] = [];
  const entries = root?.policies ?? [];
  for (const [at, entry] of entries.entries()) {
    // A hundred mistakes are enough: 15,000 of them, each with its guess at what was meant, took 0.5 s.
    if (problems.length >= POLICY_PROBLEMS_MAX) break;
    const policy = readPolicy(reader, { schema, entry, path: ["policies", at] });
    if (policy !== null) policies.push(policy);
  }
  // A hundred were told already, and nobody reads more.
  if (problems.length < POLICY_PROBLEMS_MAX) {
    refuseTwins(reader, entries);
    compileAll(reader, entries);
  }
  if (root === null || problems.length > 0) {
    return {
      kind: "broken",
      problems: inOrder(problems)
        .slice(0, POLICY_PROBLEMS_MAX)
        .map(({ position, message }) => ({ ...position, message })),
    };
  }
  const bundle: Bundle = { description: root.description ?? "", policies };
  const content = contentOf(bundle);
  return { kind: "sound", bundle, content, version: versionOf(content) };
}

/** A stored content as what judges by it; one that is not what its version says lets nothing pass. */
export function loadBundle(version: string, content: string): CompiledBundle {
  if (versionOf(content) !== version) {
    return unreadableBundle(version, "their content is not what the version was made of");
  }
  const reading = readBundle(content);
  if (reading.kind === "sound") return compileBundle(version, reading.bundle);
  const [problem] = reading.problems;
  return unreadableBundle(version, problem?.message ?? "their content has another form");
}

function rootSchema() {
  return z.strictObject(
    {
      description: z
        .string("a text")
        .max(DESCRIPTION_CHARS_MAX)
        .regex(NO_NUL, "without NUL")
        .optional(),
      policies: z
        .array(z.unknown(), "a list of policies")
        .max(POLICIES_MAX, `at most ${POLICIES_MAX} policies`),
    },
    "an object with policies",
  );
}

function line(charsMax: number, about: string) {
  const message = `${about} of at most ${charsMax} characters, in one line`;
  return z
    .string(message)
    .min(1, message)
    .max(charsMax, message)
    .regex(/^\P{C}+$/u, message);
}

function policySchema() {
  const id = "a name such as no-secrets: small letters, digits, - . and _, at most 64";
  const risk = `a whole number from 0 to ${RISK_MAX}`;
  const when = `a CEL expression of 1 to ${EXPRESSION_CHARS_MAX} characters, none of them NUL`;
  return z.strictObject(
    {
      id: z.string(id).regex(/^[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?$/, id),
      name: line(NAME_LENGTH_MAX, "a text").optional(),
      description: z
        .string("a text")
        .max(DESCRIPTION_CHARS_MAX)
        .regex(NO_NUL, "without NUL")
        .optional(),
      applies_to: appliesSchema().optional(),
      when: z.string(when).min(1, when).max(EXPRESSION_CHARS_MAX, when).regex(NO_NUL, when),
      effect: z.enum(EFFECTS, `one of ${EFFECTS.join(", ")}`),
      approval: approvalSchema().optional(),
      obligations: obligationsSchema().optional(),
      risk: z.int(risk).min(0, risk).max(RISK_MAX, risk).optional(),
      reason: line(POLICY_REASON_CHARS_MAX, "a sentence").optional(),
      mode: z.enum(["enforce", "shadow"], "enforce or shadow").optional(),
      on_error: z.enum(["block", "skip"], "block or skip").optional(),
    },
    "an object",
  );
}

function appliesSchema() {
  const globs = `a list of at most ${GLOBS_MAX} patterns such as "gpt-*"`;
  const door = `one of ${DOORS.join(", ")}; tools that callers run come through step: request.operation == "execute_tool" in when`;
  return z.strictObject(
    {
      doors: z.array(z.enum(DOORS, door), "a list of doors").optional(),
      resources: z
        .array(line(CONTEXT_FIELD_BYTES_MAX, "a pattern"), globs)
        .max(GLOBS_MAX, globs)
        .optional(),
    },
    "an object with doors and resources",
  );
}

function approvalSchema() {
  const quorum = `a whole number from 1 to ${APPROVERS_MAX}`;
  const while_ = "a while such as 15m, 24h or 7d, at most 14d";
  return z.strictObject(
    {
      quorum: z.int(quorum).min(1, quorum).max(APPROVERS_MAX, quorum).optional(),
      role: line(64, "a role").nullable().optional(),
      expires_in: z
        .string(while_)
        .refine((text) => {
          const ms = millisecondsOf(text);
          return ms !== null && ms > 0 && ms <= APPROVAL_MS_MAX;
        }, while_)
        .optional(),
    },
    "an object with quorum, role and expires_in",
  );
}

function obligationsSchema() {
  const tokens = `a whole number of at least ${CLAMP_TOKENS_MIN}`;
  const redact = "a list such as [secrets, email], or [all]";
  return z.strictObject(
    {
      max_output_tokens: z.int(tokens).min(CLAMP_TOKENS_MIN, tokens).nullable().optional(),
      model: line(CONTEXT_FIELD_BYTES_MAX, "a model").nullable().optional(),
      redact: z
        .array(z.enum(FINDING_NAMES, "a kind of finding, a group of them, or all"), redact)
        .min(1, redact)
        .max(FINDING_NAMES.length, redact)
        .optional(),
    },
    "an object with max_output_tokens, model or redact",
  );
}

type Schema = ReturnType<typeof policySchema>;
type Entry = z.infer<Schema>;

type Unread = { readonly schema: Schema; readonly entry: unknown; readonly path: Path };

function readPolicy(reader: Reader, { schema, entry: given, path }: Unread): Policy | null {
  const entry = parse(reader, schema, given, path);
  const reason = textIn(given, "reason", POLICY_REASON_CHARS_MAX);
  if (reason !== null) refuseUnknownQuotes(reader, reason, path);
  if (entry === null) return null;
  const effect = effectOf(reader, entry, path);
  const name = entry.name ?? entry.id;
  return {
    id: entry.id,
    name,
    description: entry.description ?? "",
    doors: entry.applies_to?.doors ?? [],
    resources: entry.applies_to?.resources ?? [],
    when: entry.when,
    effect,
    risk: entry.risk ?? 0,
    reason: entry.reason ?? `${name}.`,
    mode: entry.mode ?? "enforce",
    onError: entry.on_error ?? "block",
  };
}

function effectOf(reader: Reader, entry: Entry, path: Path): Effect {
  const { effect, approval, obligations } = entry;
  if (approval !== undefined && effect !== "require_approval") {
    reader.reportKey([...path, "approval"], "approval belongs to the effect require_approval");
  }
  if (obligations !== undefined && effect !== "allow") {
    reader.reportKey([...path, "obligations"], "obligations belong to the effect allow");
  }
  switch (effect) {
    case "block":
      return { kind: "block" };
    case "require_approval": {
      const expiresIn = approval?.expires_in;
      return {
        kind: "require_approval",
        quorum: approval?.quorum ?? APPROVAL_DEFAULT.quorum,
        role: approval?.role ?? APPROVAL_DEFAULT.role,
        expiresInMs:
          (expiresIn === undefined ? null : millisecondsOf(expiresIn)) ??
          APPROVAL_DEFAULT.expiresInMs,
      };
    }
    case "allow":
      return {
        kind: "allow",
        outputTokensMax: obligations?.max_output_tokens ?? null,
        model: obligations?.model ?? null,
        redact: FINDING_NAMES.filter((name) => obligations?.redact?.includes(name) ?? false),
      };
  }
}

/** `90s`, `15m`, `24h`, `7d`. */
function millisecondsOf(text: string): number | null {
  const match = /^(\d{1,8})([smhd])$/.exec(text);
  const unit = match?.[2];
  if (unit !== "s" && unit !== "m" && unit !== "h" && unit !== "d") return null;
  return Number(match?.[1]) * UNITS_MS[unit];
}

function refuseUnknownQuotes(reader: Reader, reason: string, path: Path): void {
  const quotable = new Map(policyFacts().map(({ path: name, type }) => [name, type]));
  for (const [, name = ""] of reason.matchAll(QUOTE)) {
    const type = quotable.get(name);
    if (type !== undefined && type !== "dyn" && !type.startsWith("map")) continue;
    const message =
      type === undefined
        ? `reason quotes {${name}}, which is no fact`
        : `reason quotes {${name}}, which is no single value`;
    reader.report([...path, "reason"], message);
  }
}

/** Of all that are written: one that has another mistake must not hide those of the others, nor its own. */
function refuseTwins(reader: Reader, entries: readonly unknown[]): void {
  const seen = new Set<string>();
  for (const [at, entry] of entries.entries()) {
    const id = textIn(entry, "id", ID_CHARS_MAX);
    if (id === null) continue;
    if (seen.has(id)) reader.report(["policies", at, "id"], `the id ${id} stands twice`);
    seen.add(id);
  }
}

/** A member that is a text of a form that can be looked at; null where the schema has said what is wrong with it. */
function textIn(entry: unknown, name: string, charsMax: number): string | null {
  const value = isRecord(entry) ? entry[name] : null;
  const isText = typeof value === "string" && value !== "" && value.length <= charsMax;
  return isText && NO_NUL.test(value) ? value : null;
}

/** Each expression by itself, and then what all of them together may take. */
function compileAll(reader: Reader, entries: readonly unknown[]): void {
  const compiler = createCompiler();
  let steps = 0;
  for (const [at, entry] of entries.entries()) {
    const when = textIn(entry, "when", EXPRESSION_CHARS_MAX);
    if (when === null) continue;
    const compiled = compiler.compile(when);
    if (compiled.kind === "compiled") {
      steps += compiled.expression.steps;
      continue;
    }
    for (const problem of compiled.problems) {
      const where = problem.at > 1 ? ` (at character ${problem.at})` : "";
      reader.report(["policies", at, "when"], `when: ${problem.message}${where}`);
    }
  }
  if (steps <= BUNDLE_COST_MAX) return;
  const message = `evaluating all policies could take ${steps} steps, and ${BUNDLE_COST_MAX} are allowed`;
  reader.report(["policies"], message);
}
