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
});
