import { existsSync } from "node:fs";
import { join } from "node:path";
import { BaseSequencer, type TestSpecification, type Vitest } from "vitest/node";

const ROOT = join(import.meta.dirname, "..", "..");

/** What takes longest, the longest first; the order of the rest changes nothing. */
const LONGEST = [
  "test/faults/short.test.ts",
  "test/http/endings.test.ts",
  "test/races/processes.test.ts",
  "test/races/recovery.test.ts",
  "test/faults/mutants.test.ts",
  "test/runtimes/model-door.test.ts",
  "test/races/crash-points.test.ts",
  "test/console/pages.test.ts",
  "test/store/stale-outcomes.test.ts",
  "test/mcp/promises.test.ts",
  "test/incidents/refund.test.ts",
  "test/races/crash.test.ts",
  "test/incidents/drain.test.ts",
  "test/mcp/hostile.test.ts",
  "test/sim/history.test.ts",
  "test/races/locked-tenant.test.ts",
  "test/races/budget.test.ts",
  "test/http/door-limits.test.ts",
  "test/hostile/bodies.test.ts",
  "test/entry/cli.test.ts",
];

/**
 * A long file that starts last runs alone at the end, while the other workers have nothing to do. Vitest
 * goes by what files took the last time, which a clean checkout does not know, and then by their size.
 */
export class LongestFirst extends BaseSequencer {
  private readonly places: ReadonlyMap<string, number>;

  constructor(vitest: Vitest) {
    super(vitest);
    for (const file of LONGEST) {
      if (!existsSync(join(ROOT, file))) throw new Error(`${file} is gone: take it off the list`);
    }
    this.places = new Map(LONGEST.map((file, place) => [join(ROOT, file), place]));
  }

  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const placeOf = ({ moduleId }: TestSpecification): number =>
      this.places.get(moduleId) ?? LONGEST.length;
    const usual = await super.sort([...files]);
    return usual.toSorted((a, b) => placeOf(a) - placeOf(b));
  }
}
