import { expect, test } from "vitest";
import { open } from "../../src/store/database.ts";
import { resetClock, setClock, shiftClock } from "./clock.ts";
import { describeEachDatabase, describeOnPostgres } from "./databases.ts";

describeEachDatabase("a test's own database", (database) => {
  test("is migrated", async () => {
    const rows = await database.db.admin`select count(*)::int as count from tenants`;
    expect(rows).toEqual([{ count: 0 }]);
  });

  test("has a clock that is set, shifted and reset, on every connection", async () => {
    const { db } = database;
    const now = async (sql: typeof db.admin): Promise<number> => {
      const [row] = await sql`select tollgate_now() as now`;
      if (!(row?.["now"] instanceof Date)) throw new Error("the clock gives no date");
      return row["now"].getTime();
    };
    await now(db.gate);
    const fixed = new Date("2031-03-30T00:59:59.123Z");
    await setClock(db, fixed);
    expect([await now(db.gate), await now(db.admin)]).toEqual([fixed.getTime(), fixed.getTime()]);
    await shiftClock(db, -86_400_000);
    expect(await now(db.gate)).toBeLessThan(Date.now() - 86_000_000);
    await resetClock(db);
    expect(await now(db.gate)).toBeGreaterThan(Date.now() - 86_000_000);
  });

  test("answers each of many concurrent askers with its own answer", async () => {
    const { db, address } = database;
    const others = [open(address, 1), open(address, 1)];
    const clients = [db.gate, db.admin, ...others];
    const asked = Array.from({ length: 400 }, (_, index) => index);
    const answers = await Promise.all(
      asked.map(async (index) => {
        const sql = clients[index % clients.length]!;
        const [row] =
          index % 3 === 0
            ? await sql`select ${index}::int as answer, ${"x".repeat(index)}::text as filler`
            : await sql.begin(async (tx) => await tx`select ${index}::int as answer`);
        return row?.["answer"] as unknown;
      }),
    );
    expect(answers).toEqual(asked);
    await Promise.all(others.map((sql) => sql.end()));
  });
});

describeEachDatabase("a connection lost inside a transaction", (database) => {
  test("leaves nothing behind and holds up nobody", async () => {
    const { db, address } = database;
    const lost = open(address, 1);
    const begun = Promise.withResolvers<void>();
    const hanging = lost
      .begin(async (tx) => {
        await tx`insert into tenants (tenant_id, name) values ('ten_lost', 'lost')`;
        begun.resolve();
        await new Promise<never>(() => undefined);
      })
      .catch(() => "lost");
    await begun.promise;
    await lost.end({ timeout: 0 });
    expect(await hanging).toBe("lost");
    expect(await db.admin`select count(*)::int as count from tenants`).toEqual([{ count: 0 }]);
    expect(await db.gate`select 1 as one`).toEqual([{ one: 1 }]);
  });
});

describeOnPostgres("the run's PostgreSQL", (database) => {
  test("is version 18 with the durability that people run", async () => {
    const [row] = await database.db.admin`
      select current_setting('server_version_num')::int / 10000 as version,
        current_setting('fsync') as fsync,
        current_setting('synchronous_commit') as commit,
        current_setting('full_page_writes') as pages`;
    expect(row).toEqual({ version: 18, fsync: "on", commit: "on", pages: "on" });
  });
});
