import { beforeEach, expect, test } from "vitest";
import { listApprovals } from "../../src/store/approvals.ts";
import { insertWebhook } from "../../src/store/webhooks.ts";
import { askApproval, insertKey, insertTenant, newId } from "../support/approvals.ts";
import { resetClock, setClock, shiftClock } from "../support/clock.ts";
import { describeEachDatabase } from "../support/databases.ts";

describeEachDatabase("asking for approval", (database) => {
  let tenantId = "";
  let keyId = "";
  let approver = "";
  beforeEach(async () => {
    await resetClock(database.db);
    ({ tenantId, keyId } = await insertTenant(database.db.admin));
    approver = await insertKey(database.db.admin, tenantId, { scopes: ["approve"] });
  });

  const ask = (terms: Partial<Parameters<typeof askApproval>[1]> = {}) =>
    askApproval(database.db.admin, { tenantId, keyId, ...terms });
  const set = (approvalId: string | null, state: string) =>
    database.db.admin`
      update approvals set state = ${state}, decided_at = tollgate_now()
      where tenant_id = ${tenantId} and approval_id = ${approvalId}`;
  const rows = () => database.db.admin`
    select state, consumed_by, attempt_id from approvals where tenant_id = ${tenantId}`;
  const left = async (requester: string, role: string | null) => {
    const [row] = await database.db.admin`
      select tollgate_approvers_left(${tenantId}, ${requester}, ${role}, null) as count`;
    return Number(row?.["count"]);
  };

  test("asks once for one call, however often it is asked", async () => {
    const first = await ask();
    expect(first).toMatchObject({ state: "pending", approvalId: expect.stringMatching(/^apr_/) });
    const again = await ask();
    expect(again).toMatchObject({ state: "pending", approvalId: first.approvalId });
    expect(await rows()).toHaveLength(1);
  });

  test("one changed byte of the arguments is another call", async () => {
    const first = await ask();
    await set(first.approvalId, "approved");
    const other = await ask({ argumentsDigest: `${"a".repeat(63)}b` });
    expect(other.state).toBe("pending");
    expect(other.approvalId).not.toBe(first.approvalId);
  });

  test("what was approved is used once, by the attempt that asks next", async () => {
    const { approvalId } = await ask();
    await set(approvalId, "approved");
    const used = await ask();
    expect(used).toMatchObject({ state: "approved", approvalId });
    expect(await rows()).toMatchObject([{ state: "consumed", consumed_by: used.attemptId }]);
    expect(await ask()).toMatchObject({ state: "consumed", approvalId });
    expect(await rows()).toMatchObject([{ consumed_by: used.attemptId }]);
  });

  test.each(["denied", "cancelled"])("what was %s stays so", async (state) => {
    const { approvalId } = await ask();
    await set(approvalId, state);
    expect(await ask()).toMatchObject({ state, approvalId });
    await shiftClock(database.db, 86_400_000);
    expect(await ask()).toMatchObject({ state, approvalId });
  });

  test("it expires at its moment and not before, and says whether it was approved", async () => {
    const at = new Date("2030-05-05T10:00:00Z");
    await setClock(database.db, at);
    const pending = await ask({ expiresMs: 60_000 });
    const approved = await ask({ expiresMs: 60_000, argumentsDigest: "b" });
    await set(approved.approvalId, "approved");
    await setClock(database.db, new Date(at.getTime() + 59_999));
    expect((await ask()).state).toBe("pending");
    await setClock(database.db, new Date(at.getTime() + 60_000));
    expect(await ask()).toMatchObject({ state: "expired", approvalId: pending.approvalId });
    expect(await ask({ argumentsDigest: "b" })).toMatchObject({
      state: "lapsed",
      approvalId: approved.approvalId,
    });
    const stored = (await rows()).map((row) => String(row["state"]));
    expect(new Set(stored)).toEqual(new Set(["approved", "pending"]));
  });

  test("is refused at once where nobody could approve, and leaves nothing behind", async () => {
    const { admin } = database.db;
    expect(await ask({ quorum: 2 })).toMatchObject({ state: "impossible", approvalId: null });
    expect(await ask({ role: "lead" })).toMatchObject({ state: "impossible" });
    await admin`update keys set revoked_at = now() where key_id = ${approver}`;
    expect(await ask()).toMatchObject({ state: "impossible" });
    expect(await rows()).toHaveLength(0);
  });

  test("becomes impossible, and possible again, with the keys that could approve", async () => {
    const { admin } = database.db;
    const { approvalId } = await ask();
    await admin`update keys set revoked_at = now() where key_id = ${approver}`;
    expect(await ask()).toMatchObject({ state: "impossible", approvalId });
    await insertKey(admin, tenantId, { scopes: ["approve"] });
    expect(await ask()).toMatchObject({ state: "pending", approvalId });
  });

  test("counts as approvers neither the requester, nor its successors, nor keys that do not work", async () => {
    const { admin } = database.db;
    expect(await left(keyId, null)).toBe(1);
    const scopes = ["approve"] as const;
    const next = await insertKey(admin, tenantId, { scopes, rotatedFrom: keyId });
    await insertKey(admin, tenantId, { scopes, rotatedFrom: next });
    await insertKey(admin, tenantId, { scopes, rotatedFrom: approver });
    await insertKey(admin, tenantId, { scopes, expiresAt: new Date(0) });
    await insertKey(admin, tenantId, { scopes: ["admin", "invoke", "report"] });
    await insertKey(admin, (await insertTenant(admin)).tenantId, { scopes });
    expect(await left(keyId, null)).toBe(1);
    expect(await left(next, null)).toBe(1);
    expect(await left(approver, null)).toBe(1);
    await insertKey(admin, tenantId, { scopes, role: "lead" });
    expect(await left(keyId, null)).toBe(2);
    expect(await left(keyId, "lead")).toBe(1);
  });

  test("tells every webhook that wants it, once, and of the call only what names it", async () => {
    const { admin } = database.db;
    const webhook = async (kinds: readonly string[], of = tenantId) => {
      const webhookId = `whk_${newId()}`;
      const url = "https://example.com/hook";
      const sealedSecret = Buffer.from("sealed");
      await insertWebhook(admin, {
        tenantId: of,
        webhookId,
        url,
        kinds,
        sealedSecret,
        createdBy: "k",
      });
      return webhookId;
    };
    const wanting = [
      await webhook(["approval.requested"]),
      await webhook(["ping", "approval.requested"]),
    ];
    await webhook(["approval.denied"]);
    await webhook(["approval.requested"], (await insertTenant(admin)).tenantId);
    const removed = await webhook(["approval.requested"]);
    await admin`update webhooks set removed_at = now() where webhook_id = ${removed}`;

    const { approvalId, digest, attemptId } = await ask({ call: "the secret call" });
    await ask();
    const told = await admin`
      select webhook_id, delivery_id, kind, body, state, tries from deliveries
      where tenant_id = ${tenantId} order by delivery_id`;
    expect(told.map((row) => row["webhook_id"])).toEqual(wanting);
    expect(told[0]).toMatchObject({ kind: "approval.requested", state: "pending", tries: 0 });
    expect(told.map((row) => row["delivery_id"])).toEqual([
      expect.stringMatching(/^dlv_\w{26}_1$/),
      expect.stringMatching(/^dlv_\w{26}_2$/),
    ]);
    const body = String(told[0]?.["body"]);
    expect(body).not.toContain("secret");
    expect(body).not.toContain("a refund of $100");
    expect(JSON.parse(body)).toEqual({
      type: "approval.requested",
      timestamp: expect.stringMatching(/^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z$/),
      data: {
        approval_id: approvalId,
        tenant: tenantId,
        state: "pending",
        digest,
        requested_by: keyId,
        run: "run",
        step: "step",
        decision: `dec_${attemptId.slice(4)}`,
        door: "model",
        operation: "refund:order-123",
        resource: "gpt-4o",
        estimate_usd: "0.0015",
        quorum: 1,
        role: null,
        policies: [{ id: "large-refunds", version: "pol_1" }],
        created_at: expect.stringMatching(/Z$/),
        expires_at: expect.stringMatching(/Z$/),
      },
    });
  });

  test("is listed by the state it has now, newest first", async () => {
    const { admin } = database.db;
    const list = async (state: Parameters<typeof listApprovals>[2]["state"]) =>
      (await listApprovals(admin, tenantId, { after: null, rows: 10, state, resource: null })).map(
        (each) => each.approvalId,
      );
    const [a, b, c] = [
      await ask(),
      await ask({ argumentsDigest: "b" }),
      await ask({ argumentsDigest: "c" }),
    ];
    await set(b.approvalId, "approved");
    await set(c.approvalId, "denied");
    expect(await list(null)).toEqual([c.approvalId, b.approvalId, a.approvalId]);
    expect(await list("pending")).toEqual([a.approvalId]);
    expect(await list("lapsed")).toEqual([]);
    await shiftClock(database.db, 3_600_000);
    expect(await list("pending")).toEqual([]);
    expect(await list("expired")).toEqual([a.approvalId]);
    expect(await list("lapsed")).toEqual([b.approvalId]);
    expect(await list("denied")).toEqual([c.approvalId]);
  });
});
