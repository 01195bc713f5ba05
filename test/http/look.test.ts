import { afterAll, beforeAll, expect, test } from "vitest";
import { askApproval } from "../support/approvals.ts";
import { describeEachDatabase } from "../support/databases.ts";
import {
  ADMIN_KEY,
  createTestManagement,
  type Json,
  type Management,
} from "../support/management.ts";

type Tenant = Awaited<ReturnType<Management["newTenant"]>>;

describeEachDatabase("looking for something", (database) => {
  let api: Management;
  let tenant: Tenant;
  let other: Tenant;
  beforeAll(async () => {
    api = await createTestManagement(database.db);
    [tenant, other] = [await api.newTenant(), await api.newTenant()];
  });
  afterAll(() => api.close());

  const get = async (path: string, key = tenant.key): Promise<Json> => {
    const answer = await api.call(key, "GET", `/api${path}`);
    if (answer.status !== 200) throw new Error(`${path}: ${JSON.stringify(answer.body)}`);
    return answer.body;
  };
  const put = (run: string, key = tenant.key, body: object = {}) =>
    api.call(key, "PUT", `/api/runs/${encodeURIComponent(run)}`, body);

  test("any key learns whose it is and what it may; the installation's belongs to no tenant", async () => {
    expect(await get("/me")).toEqual({
      kind: "key",
      key: tenant.keyId,
      tenant: { id: tenant.id, name: tenant.name },
      scopes: ["invoke", "report", "admin"],
    });
    const invoke = { tenant: tenant.id, name: "k", scopes: ["invoke"] };
    const made = await api.call(ADMIN_KEY, "POST", "/api/keys", invoke);
    expect((await get("/me", made.body.key)).scopes).toEqual(["invoke"]);
    expect(await get("/me", ADMIN_KEY)).toEqual({
      kind: "installation",
      key: null,
      tenant: null,
      scopes: [],
    });
    expect((await api.call("tg_live_none", "GET", "/api/me")).status).toBe(401);
  });

  test("runs are found by a part of their name, in any case and by pages, with their own sums", async () => {
    for (const run of ["Nightly 1", "nightly 2", "a NIGHTLY%", "weekly"]) await put(run);
    await put("nightly of another tenant", other.key);
    const ask = { tenantId: tenant.id, keyId: tenant.keyId, runNamed: true };
    const ended = await api.admit({ ...ask, runId: "nightly 2" });
    await api.settle({ tenantId: tenant.id, attemptId: ended });
    await api.admit({ ...ask, runId: "nightly 2" });
    const names = async (query: string) =>
      (await get(`/runs?${query}`)).data.map((run: Json) => run.id);
    expect(await names("search=nightly")).toEqual(["a NIGHTLY%", "nightly 2", "Nightly 1"]);
    // What a pattern would mean is only a character here.
    expect(await names("search=Y%25")).toEqual(["a NIGHTLY%"]);
    expect(await names("search=_")).toEqual([]);
    const first = await get("/runs?search=NIGHT&limit=2");
    expect(await names(`search=NIGHT&cursor=${encodeURIComponent(first.next)}`)).toEqual([
      "Nightly 1",
    ]);
    const [, second] = first.data;
    expect(second.totals).toEqual({
      attempts: 2,
      blocked: 0,
      repeated: 0,
      in_flight: 1,
      unknown: 0,
      unpriced: 0,
      cost_usd: "0.000250000001",
      adjusted_usd: null,
      reserved_usd: "0.001",
      tokens: 120,
    });
    expect(second.totals).toEqual((await get("/runs/nightly%202")).totals);
    expect(first.data[0]).toMatchObject({
      totals: { attempts: 0, cost_usd: "0.00" },
      last_at: null,
    });
  });

  test("decisions are listed by their verdict, and refusals counted by their reason", async () => {
    const mine = await api.newTenant();
    const ask = { tenantId: mine.id, keyId: mine.keyId };
    const allowed = await api.admit(ask);
    const refused = [
      await api.admit({ ...ask, judgedReason: "price_unknown" }),
      await api.admit({ ...ask, judgedReason: "policy_denied" }),
      await api.admit({ ...ask, judgedReason: "policy_denied" }),
    ];
    const listed = async (verdict: string) =>
      (await get(`/decisions?verdict=${verdict}`, mine.key)).data.map((one: Json) => one.id);
    expect(await listed("allow")).toEqual([allowed]);
    expect(await listed("block")).toEqual(refused.toReversed());
    expect(await listed("require_approval")).toEqual([]);
    const first = await get("/decisions?verdict=block&limit=2", mine.key);
    const rest = await get(`/decisions?verdict=block&cursor=${first.next}`, mine.key);
    expect(rest.data.map((one: Json) => one.id)).toEqual([refused[0]]);
    expect((await get("/usage", mine.key)).by_reason).toEqual([
      { reason: "policy_denied", decisions: 2 },
      { reason: "price_unknown", decisions: 1 },
    ]);
    const past = "/usage?from=2020-01-01&to=2020-02-01";
    expect((await get(past, mine.key)).by_reason).toEqual([]);
    expect((await api.call(mine.key, "GET", "/api/decisions?verdict=maybe")).status).toBe(400);
  });

  test("approvals are listed by what is asked for", async () => {
    const mine = await api.newTenant(["approve"]);
    const approver = { tenant: mine.id, name: "another", scopes: ["approve"] };
    await api.call(ADMIN_KEY, "POST", "/api/keys", approver);
    const { approvalId } = await askApproval(database.db.admin, {
      tenantId: mine.id,
      keyId: mine.keyId,
    });
    const ids = async (query: string) =>
      (await get(`/approvals?${query}`, mine.key)).data.map((one: Json) => one.id);
    expect(await ids("resource=gpt-4o")).toEqual([approvalId]);
    expect(await ids("resource=gpt-4o&state=pending")).toEqual([approvalId]);
    expect(await ids("resource=gpt-4o&state=denied")).toEqual([]);
    expect(await ids("resource=gpt")).toEqual([]);
  });

  test("prices are found by a part of upstream and model", async () => {
    const found = (await get("/prices?search=OpenAI/GPT-5-min")).data;
    expect(found.length).toBeGreaterThan(0);
    for (const price of found) {
      expect(`${price.upstream}/${price.model}`).toContain("openai/gpt-5-min");
    }
    expect((await get("/prices?search=no-such-model")).data).toEqual([]);
  });
});
