import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { answered, Unanswered } from "../../src/store/answered.ts";
import { isDatabaseAway } from "../../src/store/connection-lost.ts";
import { open, type Sql } from "../../src/store/database.ts";
import { transaction } from "../../src/store/transaction.ts";
import { startFaultProxy } from "../faults/fault-proxy.ts";
import { describeOnPostgres } from "../support/databases.ts";

const ROUNDS = 3;

describeOnPostgres("a statement is answered or fails", (database) => {
  /** One connection, through what can reset it. */
  const throughProxy = async (work: (sql: Sql, reset: () => void) => Promise<void>) => {
    const { address } = database;
    if (address.kind !== "url") throw new Error("a URL is needed");
    const url = new URL(address.url);
    const proxy = await startFaultProxy(Number(url.port));
    url.port = String(proxy.port);
    const sql = open({ kind: "url", url: url.href }, 1, { readsArrays: false });
    try {
      await work(sql, proxy.reset);
    } finally {
      await sql.end({ timeout: 1 });
      await proxy.close();
    }
  };

  test("also where it is asked again at once after a reset", async () => {
    await throughProxy(async (sql, reset) => {
      const inTime = answered(sql, 5_000);
      for (let round = 0; round < ROUNDS; round += 1) {
        await inTime`select 1`;
        const asked = inTime`select pg_sleep(5)`;
        const again = asked.then(undefined, () => inTime.unsafe("select 2 as two"));
        await sleep(50);
        reset();
        expect(await again).toEqual([{ two: 2 }]);
      }
    });
  });

  test("where the driver forgets it", async () => {
    await throughProxy(async (sql, reset) => {
      await sql`select 1`;
      // Not through what waits for the close: this one is taken by the connection whose error was just told.
      const forgotten = sql`select pg_sleep(5)`.then(
        undefined,
        () => answered(sql, 200)`select 2 as two`,
      );
      await sleep(50);
      reset();
      const error: unknown = await forgotten.then(undefined, (told: unknown) => told);
      expect(error).toBeInstanceOf(Unanswered);
      expect(isDatabaseAway(error)).toBe(true);
      expect(await answered(sql, 5_000)`select 3 as three`).toEqual([{ three: 3 }]);
    });
  });

  test("in a transaction, fragments, lists and errors are as without it", async () => {
    await throughProxy(async (sql) => {
      const inTime = answered(sql, 5_000);
      const [row] = await inTime`select ${inTime`1`} as one, ${"a"}::text as letter`;
      expect(row).toEqual({ one: 1, letter: "a" });
      expect(await inTime`select n from (values ${inTime([[1], [2]])}) as v(n)`).toHaveLength(2);
      await expect(inTime`select 1/0`).rejects.toThrow("division by zero");
      expect(await transaction(inTime, (tx) => tx`select 4 as four`)).toEqual([{ four: 4 }]);
    });
  });
});
