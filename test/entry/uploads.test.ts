import { afterAll, beforeAll, expect, test } from "vitest";

import { exchange, head } from "../hostile/wire.ts";
import { describeOnPostgres } from "../support/databases.ts";
import { startScriptedUpstream, type ScriptedUpstream } from "../support/scripted-upstream.ts";
import { startTollgate, type Tenant, type Tollgate } from "../support/tollgate.ts";

describeOnPostgres("an upload that nobody reads", (database) => {
  let upstream: ScriptedUpstream;
  let tollgate: Tollgate;
  let tenant: Tenant;

  beforeAll(async () => {
    upstream = await startScriptedUpstream();
    tollgate = await startTollgate({ database, upstream: upstream.url });
    tenant = await tollgate.tenant({ mode: "tolerant" });
    upstream.otherwise({ kind: "json", body: { id: "file-1" } });
  });
  afterAll(async () => {
    await tollgate?.close();
    await upstream?.close();
  });

  const upload = async (headers: Record<string, string>, body: string) => {
    const auth = { authorization: `Bearer ${tenant.key}`, "content-type": "text/plain" };
    const line = "POST /v1/files HTTP/1.1";
    return await exchange(tollgate.url, [head(line, { ...auth, ...headers }), body]);
  };

  test.each([
    ["of a known length", { "content-length": "5" }, "hello", "5", undefined],
    [
      "in chunks",
      { "transfer-encoding": "chunked" },
      "5\r\nhello\r\n0\r\n\r\n",
      undefined,
      "chunked",
    ],
    ["of no bytes", { "content-length": "0" }, "", "0", undefined],
    [
      "whose length is for one connection only",
      { "content-length": "5", connection: "content-length" },
      "hello",
      undefined,
      "chunked",
    ],
  ])("%s reaches its upstream so", async (_, headers, body, length, coding) => {
    const before = upstream.journal.length;
    const [answer] = await upload(headers, body);
    expect(answer?.status, answer?.body).toBe(200);
    const seen = upstream.journal[before];
    expect(seen?.headers["content-length"]).toBe(length);
    expect(seen?.headers["transfer-encoding"]).toBe(coding);
    expect(Buffer.from(seen?.body ?? []).toString()).toBe(length === "0" ? "" : "hello");
  });

  test("that its client breaks off is free", async () => {
    const line = "POST /v1/files HTTP/1.1";
    const headers = { authorization: `Bearer ${tenant.key}`, "content-length": "50" };
    const decisions = async () => (await tollgate.rows("select from decisions")).length;
    const before = await decisions();
    const pieces = async function* () {
      yield head(line, headers);
      yield "hello";
      // One that breaks off before anything was decided needs no decision.
      await expect.poll(decisions, { timeout: 10_000 }).toBe(before + 1);
    };
    const [answer] = await exchange(tollgate.url, pieces(), { half: true });
    expect(answer?.status).toBe(400);
    await tollgate.settled();
    const rows = await tollgate.ledger<{ ending: string; cost_picousd: string }>(
      `select s.ending, s.cost_picousd::text from decisions d left join settlements s using (attempt_id)
        order by d.decided_at desc, d.attempt_id desc limit 1`,
    );
    expect(await decisions()).toBe(before + 1);
    // Whether its end is seen in the body first or in the connection.
    expect(["released", "aborted"]).toContain(rows[0]?.ending);
    expect(rows[0]?.cost_picousd).toBe("0");
  });
});
