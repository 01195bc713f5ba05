/** A bundle ready to judge: its expressions compiled, what of each record never changes written out. */
import { matchesGlob } from "./route.ts";
import { DOORS, type Intent } from "./intent.ts";
import { type Bundle, type Policy, policyVersion, QUOTE } from "./policy.ts";
import { createCompiler, type Compilation, type Roots } from "./policy-cel.ts";
import { type Fact, policyFacts } from "./policy-facts.ts";
import { type FactSource, type FactValue, type Seen, wasLookedAt } from "./policy-values.ts";

export type CompiledPolicy = {
  readonly policy: Policy;
  /** Of the policy alone. */
  readonly version: string;
  readonly compilation: Compilation;
  /** What must have been looked at before it can be evaluated. */
  readonly needs: ReadonlySet<FactSource>;
};

export type CompiledBundle = {
  readonly version: string;
  readonly policies: readonly CompiledPolicy[];
  readonly needs: ReadonlySet<FactSource>;
  /** The doors whose calls are judged by what went before them. */
  readonly historyDoors: ReadonlySet<Intent["door"]>;
  /** Why nothing can be judged by it, or null: content that this program cannot read blocks everything. */
  readonly unreadable: string | null;
  readonly roots: (seen: Seen) => Roots;
  readonly facts: readonly Fact[];
};

/** Whether the prior attempts of a run and step must be looked at before this bundle can judge a call. */
export function needsHistory(bundle: CompiledBundle | null, { door }: Intent): boolean {
  return bundle !== null && bundle.historyDoors.has(door);
}

/** Whether the texts of a request must be searched before this bundle can judge. */
export function needsFindings(bundle: CompiledBundle | null): boolean {
  return bundle !== null && bundle.needs.has("detectors");
}

export function compileBundle(version: string, bundle: Bundle): CompiledBundle {
  const facts = policyFacts();
  const compiler = createCompiler();
  const sources = new Map(facts.map(({ path, needs }) => [path, needs]));
  const policies = bundle.policies.map((policy): CompiledPolicy => {
    const compilation = compiler.compile(policy.when);
    const reads = compilation.kind === "compiled" ? [...compilation.expression.reads] : [];
    const needs = new Set(reads.map((path) => sources.get(path) ?? "nothing"));
    return { policy, version: policyVersion(policy), compilation, needs };
  });
  const read = new Set(
    policies.flatMap(({ compilation }) =>
      compilation.kind === "compiled" ? [...compilation.expression.reads] : [],
    ),
  );
  const used = facts.filter(({ path }) => read.has(path));
  // What is only quoted is looked at, too, so that a caller is told it; without it a policy is still judged.
  const quotedBy = ({ reason }: Policy) =>
    Array.from(reason.matchAll(QUOTE), ([, path = ""]) => sources.get(path) ?? "nothing");
  const looksBack = ({ policy, needs }: CompiledPolicy) =>
    needs.has("history") || quotedBy(policy).includes("history");
  const redacts = bundle.policies.some(({ effect }) => isRedacting(effect));
  return {
    version,
    policies,
    needs: new Set([
      ...policies.flatMap(({ needs }) => [...needs]),
      ...bundle.policies.flatMap(quotedBy),
      ...(redacts ? (["detectors"] as const) : []),
    ]),
    historyDoors: new Set(
      DOORS.filter((door) => {
        const about = policies.filter(({ policy }) => isAbout(policy, door));
        // What taints its run is part of the risk of whatever a tool does. A model call reads it where a policy asks.
        return door === "model" ? about.some(looksBack) : about.length > 0;
      }),
    ),
    unreadable: null,
    roots: (seen) => rootsOf(used, seen),
    facts,
  };
}

/** What is to be replaced must be looked for. */
export function isRedacting(effect: Policy["effect"]): boolean {
  return effect.kind === "allow" && effect.redact.length > 0;
}

/** Stands for content that cannot be read: it lets nothing pass. */
export function unreadableBundle(version: string, why: string): CompiledBundle {
  const roots = (): Roots => ({});
  const none = { needs: new Set<FactSource>(), historyDoors: new Set<Intent["door"]>() };
  return { version, policies: [], ...none, unreadable: why, roots, facts: [] };
}

/** Whether a policy is about a call: its door, and any name of its resource. */
export function appliesTo(policy: Policy, { facts, intent }: Seen): boolean {
  const { resources } = policy;
  if (!isAbout(policy, intent.door)) return false;
  if (resources.length === 0) return true;
  const names = namesOf(intent, facts.route);
  return resources.some((glob) => names.some((name) => matchesGlob(glob, name)));
}

function isAbout({ doors }: Policy, door: Intent["door"]): boolean {
  return doors.length === 0 || doors.includes(door);
}

function namesOf(intent: Intent, route: Seen["facts"]["route"]): readonly string[] {
  if (route === null) return [intent.resource];
  return [intent.resource, route.model, `${route.upstream}/${route.model}`];
}

/** Only what some policy reads: the others cost nothing. */
function rootsOf(used: readonly Fact[], seen: Seen): Roots {
  const roots: Record<string, FactValue | Record<string, FactValue>> = {};
  for (const { path, read, needs } of used) {
    if (!wasLookedAt(needs, seen)) continue;
    const dot = path.indexOf(".");
    if (dot < 0) {
      roots[path] = read(seen);
      continue;
    }
    const name = path.slice(0, dot);
    const root = roots[name];
    const members: Record<string, FactValue> = isMembers(root) ? root : {};
    members[path.slice(dot + 1)] = read(seen);
    roots[name] = members;
  }
  return roots;
}

function isMembers(value: unknown): value is Record<string, FactValue> {
  return typeof value === "object" && value !== null && !(value instanceof Map);
}
