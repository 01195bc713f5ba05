import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startPostgres, type Cluster } from "../support/postgres.ts";
import { migrate } from "../../src/store/migrate.ts";
import { MUTANTS, planted } from "./mutants.ts";
import { connectTo } from "./nemesis.ts";
import { playMutant } from "./verdict-on-mutants.ts";

/** The quickest ones; `node test/faults/long.ts --mutants` plays all of them. */
const SHORT = new Set(["void on expiry", "one pool for two upstreams"]);
const TEST_MS = 120_000;

describe("the checker is worth its promises: it finds", () => {
  let cluster: Cluster | undefined;
  beforeAll(async () => {
    cluster = await startPostgres();
  });
  afterAll(async () => {
    await cluster?.stop();
  });

  test("nothing that the code has outgrown: each mutant can still be planted", async () => {
    if (cluster === undefined) throw new Error("the cluster has started");
    const { host, port, user } = cluster.address;
    const database = "planted";
    const keeper = connectTo(cluster, "postgres");
    await keeper.unsafe(`create database ${database}`);
    await keeper.end();
    await migrate({ kind: "url", url: `postgres://${user}@${host}:${port}/${database}` });
    const sql = connectTo(cluster, database);
    for (const mutant of MUTANTS) {
      const { plant, remove } = await planted(mutant);
      await plant(sql);
      await remove();
    }
    await sql.end();
  });

  // Neither plays a fault of the cluster: each has replicas and a database of its own in it.
  test.concurrent.each(MUTANTS.filter(({ name }) => SHORT.has(name)))(
    "$name, and nothing where all else is alike",
    async (mutant) => {
      if (cluster === undefined) throw new Error("the cluster has started");
      const verdict = await playMutant(mutant, cluster, 21);
      expect(verdict.without).toEqual([]);
      expect(verdict.broken.filter((name) => mutant.breaks.includes(name))).not.toEqual([]);
    },
    TEST_MS,
  );
});
