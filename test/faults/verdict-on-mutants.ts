import type { Cluster } from "../support/postgres.ts";
import { check, PROMISES, violations, type PromiseName } from "./checker.ts";
import { planted, ROOT, type Mutant } from "./mutants.ts";
import { playScenario } from "./scenario.ts";

export type Verdict = {
  /** Promises that the mutant broke. */
  readonly broken: readonly PromiseName[];
  /** What was found in the same scenario without it: nothing, if it is the mutant that is found. */
  readonly without: readonly string[];
};

const REPLICAS = 2;
const AGENTS = 12;
/** A mutant may leave what never ends; the same scenario without it is over in two seconds. */
const PATIENCE_MS = 8_000;

/** The same scenario twice, with the mutant and without. */
export async function playMutant(mutant: Mutant, cluster: Cluster, seed: number): Promise<Verdict> {
  const { deck, forMs } = mutant;
  const terms = {
    seed,
    cluster,
    replicas: REPLICAS,
    agents: AGENTS,
    patienceMs: PATIENCE_MS,
    deck,
    forMs,
  };
  const without = violations(check(await playScenario({ ...terms, root: ROOT })));
  const { root, plant, remove } = await planted(mutant);
  try {
    const { findings } = check(await playScenario({ ...terms, root, plant }));
    const broken = PROMISES.filter((name) => findings[name].violations.length > 0);
    return { broken, without };
  } finally {
    await remove();
  }
}
