import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { describeOnPostgres } from "../support/databases.ts";
import { startTollgateProcess, type TollgateProcess } from "../support/tollgate.ts";
import { startBank, type Bank } from "./bank.ts";
import { askTheGate, askTheLog, RULES } from "./regulator.ts";

describeOnPostgres("the regulator's question", (database) => {
  let tollgate: TollgateProcess;
  let bank: Bank;
  beforeAll(async () => {
    const { address } = database;
    if (address.kind !== "url") throw new Error("a URL is needed");
    tollgate = await startTollgateProcess({ databaseUrl: address.url });
  });
  beforeEach(async () => {
    bank = await startBank();
    return () => bank.close();
  });
  afterAll(() => tollgate?.close());

  test("an audit log answers what, and not why", async () => {
    expect(await askTheLog(bank)).toMatchObject({ result: "allowed", rulesNamed: 0, rule: "gone" });
    expect(bank.wires.length).toBe(1);
  });

  test("the record answers why, in the old words, when the policy was edited and deleted", async () => {
    const tenant = await tollgate.tenant();
    const approver = await tenant.newKey({ scopes: ["approve"] });
    const { url, adminKey } = tollgate;
    const at = { url, adminKey, tenantId: tenant.id, key: tenant.key, approver };
    const answered = await askTheGate(bank, at);
    expect(answered).toMatchObject({
      exitCode: 0,
      policies: [
        ["large-refund", "matched"],
        ["never-that-much", "not_matched"],
      ],
      text: RULES,
      isEqual: true,
      byEdited: "block",
      activeStatus: 404,
    });
    expect(JSON.parse(answered.shown)).toMatchObject({
      name: "wire",
      arguments: { order: "order-125", amount: 800 },
    });
    const text = answered.explanation.join("\n");
    expect(text).toMatch(
      /^Policy large-refund “Large refunds” \([0-9a-f]{32}\) matched, and it asks for approval: refund:order-125 is above 500\.$/mu,
    );
    expect(text).toMatch(/^Evaluated and not matched: never-that-much\.$/mu);
    expect(text).toContain("Its risk score was 30 of 100: policy:large-refund 30.");
    expect(text).toMatch(
      new RegExp(`^Approval apr_\\w+ is consumed: approved by ${approver.id}`, "mu"),
    );
    expect(bank.wires.length).toBe(1);
  });
});
