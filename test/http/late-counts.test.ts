import { afterEach, beforeEach, expect, test } from "vitest";
import type { CountTokens } from "../../src/gate/ports.ts";
import { describeEachDatabase } from "../support/databases.ts";
import { chatAnswer } from "../support/openai-answers.ts";
import { startScriptedUpstream, type ScriptedUpstream } from "../support/scripted-upstream.ts";
import { MODEL, startTollgate, type Tenant, type Tollgate } from "../support/tollgate.ts";
import { call } from "./http-call.ts";

describeEachDatabase("an answer that tells no usage", (database) => {
  let upstream: ScriptedUpstream;
  let tollgate: Tollgate;
  let tenant: Tenant;
  let counts: PromiseWithResolvers<Awaited<ReturnType<CountTokens>>>;
  beforeEach(async () => {
    counts = Promise.withResolvers();
    upstream = await startScriptedUpstream();
    upstream.otherwise({ kind: "json", body: chatAnswer(MODEL, "ok", null) });
    const countTokens: CountTokens = () => counts.promise;
    tollgate = await startTollgate({ database, upstream: upstream.url, countTokens });
    tenant = await tollgate.tenant();
  });
  afterEach(async () => {
    await tollgate?.close();
    await upstream?.close();
  });

  const ask = () =>
    call(`${tollgate.url}/v1/chat/completions`, {
      method: "POST",
      headers: { authorization: `Bearer ${tenant.key}`, "content-type": "application/json" },
      body: JSON.stringify({
        model: MODEL,
        max_completion_tokens: 50,
        messages: [{ role: "user", content: "Hi" }],
      }),
    });
  const SETTLED = `
    select s.ending, s.basis, s.cost_picousd = d.estimate_picousd as in_full, s.cost_picousd::int as cost
    from settlements s join decisions d using (tenant_id, attempt_id) where s.tenant_id = $1`;

  test("is given before its tokens are counted, with what is held, and settled when they are", async () => {
    const answer = await ask();
    expect([answer.status, answer.end]).toEqual([200, "whole"]);
    expect(answer.headers["tollgate-cost"]).toBeUndefined();
    expect(answer.headers["tollgate-reserved"]).toMatch(/^0\.0+[1-9]\d*$/u);
    expect(await tollgate.rows(SETTLED, [tenant.id])).toEqual([]);
    counts.resolve(4);
    // Four tokens and seven around them, at 10 each; four of the answer at 100.
    expect(await tollgate.ledger(SETTLED, [tenant.id])).toMatchObject([
      { ending: "succeeded", basis: "estimated", cost: 510 },
    ]);
  });

  test("is charged its reservation where its tokens could not be counted", async () => {
    counts.resolve(null);
    expect((await ask()).status).toBe(200);
    expect(await tollgate.ledger(SETTLED, [tenant.id])).toMatchObject([
      { ending: "succeeded", basis: "presumed", in_full: true },
    ]);
  });
});
