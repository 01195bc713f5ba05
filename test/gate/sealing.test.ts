import { beforeEach, expect, test } from "vitest";
import { createSeal, establishDataKey } from "../../src/gate/sealing.ts";
import { Fault } from "../../src/lib/assert.ts";
import { findOrCreateInstallation, readSealedDataKey } from "../../src/store/installation.ts";
import { describeEachDatabase } from "../support/databases.ts";

const OLD = "the-secret-of-the-first-start-0123456789";
const NEW = "the-secret-that-replaces-it-0123456789";

describeEachDatabase("the data key", (database) => {
  let pepper = "";
  beforeEach(async () => {
    ({ pepper } = await findOrCreateInstallation(database.db.admin, "pepper of the tests"));
    await database.db.admin`update installation set sealed_data_key = null`;
    await database.db.admin`
      insert into answers (tenant_id, attempt_id, status, sealed, expires_at)
      values ('ten', 'att', 200, ${Buffer.from("sealed")}, 'infinity') on conflict do nothing`;
  });
  const establish = (...secrets: [string, ...string[]]) =>
    establishDataKey(database.db.admin, pepper, secrets);
  const hex = (key: Uint8Array) => Buffer.from(key).toString("hex");

  test("is one for all replicas that start together, and for every later start", async () => {
    const keys = await Promise.all(Array.from({ length: 8 }, () => establish(OLD)));
    expect(new Set(keys.map(hex)).size).toBe(1);
    expect(hex(await establish(OLD))).toBe(hex(keys[0]!));
    expect(keys[0]).toHaveLength(32);
  });

  test("stands in the database sealed, and another secret does not open it", async () => {
    const key = await establish(OLD);
    const stored = (await readSealedDataKey(database.db.admin)) ?? "";
    expect(Buffer.from(stored, "base64").includes(Buffer.from(key))).toBe(false);
    await expect(establish(NEW)).rejects.toThrow(Fault);
    await expect(establish(NEW)).rejects.toThrow("Set TOLLGATE_SEALING_KEY to the old value");
    expect(await readSealedDataKey(database.db.admin)).toBe(stored);
  });

  test("is kept when its secret is replaced, and then opens with the new one alone", async () => {
    const key = await establish(OLD);
    expect(hex(await establish(NEW, OLD))).toBe(hex(key));
    expect(hex(await establish(NEW))).toBe(hex(key));
    await expect(establish(OLD)).rejects.toThrow(Fault);
  });

  test("that seals nothing is made anew, whatever the administration key has become", async () => {
    const key = await establish(OLD);
    await database.db.admin`delete from answers`;
    expect(hex(await establish(NEW))).not.toBe(hex(key));
    expect(hex(await establish(NEW))).toBe(hex(await establish(NEW)));
  });

  test("opens nothing in another installation, whose pepper differs", async () => {
    await establish(OLD);
    await expect(establishDataKey(database.db.admin, "another", [OLD])).rejects.toThrow(Fault);
  });

  test("that was changed in the database is refused, not replaced", async () => {
    await establish(OLD);
    await database.db.admin`update installation set sealed_data_key = 'AAAA'`;
    await expect(establish(OLD)).rejects.toThrow(Fault);
  });
});

test("what is sealed for one row opens for no other row, tenant or purpose", () => {
  const seal = createSeal(new Uint8Array(32).fill(3));
  const place = { purpose: "answer", tenantId: "ten_1", rowId: "att_1" } as const;
  const sealed = seal.seal(place, Buffer.from("text"));
  expect(Buffer.from(seal.open(place, sealed) ?? []).toString()).toBe("text");
  expect(seal.open({ ...place, rowId: "att_2" }, sealed)).toBeNull();
  expect(seal.open({ ...place, tenantId: "ten_2" }, sealed)).toBeNull();
  expect(seal.open({ ...place, purpose: "webhook_secret" }, sealed)).toBeNull();
});
