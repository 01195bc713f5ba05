import { expect, test } from "vitest";
import { describeEachDatabase } from "../support/databases.ts";
import { gateOn } from "./gate-on.ts";

describeEachDatabase("what a replica knows", (database) => {
  test("is what a restored database holds, though its revision went backwards", async () => {
    const { db } = database;
    const { gateway } = await gateOn(db);
    const { authority } = gateway;
    await db.admin`update installation set revision = 100`;
    await authority.refresh();
    // As a restore would: another state, at an older number, that no change announced.
    await db.admin`insert into tenants (tenant_id, name) values ('ten_old', 'old')`;
    await db.admin`update installation set revision = 40`;
    await authority.refresh();
    expect([...authority.tenants().keys()]).toContain("ten_old");
    // And onwards from there, below the number that was known before.
    await db.admin`insert into tenants (tenant_id, name) values ('ten_next', 'next')`;
    await db.admin`update installation set revision = 41`;
    await authority.refresh();
    expect([...authority.tenants().keys()]).toContain("ten_next");
    await gateway.close();
  });
});
