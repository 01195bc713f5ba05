import { expect, test } from "vitest";
import { createLedger } from "../../src/ledger/ledger.ts";
import { open } from "../../src/store/database.ts";
import { newId } from "../support/approvals.ts";
import { describeOnPostgres } from "../support/databases.ts";

describeOnPostgres("a report that the database cannot sum up in time", (database) => {
  const period = { from: new Date(Date.UTC(2030, 0, 1)), to: new Date(Date.UTC(2030, 6, 1)) };

  test.each(["usage", "shadow"] as const)("%s: asks for a shorter period", async (report) => {
    const { address } = database;
    const hasty = open(address, 1, { settings: { statement_timeout: "100" } });
    const other = open(address, 1);
    const ledger = createLedger({ ...database.db, admin: hasty });
    try {
      // Stands for a year of a busy tenant: it is as long in coming.
      await other.begin(async (tx) => {
        await tx`lock table settlements in access exclusive mode`;
        await expect(ledger[report](`ten_${newId()}`, period)).rejects.toMatchObject({
          code: "invalid_value",
          param: "from",
          message: expect.stringContaining("ask for a shorter one"),
        });
      });
    } finally {
      await hasty.end();
      await other.end();
    }
  });
});
