import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { describeEachDatabase } from "../support/databases.ts";
import { ADMIN_KEY, createTestManagement, type Management } from "../support/management.ts";
import { stepDoorOn, type StepDoor } from "./step-door.ts";

const POLL = { timeout: 20_000, interval: 20 };

const POLICIES = `
policies:
  - id: large-refunds
    when: resource.name == "refund" && double(arguments.amount) > 100.5
    effect: require_approval
    reason: "This refund is large."
`;

describeEachDatabase("an approval at the step door", (database) => {
  let api: Management;
  let door: StepDoor;
  let approver = "";
  beforeAll(async () => {
    api = await createTestManagement(database.db);
    door = await stepDoorOn(api);
    const installation = { installation: true } as const;
    const { version } = await api.administration.applyPolicies(installation, {
      tenantId: door.id,
      source: POLICIES,
    });
    await api.administration.activatePolicies(installation, { tenantId: door.id, version });
    const key = { tenant: door.id, name: "approver", scopes: ["approve"] };
    approver = (await api.call(ADMIN_KEY, "POST", "/api/keys", key)).body.key;
  });
  afterAll(() => api.close());

  const refund = (amount: number, more: object = {}) => ({
    kind: "tool",
    name: "refund",
    arguments: { amount },
    estimate_usd: 0,
    ...more,
  });
  const approve = async (approval: string) => {
    const shown = await api.call(approver, "GET", `/api/approvals/${approval}`);
    const body = { digest: shown.body.digest };
    const answer = await api.call(approver, "POST", `/api/approvals/${approval}/approve`, body);
    expect([answer.status, answer.body.state]).toEqual([200, "approved"]);
  };

  test("is asked for about exactly this call, and then lets it run once", async () => {
    const small = await door.ask(refund(100.25));
    expect([small.status, small.body.verdict]).toEqual([200, "allow"]);
    const ask = refund(100.75);
    const held = await door.ask(ask);
    expect([held.status, held.body]).toMatchObject([
      403,
      {
        error: { code: "approval_required" },
        verdict: "require_approval",
        disposition: "wait",
        approval: { id: expect.stringMatching(/^apr_/) },
      },
    ]);
    await approve(held.body.approval.id);
    // One changed digit is another call, and so is another effect, the repeat of one, or a higher estimate.
    const others = [
      refund(100.76),
      { ...ask, effect: "again" },
      { ...ask, repeats: "att_1" },
      { ...ask, name: "refund", step: "s" },
      { ...ask, estimate_usd: 5_000 },
      { ...ask, kind: "step" },
    ];
    for (const other of others) {
      const answer = await door.ask(other);
      expect([answer.status, answer.body.verdict]).toEqual([403, "require_approval"]);
      expect(answer.body.approval.id).not.toBe(held.body.approval.id);
    }
    const granted = await door.ask(ask);
    expect([granted.status, granted.body.verdict]).toEqual([200, "allow"]);
    const again = await door.ask(ask);
    expect([again.status, again.body]).toMatchObject([
      403,
      { verdict: "block", approval: { id: held.body.approval.id } },
    ]);
  });

  test("is waited for by who has the time", async () => {
    const waiting = door.ask(refund(500, { wait: 30 }));
    const pending = await vi.waitFor(async (): Promise<string> => {
      const { body } = await api.call(approver, "GET", "/api/approvals?state=pending");
      for (const { id } of body.data as readonly { readonly id: string }[]) {
        const shown = await api.call(approver, "GET", `/api/approvals/${id}`);
        if (JSON.parse(shown.body.call).arguments.amount === 500) return id;
      }
      throw new Error("it is not asked for yet");
    }, POLL);
    await approve(pending);
    const answer = await waiting;
    expect([answer.status, answer.body.verdict]).toEqual([200, "allow"]);
  });

  test("is waited for as long as was asked, by the gateway's own clock", async () => {
    // One that began at another moment than this process's: nothing but their differences means anything.
    const monotonicMs = () => performance.now() - 3_600_000;
    const apart = await createTestManagement(database.db, [], { monotonicMs });
    const body = JSON.stringify(refund(700, { wait: 1 }));
    const headers = { authorization: `Bearer ${door.key}`, "content-type": "application/json" };
    const answer = await apart.send("/api/gate", { method: "POST", headers, body });
    expect([answer.status, answer.body.verdict]).toEqual([403, "require_approval"]);
    await apart.close();
  });
});
