import { afterAll, beforeAll, expect, test } from "vitest";

import { runSteps } from "../../src/entry/closing.ts";
import { connect } from "../../src/store/database.ts";
import { describeOnPostgres, openPostgres, type OpenedDatabase } from "../support/databases.ts";
import { chatFrames } from "../support/openai-answers.ts";
import { startScriptedUpstream, type ScriptedUpstream } from "../support/scripted-upstream.ts";
import { MODEL, startTollgate } from "../support/tollgate.ts";

/** So long that counting it takes a while after the cut: its settlement must be waited for. */
const TEXT = "a few words that were delivered ".repeat(20_000);

describeOnPostgres("a stream that outlasts the drain", () => {
  let database: OpenedDatabase;
  let upstream: ScriptedUpstream;

  beforeAll(async () => {
    [database, upstream] = await Promise.all([openPostgres(), startScriptedUpstream()]);
  });
  afterAll(async () => {
    await upstream?.close();
    await database?.close();
  });

  const rows = [
    {
      mode: "tolerant",
      settled: [{ ending: "aborted", basis: "estimated", costs: true }],
      held: [],
    },
    // What such an upstream bills nobody knows: it stays held, and is presumed later.
    { mode: "strict", settled: [], held: [{ state: "unknown" }] },
  ] as const;
  test.each(rows)("of a $mode tenant is cut, ended at its upstream and settled", async (row) => {
    const tollgate = await startTollgate({ database, upstream: upstream.url, drainMsMax: 200 });
    const tenant = await tollgate.tenant({ mode: row.mode });
    const frames = chatFrames(MODEL, [TEXT], null).slice(0, 2);
    upstream.next({ kind: "sse", frames, last: "stall" });
    const stream = await tenant.client.chat.completions.create({
      model: MODEL,
      messages: [{ role: "user", content: "never end" }],
      stream: true,
    });
    const chunks = stream[Symbol.asyncIterator]();
    await chunks.next();
    await tollgate.close();
    await expect(
      (async () => {
        for (;;) if ((await chunks.next()).done === true) return;
      })(),
    ).rejects.toThrow();
    await upstream.quiet();
    expect(upstream.journal.at(-1)?.ended).toBe("closed_by_client");

    const db = connect(database.address, { gateConnections: 1, adminConnections: 1 });
    try {
      const settled = await db.admin`select ending, basis, cost_picousd > 0 as costs
        from settlements where tenant_id = ${tenant.id}`;
      expect([...settled]).toEqual(row.settled);
      const held = await db.admin`select state from reservations where tenant_id = ${tenant.id}`;
      expect([...held]).toEqual(row.held);
      const leases = await db.admin`select 1 from replicas`;
      expect(leases).toHaveLength(0);
    } finally {
      await db.close();
    }
  });
});

test("every step of an end runs, though one before failed, threw at once or hangs", async () => {
  const ran: string[] = [];
  const step = (name: string, work: () => Promise<void>) =>
    [
      name,
      () => {
        ran.push(name);
        return work();
      },
      50,
    ] as const;
  const steps = runSteps([
    step("a", () => Promise.reject(new Error("no"))),
    step("b", () => {
      throw new Error("at once");
    }),
    step("c", () => new Promise(() => {})),
    step("d", () => Promise.resolve()),
  ]);
  await expect(steps).rejects.toThrow("a: no; b: at once; c: not done in 50 ms");
  expect(ran).toEqual(["a", "b", "c", "d"]);
});
