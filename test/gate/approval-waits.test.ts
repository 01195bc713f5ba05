import { beforeEach, expect, test } from "vitest";
import { APPROVAL_WAITS_MAX } from "../../src/core/limits.ts";
import { createApprovalWaits } from "../../src/gate/approval-waits.ts";
import { connect, type Database } from "../../src/store/database.ts";
import { askApproval, insertKey, insertTenant } from "../support/approvals.ts";
import { describeEachDatabase } from "../support/databases.ts";

const FOR_EVER = Number.MAX_SAFE_INTEGER;

describeEachDatabase("waiting for an approval", (database) => {
  let tenantId = "";
  let keyId = "";
  beforeEach(async () => {
    ({ tenantId, keyId } = await insertTenant(database.db.admin));
    await insertKey(database.db.admin, tenantId, { scopes: ["approve"] });
  });

  const monotonicMs = () => performance.now();
  const ask = async (argumentsDigest: string) => {
    const asked = await askApproval(database.db.admin, { tenantId, keyId, argumentsDigest });
    return { tenantId, approvalId: asked.approvalId ?? "" };
  };
  const decide = (approvalId: string, state: string) => database.db.admin`
    update approvals set state = ${state} where tenant_id = ${tenantId} and approval_id = ${approvalId}`;
  const never = () => false;

  test("ends for each with what became of its own", async () => {
    const waits = createApprovalWaits({ db: database.db, monotonicMs });
    const [one, other] = [await ask("a"), await ask("b")];
    const answers = Promise.all([
      waits.wait(one, FOR_EVER, never),
      waits.wait(other, FOR_EVER, never),
      waits.wait(one, FOR_EVER, never),
    ]);
    await decide(one.approvalId, "approved");
    await decide(other.approvalId, "denied");
    expect(await answers).toEqual(["approved", "denied", "approved"]);
  });

  test("ends at its time, when nobody has answered, and when its client is gone", async () => {
    const waits = createApprovalWaits({ db: database.db, monotonicMs });
    const asked = await ask("a");
    expect(await waits.wait(asked, performance.now() + 50, never)).toBe("pending");
    expect(await waits.wait(asked, FOR_EVER, () => true)).toBe("pending");
    expect(await waits.wait(asked, 0, never)).toBe("pending");
  });

  test("does not begin for another tenant's, or for what is not there", async () => {
    const waits = createApprovalWaits({ db: database.db, monotonicMs });
    const { approvalId } = await ask("a");
    const { tenantId: stranger } = await insertTenant(database.db.admin);
    expect(await waits.wait({ tenantId: stranger, approvalId }, FOR_EVER, never)).toBe("cancelled");
  });

  test("asks the database once for all who wait", async () => {
    let questions = 0;
    const admin: Database["admin"] = new Proxy(database.db.admin, {
      apply: (sql, self, words) => {
        questions += 1;
        return Reflect.apply(sql, self, words) as unknown;
      },
    });
    const waits = createApprovalWaits({ db: { ...database.db, admin }, monotonicMs });
    const asked = await ask("a");
    const until = performance.now() + 1_200;
    const waiting = Array.from({ length: 200 }, () => waits.wait(asked, until, never));
    expect(new Set(await Promise.all(waiting))).toEqual(new Set(["pending"]));
    // At once, after each half second, and at the end.
    expect(questions).toBeGreaterThanOrEqual(3);
    expect(questions).toBeLessThanOrEqual(6);
  });

  test("is refused at once when too many wait already, and goes on when they have gone", async () => {
    const waits = createApprovalWaits({ db: database.db, monotonicMs });
    const asked = await ask("a");
    let isGone = false;
    const waiting = Array.from({ length: APPROVAL_WAITS_MAX }, () =>
      waits.wait(asked, FOR_EVER, () => isGone),
    );
    expect(await waits.wait(asked, FOR_EVER, never)).toBe("pending");
    isGone = true;
    await Promise.all(waiting);
    await decide(asked.approvalId, "approved");
    expect(await waits.wait(asked, FOR_EVER, never)).toBe("approved");
  });

  test("fails when the database does, and works again when it is back", async () => {
    const asked = await ask("a");
    const db = { ...database.db, admin: connect(database.address, ONE).admin };
    const waits = createApprovalWaits({ db, monotonicMs });
    await db.admin.end();
    await expect(waits.wait(asked, FOR_EVER, never)).rejects.toThrow("CONNECTION_ENDED");
    db.admin = database.db.admin;
    await decide(asked.approvalId, "denied");
    expect(await waits.wait(asked, FOR_EVER, never)).toBe("denied");
  });
});

const ONE = { gateConnections: 1, adminConnections: 1 };
