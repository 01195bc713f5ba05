import { setImmediate as turn } from "node:timers/promises";
import { expect, test } from "vitest";
import { open } from "../../src/store/database.ts";
import { transaction } from "../../src/store/transaction.ts";
import { startFaultProxy } from "../faults/fault-proxy.ts";
import { describeOnPostgres } from "../support/databases.ts";

/** Turns of the event loop in which a write that was queued would have been made. */
const TURNS = 50;

describeOnPostgres("a transaction", (database) => {
  test("commits, or undoes everything and throws what was thrown", async () => {
    const { admin } = database.db;
    await admin`create table acts (act text)`;
    const answer = await transaction(admin, async (tx) => {
      await tx`insert into acts values ('done')`;
      return "answer";
    });
    expect(answer).toBe("answer");
    const failing = transaction(admin, async (tx) => {
      await tx`insert into acts values ('undone')`;
      throw new Error("no");
    });
    await expect(failing).rejects.toThrow("no");
    const wrong = transaction(admin, (tx) => tx`select nothing from nowhere`);
    await expect(wrong).rejects.toMatchObject({ code: "42P01" });
    expect([...(await admin`select act from acts`)]).toEqual([{ act: "done" }]);
  });

  test("whose connection is reset in the middle of it fails, and the process goes on", async () => {
    const { address } = database;
    if (address.kind !== "url") throw new Error("a URL is needed");
    const url = new URL(address.url);
    const proxy = await startFaultProxy(Number(url.port));
    url.port = String(proxy.port);
    const sql = open({ kind: "url", url: url.href }, 1);
    try {
      for (let i = 0; i < 10; i += 1) {
        const lost = transaction(sql, async (tx) => {
          await tx`select 1`;
          proxy.reset();
          await tx`select pg_sleep(1)`;
        });
        await expect(lost).rejects.toThrow();
        // What throws outside of every promise ends this process, and with it this file.
        for (let passed = 0; passed < TURNS; passed += 1) await turn();
        expect(await transaction(sql, (tx) => tx`select 1 as one`)).toEqual([{ one: 1 }]);
      }
    } finally {
      await sql.end();
      await proxy.close();
    }
  });
});
