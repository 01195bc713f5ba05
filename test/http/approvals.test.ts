import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { APPROVAL_CALL_KEPT_MS } from "../../src/core/limits.ts";
import { askApproval, type Asked, type AskTerms } from "../support/approvals.ts";
import { resetClock, shiftClock } from "../support/clock.ts";
import { describeEachDatabase } from "../support/databases.ts";
import { ADMIN_KEY, createTestManagement, type Management } from "../support/management.ts";
import { TEST_SEAL } from "../support/seal.ts";

type Person = { readonly id: string; readonly key: string };

describeEachDatabase("approvals", (database) => {
  let api: Management;
  let tenant: Awaited<ReturnType<Management["newTenant"]>>;
  let ann: Person;
  let bob: Person;
  let eve: Person;
  beforeAll(async () => {
    api = await createTestManagement(database.db);
  });
  afterAll(() => api.close());
  beforeEach(async () => {
    await resetClock(database.db);
    tenant = await api.newTenant(["invoke", "report", "approve", "admin"]);
    [ann, bob, eve] = [await person(), await person(), await person()];
  });

  const person = async (more: object = {}): Promise<Person> => {
    const terms = { tenant: tenant.id, name: "approver", scopes: ["approve"], ...more };
    const { status, body } = await api.call(ADMIN_KEY, "POST", "/api/keys", terms);
    expect(status).toBe(201);
    return { id: body.id, key: body.key };
  };
  const ask = (terms: Partial<AskTerms> = {}): Promise<Asked> =>
    askApproval(database.db.admin, {
      tenantId: tenant.id,
      keyId: tenant.keyId,
      seal: TEST_SEAL,
      ...terms,
    });
  const act = (by: Person | string, asked: Asked, what: string, body: object = {}) =>
    api.call(
      typeof by === "string" ? by : by.key,
      "POST",
      `/api/approvals/${asked.approvalId}/${what}`,
      body,
    );
  const approve = (by: Person | string, asked: Asked, more: object = {}) =>
    act(by, asked, "approve", { digest: asked.digest, ...more });
  const deny = (by: Person | string, asked: Asked, more: object = {}) =>
    act(by, asked, "deny", { digest: asked.digest, reason: "no", ...more });
  const show = async (asked: Asked) =>
    (await api.call(ann.key, "GET", `/api/approvals/${asked.approvalId}`)).body;
  const events = async (asked: Asked) => {
    const { body } = await api.call(tenant.key, "GET", "/api/events");
    return body.data.filter((event: { subject: string }) => event.subject === asked.approvalId);
  };

  test("show exactly the call that is asked about, to those who may answer and to no other", async () => {
    const asked = await ask({ call: `{"to":"DE02","amount":100.10}`, role: null });
    expect(await show(asked)).toEqual({
      id: asked.approvalId,
      tenant: tenant.id,
      state: "pending",
      digest: asked.digest,
      requested_by: tenant.keyId,
      decision: `dec_${asked.attemptId.slice(4)}`,
      run: "run",
      step: "step",
      door: "model",
      operation: "refund:order-123",
      resource: "gpt-4o",
      estimate_usd: "0.0015",
      policies: [{ id: "large-refunds", version: "pol_1", reason: "a refund of $100 is large" }],
      approvals: 0,
      quorum: 1,
      role: null,
      created_at: expect.stringMatching(/Z$/),
      expires_at: expect.stringMatching(/Z$/),
      decided_at: null,
      consumed_by: null,
      votes: [],
      call: `{"to":"DE02","amount":100.10}`,
      call_encoding: "utf-8",
    });
    const reader = await person({ scopes: ["report", "invoke"] });
    for (const path of ["/api/approvals", `/api/approvals/${asked.approvalId}`]) {
      expect((await api.call(reader.key, "GET", path)).status).toBe(403);
    }
    // What a reader of JSON would take for something else is shown as it is.
    const call = `{"amount":1, "amount":12345678901234567890}`;
    const text = await ask({ call, argumentsDigest: "b" });
    expect((await show(text)).call).toBe(call);
  });

  test("an approved call is used once, and the vote stays on record", async () => {
    const asked = await ask();
    const { status, body } = await approve(ann, asked, { reason: "seen it" });
    expect([status, body.state, body.approvals]).toEqual([200, "approved", 1]);
    expect((await ask()).state).toBe("approved");
    expect(await show(asked)).toMatchObject({
      state: "consumed",
      consumed_by: expect.stringMatching(/^att_/),
      votes: [{ key: ann.id, approves: true, reason: "seen it" }],
    });
    expect((await ask()).state).toBe("consumed");
  });

  test("the same vote again is the same vote, also when all is over; another one is refused", async () => {
    const asked = await ask();
    await approve(ann, asked);
    expect((await approve(ann, asked)).status).toBe(200);
    await ask();
    expect((await approve(ann, asked)).body.state).toBe("consumed");
    expect(await deny(ann, asked)).toMatchObject({ status: 409 });
    expect(await events(asked)).toMatchObject([
      { kind: "approval.voted", actor: ann.id, body: { approves: true, state: "approved" } },
    ]);
    expect((await show(asked)).votes).toHaveLength(1);
  });

  test("nobody answers a call of his own, nor with a key that replaces the one that asked", async () => {
    const asked = await ask();
    const rotated = await api.call(ADMIN_KEY, "POST", `/api/keys/${tenant.keyId}/rotate`, {
      tenant: tenant.id,
    });
    for (const key of [tenant.key, rotated.body.key]) {
      for (const refused of [await approve(key, asked), await deny(key, asked)]) {
        expect(refused.status).toBe(403);
        expect(refused.body.error.message).toContain("Nobody answers for a call of his own");
      }
    }
    expect(await show(asked)).toMatchObject({ state: "pending", votes: [] });
  });

  test("nobody votes twice by a key that replaces his own", async () => {
    const asked = await ask({ quorum: 2 });
    await approve(ann, asked);
    const rotated = await api.call(ADMIN_KEY, "POST", `/api/keys/${ann.id}/rotate`, {
      tenant: tenant.id,
    });
    expect((await approve(rotated.body.key, asked)).body).toMatchObject({
      state: "pending",
      approvals: 1,
    });
    expect((await deny(rotated.body.key, asked)).status).toBe(409);
  });

  test("two of three must approve, and one of three denies", async () => {
    const asked = await ask({ quorum: 2 });
    expect((await approve(ann, asked)).body).toMatchObject({ state: "pending", approvals: 1 });
    expect((await ask({ quorum: 2 })).state).toBe("pending");
    expect((await approve(bob, asked)).body).toMatchObject({ state: "approved", approvals: 2 });
    expect((await approve(eve, asked)).status).toBe(409);
    const other = await ask({ quorum: 2, argumentsDigest: "b" });
    await approve(ann, other);
    expect((await deny(bob, other)).body.state).toBe("denied");
    const late = await approve(eve, other);
    expect([late.status, late.body.error.message]).toEqual([
      409,
      "This approval is denied, which is final.",
    ]);
  });

  test("a deny is final for that call, and says why", async () => {
    const asked = await ask();
    for (const reason of [undefined, "", "   ", "x".repeat(1_001), "two\nlines"]) {
      expect((await deny(ann, asked, { reason })).status).toBe(400);
    }
    expect((await deny(ann, asked, { reason: "x".repeat(1_000) })).status).toBe(200);
    expect((await approve(bob, asked)).status).toBe(409);
    expect(await ask()).toMatchObject({ state: "denied", approvalId: asked.approvalId });
    expect((await show(asked)).votes[0].reason).toBe("x".repeat(1_000));
  });

  test("an answer after the expiry is refused, and an approval unused by then lapses", async () => {
    const [asked, used] = [await ask(), await ask({ argumentsDigest: "b" })];
    await approve(ann, used);
    await shiftClock(database.db, 600_000);
    for (const late of [await approve(ann, asked), await deny(bob, asked)]) {
      expect([late.status, late.body.error.message]).toEqual([
        409,
        "This approval has expired: nobody answered it in time.",
      ]);
    }
    expect((await show(asked)).state).toBe("expired");
    expect((await show(used)).state).toBe("lapsed");
    expect((await ask({ argumentsDigest: "b" })).state).toBe("lapsed");
    expect((await act(tenant.key, asked, "cancel")).status).toBe(409);
  });

  test("the voter names what was seen: another digest is refused", async () => {
    const [asked, other] = [await ask(), await ask({ argumentsDigest: "b" })];
    const wrong = await approve(ann, asked, { digest: other.digest });
    expect([wrong.status, wrong.body.error.param]).toEqual([409, "digest"]);
    for (const digest of [undefined, "", "abc", asked.digest.toUpperCase()]) {
      expect((await approve(ann, asked, { digest })).status).toBe(400);
    }
    expect((await show(asked)).state).toBe("pending");
  });

  test("a role that is demanded is looked up when the vote comes", async () => {
    const lead = await person({ labels: { role: "lead" } });
    const asked = await ask({ role: "lead" });
    const refused = await approve(ann, asked);
    expect([refused.status, refused.body.error.message]).toEqual([
      403,
      "This takes a key with the label role=lead, as the policy that asks demands.",
    ]);
    const rotated = await api.call(ADMIN_KEY, "POST", `/api/keys/${lead.id}/rotate`, {
      tenant: tenant.id,
    });
    expect(rotated.body.labels).toEqual({ role: "lead" });
    await database.db.admin`update keys set revoked_at = now() where key_id = ${lead.id}`;
    // This replica has not heard of it: the vote's own transaction has.
    expect((await approve(lead, asked)).status).toBe(403);
    expect((await approve(rotated.body.key, asked)).body.state).toBe("approved");
  });

  test("the installation's key answers nothing, and may cancel", async () => {
    const asked = await ask();
    const answer = { tenant: tenant.id };
    expect((await approve(ADMIN_KEY, asked, answer)).status).toBe(403);
    expect((await deny(ADMIN_KEY, asked, answer)).status).toBe(403);
    expect((await act(ADMIN_KEY, asked, "cancel", answer)).body.state).toBe("cancelled");
    expect(await events(asked)).toMatchObject([
      { kind: "approval.cancelled", actor: "installation" },
    ]);
  });

  describe("cancelling", () => {
    test("is for the key that asked and for administrators, before it is used", async () => {
      const caller = await person({ scopes: ["invoke"] });
      const asked = await ask({ keyId: caller.id });
      const other = await person({ scopes: ["invoke"] });
      expect((await act(other, asked, "cancel")).status).toBe(403);
      await approve(ann, asked);
      expect((await act(caller, asked, "cancel")).body.state).toBe("cancelled");
      expect((await act(caller, asked, "cancel")).body.state).toBe("cancelled");
      expect(await events(asked)).toHaveLength(2);
      expect(await ask({ keyId: caller.id })).toMatchObject({ state: "cancelled" });
      const used = await ask({ argumentsDigest: "b" });
      await approve(ann, used);
      await ask({ argumentsDigest: "b" });
      expect((await act(tenant.key, used, "cancel")).status).toBe(409);
    });
  });

  test("of another tenant do not exist", async () => {
    const asked = await ask();
    const thief = await api.newTenant(["invoke", "approve", "admin"]);
    const path = `/api/approvals/${asked.approvalId}`;
    expect((await api.call(thief.key, "GET", path)).status).toBe(404);
    expect((await approve(thief.key, asked)).status).toBe(404);
    expect((await deny(thief.key, asked)).status).toBe(404);
    expect((await act(thief.key, asked, "cancel")).status).toBe(404);
    expect((await api.call(thief.key, "GET", "/api/approvals")).body.data).toEqual([]);
    expect((await show(asked)).state).toBe("pending");
  });

  test("whose call cannot be opened any more can be denied and not approved", async () => {
    const asked = await ask();
    await database.db.admin`
      update approvals set sealed_call = '\\x01020304' where approval_id = ${asked.approvalId}`;
    expect((await show(asked)).call).toBeNull();
    const refused = await approve(ann, asked);
    expect([refused.status, refused.body.error.message]).toEqual([
      409,
      expect.stringContaining("cannot be opened any more"),
    ]);
    expect((await deny(ann, asked)).status).toBe(200);
  });

  test("keep their call for a month after their expiry, whatever became of them, and all else for ever", async () => {
    const expiresMs = 600_000;
    const [denied, used, waiting] = [
      await ask({ argumentsDigest: "d", expiresMs }),
      await ask({ argumentsDigest: "u", expiresMs }),
      await ask({ argumentsDigest: "w", expiresMs }),
    ];
    await deny(ann, denied);
    await approve(ann, used);
    await ask({ argumentsDigest: "u", expiresMs });
    const shown = () => Promise.all([denied, used, waiting].map(show));
    const calls = async () => (await shown()).map(({ call }) => call);
    const call = '{"amount":100}';
    await shiftClock(database.db, expiresMs + APPROVAL_CALL_KEPT_MS - 60_000);
    const before = await shown();
    await api.gateway.sweep();
    expect(await calls()).toEqual([call, call, call]);
    await shiftClock(database.db, expiresMs + APPROVAL_CALL_KEPT_MS + 60_000);
    await api.gateway.sweep();
    expect(await shown()).toEqual(before.map((approval) => ({ ...approval, call: null })));
    expect(before.map(({ state }) => state)).toEqual(["denied", "consumed", "expired"]);
    expect((await approve(ann, waiting)).body.error.message).toContain("has expired");
    expect(await ask({ argumentsDigest: "d" })).toMatchObject({ state: "denied" });
  });

  test("are listed by what has become of them, page by page", async () => {
    const all = [];
    for (const argumentsDigest of ["a", "b", "c"]) all.push(await ask({ argumentsDigest }));
    await deny(ann, all[1]!);
    const list = async (query: string) =>
      (await api.call(ann.key, "GET", `/api/approvals${query}`)).body;
    const ids = (page: { data: { id: string }[] }) => page.data.map(({ id }) => id);
    expect(ids(await list(""))).toEqual(all.map(({ approvalId }) => approvalId).toReversed());
    expect(ids(await list("?state=denied"))).toEqual([all[1]!.approvalId]);
    const first = await list("?state=pending&limit=1");
    expect(ids(first)).toEqual([all[2]!.approvalId]);
    expect(ids(await list(`?state=pending&cursor=${first.next}`))).toEqual([all[0]!.approvalId]);
    expect((await api.call(ann.key, "GET", "/api/approvals?state=gone")).status).toBe(400);
  });

  test("tell webhooks what became of them, in the transaction that decides", async () => {
    const url = "https://example.com/hook";
    const hook = await api.call(tenant.key, "POST", "/api/webhooks", { url });
    const asked = await ask({ quorum: 2 });
    await approve(ann, asked);
    await approve(bob, asked);
    const denied = await ask({ argumentsDigest: "b" });
    await deny(ann, denied);
    const { body } = await api.call(tenant.key, "GET", "/api/deliveries");
    expect(body.data.map((each: { kind: string }) => each.kind)).toEqual([
      "approval.denied",
      "approval.requested",
      "approval.approved",
      "approval.requested",
    ]);
    expect(body.data.every((each: { webhook: string }) => each.webhook === hook.body.id)).toBe(
      true,
    );
    const [row] = await database.db.admin`
      select body from deliveries where kind = 'approval.approved' and tenant_id = ${tenant.id}`;
    expect(JSON.parse(String(row?.["body"]))).toMatchObject({
      type: "approval.approved",
      data: { approval_id: asked.approvalId, state: "approved", digest: asked.digest },
    });
  });
});
