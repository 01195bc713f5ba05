import { expect, test } from "vitest";
import { open } from "../../src/store/database.ts";
import { describeOnPostgres } from "../support/databases.ts";

describeOnPostgres("a session", (database) => {
  test("reads moments as they are, whatever the database's own settings say", async () => {
    const { admin } = database.db;
    const [name] = await admin`select current_database() as name`;
    for (const setting of ["DateStyle = 'SQL, DMY'", "TimeZone = 'America/St_Johns'"]) {
      await admin.unsafe(`alter database ${String(name?.["name"])} set ${setting}`);
    }
    const sql = open(database.address, 1);
    const moment = new Date("2030-02-03T00:00:00.000Z");
    expect([
      ...(await sql`select ${moment}::timestamptz as at, ${moment}::timestamptz::text as text`),
    ]).toEqual([{ at: moment, text: "2030-02-03 00:00:00+00" }]);
    await sql.end();
  });

  test("commits as ours do, finds our tables and reads bytes, whatever the database's own settings say", async () => {
    const { admin } = database.db;
    const [name] = await admin`select current_database() as name`;
    await admin.unsafe("create schema elsewhere create table tenants (x int)");
    for (const setting of [
      "default_transaction_isolation = 'serializable'",
      "search_path = elsewhere, public",
      "bytea_output = 'escape'",
      "array_nulls = off",
    ]) {
      await admin.unsafe(`alter database ${String(name?.["name"])} set ${setting}`);
    }
    const sql = open(database.address, 1);
    expect([
      ...(await sql`
        select current_setting('transaction_isolation') as isolation,
               to_regclass('tenants') = 'public.tenants'::regclass as found,
               '\\x0041'::bytea as bytes, '{null}'::text[] is distinct from array['null'] as nulls`),
    ]).toEqual([
      { isolation: "read committed", found: true, bytes: Buffer.from([0, 65]), nulls: true },
    ]);
    await sql.end();
  });
});
