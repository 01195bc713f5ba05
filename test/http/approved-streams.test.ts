import { afterAll, beforeAll, expect, test } from "vitest";
import { describeEachDatabase } from "../support/databases.ts";
import { policies, policy } from "../support/judging.ts";
import { chatFrames, errorAnswer } from "../support/openai-answers.ts";
import { startScriptedUpstream, type ScriptedUpstream } from "../support/scripted-upstream.ts";
import { MODEL, startTollgate, type Tollgate } from "../support/tollgate.ts";
import { call } from "./http-call.ts";
import { managementAt, type ManagementCall } from "./management-call.ts";

/** An upstream refuses what it does not know, and an approval is used up by the first call that it admits. */
const refusal = errorAnswer("Unknown field: stream_options", "invalid_request_error", null);

describeEachDatabase("an approved stream", (database) => {
  let upstream: ScriptedUpstream;
  let tollgate: Tollgate;
  beforeAll(async () => {
    upstream = await startScriptedUpstream();
    upstream.otherwise(({ body }) =>
      Buffer.from(body).includes("stream_options")
        ? { kind: "json", status: 400, body: refusal }
        : { kind: "sse", frames: chatFrames(MODEL, ["two", " words"], null) },
    );
    tollgate = await startTollgate({ database, upstream: upstream.url });
  });
  afterAll(async () => {
    await tollgate.close();
    await upstream.close();
  });

  const api: ManagementCall = (...asked) => managementAt(tollgate.url)(...asked);

  test.each(["strict", "tolerant"] as const)(
    "passes as it was approved where stream_options is not known, and is charged by our count (%s)",
    async (mode) => {
      const tenant = await tollgate.tenant({ mode });
      const approver = await tenant.newKey({ scopes: ["approve"] });
      const own = `?tenant=${tenant.id}`;
      const source = policies(policy("people", "true", "effect: require_approval"));
      const { version } = await api(tollgate.adminKey, "POST", `/policies${own}`, { source });
      await api(tollgate.adminKey, "POST", `/policies/${version}/activate${own}`, {});
      const body = JSON.stringify({
        model: MODEL,
        messages: [{ role: "user", content: "Hi" }],
        max_tokens: 20,
        stream: true,
      });
      const ask = () =>
        call(`${tollgate.url}/v1/chat/completions`, {
          method: "POST",
          headers: { authorization: `Bearer ${tenant.key}`, "tollgate-run": "nightly" },
          body,
        });
      const sentBefore = upstream.journal.length;
      expect((await ask()).status).toBe(403);
      const [asked] = (await api(approver.key, "GET", "/approvals?state=pending"))["data"];
      const { digest } = asked;
      await api(approver.key, "POST", `/approvals/${asked.id}/approve`, { digest });

      const answer = await ask();
      expect([answer.status, answer.end]).toEqual([200, "whole"]);
      const sent = upstream.journal.slice(sentBefore);
      expect(sent.map((exchange) => Buffer.from(exchange.body).toString())).toEqual([body]);
      const settled = await tollgate.ledger(
        "select ending, basis, cost_picousd > 0 and cost_picousd < reserved_picousd as sound, overage_picousd::int as overage from settlements where tenant_id = $1",
        [tenant.id],
      );
      expect(settled).toEqual([
        { ending: "succeeded", basis: "estimated", sound: true, overage: 0 },
      ]);
      // It was used, once.
      expect((await ask()).status).toBe(403);
    },
  );
});
