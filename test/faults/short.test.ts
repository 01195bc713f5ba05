import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startPostgres, type Cluster } from "../support/postgres.ts";
import { tryUnsafeBoots } from "./boots.ts";
import { check, PROMISES, violations, type PromiseName, type Report } from "./checker.ts";
import type { FaultKind } from "./history.ts";
import { ROOT } from "./mutants.ts";
import { playScenario } from "./scenario.ts";

/** Three seeds, so many milliseconds of calls each, and between them every kind of fault. `npm run test:long` plays more of both. */
const SEEDS: readonly (readonly [number, number, readonly FaultKind[]])[] = [
  [11, 16_000, ["lock-meter", "revoke-key", "kill", "pause", "jump-clock"]],
  [12, 11_000, ["crash-database", "freeze-database", "exhaust-connections", "replace"]],
  [13, 11_000, ["database-link", "client-link", "upstream-link", "kill", "replace"]],
];

const REPLICAS = 3;
const AGENTS = 12;
const TEST_MS = 120_000;

describe("every promise is kept", () => {
  let cluster: Cluster | undefined;
  const reports: Report[] = [];
  beforeAll(async () => {
    cluster = await startPostgres();
  });
  afterAll(async () => {
    await cluster?.stop();
  });

  test.each(SEEDS)(
    "on three replicas, seed %i, for %i ms through %j",
    async (seed, forMs, deck) => {
      if (cluster === undefined) throw new Error("the cluster has started");
      const past = await playScenario({
        seed,
        cluster,
        replicas: REPLICAS,
        forMs,
        agents: AGENTS,
        deck,
        root: ROOT,
      });
      const boots = reports.length === 0 ? await tryUnsafeBoots(cluster, ROOT) : [];
      const report = check({ ...past, boots });
      reports.push(report);
      const played = past.faults.map(({ kind, detail }) => `${kind}: ${detail}`);
      expect({ seed, violations: violations(report), played }).toEqual({
        seed,
        violations: [],
        played,
      });
      expect(report.classes.ok).toBeGreaterThan(100);
    },
    TEST_MS,
  );

  test("and each was put to the test by at least one of the seeds", () => {
    const idle = PROMISES.filter((name: PromiseName) =>
      reports.every(({ findings }) => findings[name].examined === 0),
    );
    expect(reports.length).toBe(SEEDS.length);
    expect(idle).toEqual([]);
  });
});
