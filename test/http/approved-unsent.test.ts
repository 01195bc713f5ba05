import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, expect, test } from "vitest";
import { describeEachDatabase } from "../support/databases.ts";
import { policies, policy } from "../support/judging.ts";
import { chatAnswer } from "../support/openai-answers.ts";
import { MODEL, startTollgate, type Tollgate } from "../support/tollgate.ts";
import { call } from "./http-call.ts";
import { managementAt, type ManagementCall } from "./management-call.ts";

/** People approved it, and its upstream was away: nothing ran, and nobody is to be asked again. */
describeEachDatabase("an approved call that could not be sent", (database) => {
  let upstream: Server;
  let port: number;
  let tollgate: Tollgate;
  beforeAll(async () => {
    upstream = createServer((_, response) => {
      response.setHeader("content-type", "application/json");
      response.end(JSON.stringify(chatAnswer(MODEL, "done", { input: 3, output: 1 })));
    });
    await listen(0);
    ({ port } = upstream.address() as AddressInfo);
    await away();
    tollgate = await startTollgate({ database, upstream: `http://127.0.0.1:${port}/v1` });
  });
  afterAll(async () => {
    await tollgate.close();
    await away();
  });

  const listen = async (on: number) => {
    upstream.listen(on, "127.0.0.1");
    await once(upstream, "listening");
  };
  const away = async () => {
    upstream.close();
    upstream.closeAllConnections();
    await once(upstream, "close");
  };
  const api: ManagementCall = (...asked) => managementAt(tollgate.url)(...asked);

  test("has its approval when it is sent again, and uses it up then", async () => {
    const tenant = await tollgate.tenant();
    const approver = await tenant.newKey({ scopes: ["approve"] });
    const own = `?tenant=${tenant.id}`;
    const source = policies(policy("people", "true", "effect: require_approval"));
    const { version } = await api(tollgate.adminKey, "POST", `/policies${own}`, { source });
    await api(tollgate.adminKey, "POST", `/policies/${version}/activate${own}`, {});
    const ask = async () => {
      const { status, text } = await call(`${tollgate.url}/v1/chat/completions`, {
        method: "POST",
        headers: { authorization: `Bearer ${tenant.key}`, "tollgate-run": "nightly" },
        body: JSON.stringify({ model: MODEL, messages: [], max_tokens: 9 }),
      });
      return [status, status === 200 ? null : JSON.parse(text).error.code];
    };
    expect(await ask()).toEqual([403, "approval_required"]);
    const [asked] = (await api(approver.key, "GET", "/approvals?state=pending"))["data"];
    const { id, digest } = asked;
    await api(approver.key, "POST", `/approvals/${id}/approve`, { digest });

    expect(await ask()).toEqual([502, "upstream_unreachable"]);
    expect(await ask()).toEqual([502, "upstream_unreachable"]);
    await listen(port);
    expect(await ask()).toEqual([200, null]);
    expect(await ask()).toEqual([403, "approval_used"]);
    const { data } = await api(approver.key, "GET", "/approvals");
    expect(data).toMatchObject([{ id, state: "consumed" }]);
  });
});
