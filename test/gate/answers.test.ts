import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { createAnswers } from "../../src/gate/answers.ts";
import { CONNECTIONS, connect } from "../../src/store/database.ts";
import { startFaultProxy } from "../faults/fault-proxy.ts";
import { describeOnPostgres } from "../support/databases.ts";
import { TEST_SEAL } from "../support/seal.ts";

const MINUTE_MS = 60_000;

describeOnPostgres("an answer that somebody paid for", (database) => {
  test("is kept when the database is back after a moment", async () => {
    const { address } = database;
    if (address.kind !== "url") throw new Error("a URL is needed");
    const url = new URL(address.url);
    const home = Number(url.port);
    const proxy = await startFaultProxy(home);
    url.port = String(proxy.port);
    const db = connect({ kind: "url", url: url.href }, CONNECTIONS.server);
    const answers = createAnswers({ db, seal: TEST_SEAL, monotonicMs: () => performance.now() });
    const attempt = { tenantId: "ten_kept", attemptId: "att_kept", keptMs: MINUTE_MS };
    const answer = { status: 200, headers: ["x", "1"], body: new Uint8Array([1, 2, 3]) };
    try {
      await db.gate`select 1`;
      proxy.lead(null);
      proxy.reset();
      const kept = answers.keep(attempt, answer);
      await sleep(200);
      proxy.lead(home);
      await kept;
      const found = await answers.find(attempt.tenantId, attempt.attemptId);
      expect(found).toMatchObject({ status: 200, headers: ["x", "1"] });
      expect([...(found?.body ?? [])]).toEqual([1, 2, 3]);
    } finally {
      await db.close();
      await proxy.close();
    }
  });
});
