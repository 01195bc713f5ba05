import { afterAll, beforeAll, expect, test } from "vitest";
import { OUTCOME_TYPES_MAX } from "../../src/core/limits-finance.ts";
import { describeEachDatabase } from "../support/databases.ts";
import { createTestManagement, type Json, type Management } from "../support/management.ts";

describeEachDatabase("an outcome type", (database) => {
  let api: Management;
  beforeAll(async () => {
    api = await createTestManagement(database.db);
  });
  afterAll(() => api.close());

  const declare = (key: string, body: object) => api.call(key, "POST", "/api/outcome-types", body);

  test("is declared, shown, listed by name, and declared again without a change", async () => {
    const { key, id } = await api.newTenant();
    const terms = {
      name: "ticket_resolved",
      description: "A ticket is closed.",
      value_usd: "12.5",
    };
    const shown = { ...terms, value_usd: "12.50", tenant: id };
    const first = await declare(key, terms);
    expect([first.status, first.body]).toEqual([201, { ...first.body, ...shown, created: true }]);
    const again = await declare(key, { ...terms, value_usd: 12.5 });
    expect([again.status, again.body]).toEqual([200, { ...first.body, created: false }]);
    await declare(key, { name: "refund.paid" });
    const list = await api.call(key, "GET", "/api/outcome-types?limit=1");
    expect(list.body).toMatchObject({ data: [{ name: "refund.paid" }], next: "refund.paid" });
    const rest = await api.call(key, "GET", `/api/outcome-types?cursor=${list.body.next}`);
    expect(rest.body).toMatchObject({ data: [shown], next: null });
    const one = await api.call(key, "GET", "/api/outcome-types/ticket_resolved");
    expect(one.body).toMatchObject(shown);
  });

  test("keeps what a change does not speak of, and each change is an event", async () => {
    const { key, keyId } = await api.newTenant();
    await declare(key, { name: "sale", description: "Sold.", value_usd: "3" });
    await declare(key, { name: "sale", value_usd: "4" });
    await declare(key, { name: "sale", value_usd: "4.00" });
    const changed = await declare(key, { name: "sale", value_usd: null });
    expect(changed.body).toMatchObject({ description: "Sold.", value_usd: null });
    await api.call(key, "DELETE", "/api/outcome-types/sale");
    const events = (await api.call(key, "GET", "/api/events")).body.data.filter(
      (event: Json) => event.subject === "sale",
    );
    expect(events.map((event: Json) => [event.kind, event.actor])).toEqual([
      ["outcome_type.removed", keyId],
      ["outcome_type.changed", keyId],
      ["outcome_type.changed", keyId],
      ["outcome_type.declared", keyId],
    ]);
    expect(events[2].body).toEqual({
      before: { description: "Sold.", value_usd: "3.00" },
      after: { description: "Sold.", value_usd: "4.00" },
    });
  });

  test("is gone when removed, and can be declared again", async () => {
    const { key } = await api.newTenant();
    await declare(key, { name: "sale", value_usd: "3" });
    const removed = await api.call(key, "DELETE", "/api/outcome-types/sale");
    expect([removed.status, removed.body.name]).toEqual([200, "sale"]);
    expect((await api.call(key, "GET", "/api/outcome-types/sale")).status).toBe(404);
    expect((await api.call(key, "DELETE", "/api/outcome-types/sale")).status).toBe(404);
    expect((await api.call(key, "GET", "/api/outcome-types")).body.data).toEqual([]);
    const anew = await declare(key, { name: "sale" });
    expect([anew.status, anew.body.value_usd]).toEqual([201, null]);
  });

  test("of one tenant says nothing of another's, and takes the scope `admin`", async () => {
    const [one, two] = [await api.newTenant(), await api.newTenant(["invoke", "report"])];
    await declare(one.key, { name: "sale" });
    expect((await api.call(two.key, "GET", "/api/outcome-types/sale")).status).toBe(404);
    expect((await api.call(two.key, "GET", "/api/outcome-types")).body.data).toEqual([]);
    expect((await declare(two.key, { name: "sale" })).status).toBe(403);
  });

  test("more than a tenant may declare is refused, and what was declared can still be changed", async () => {
    const { key, id } = await api.newTenant();
    await database.db.admin`
      insert into outcome_types (tenant_id, name)
      select ${id}, 't' || n from generate_series(1, ${OUTCOME_TYPES_MAX}) as n`;
    const more = await declare(key, { name: "more" });
    expect([more.status, more.body.error.message]).toEqual([
      409,
      expect.stringContaining(`at most ${OUTCOME_TYPES_MAX} outcome types`),
    ]);
    expect((await declare(key, { name: "t1", value_usd: "1" })).status).toBe(200);
  });

  test.each([
    ["no name", {}, "name"],
    ["a name that begins with a digit", { name: "1st" }, "name"],
    ["a name with a space", { name: "a b" }, "name"],
    ["a name that is too long", { name: "a".repeat(65) }, "name"],
    ["a negative value", { name: "a", value_usd: "-1" }, "value_usd"],
    ["a value that no pico-dollar tells apart", { name: "a", value_usd: "1e-13" }, "value_usd"],
    ["a value that is none", { name: "a", value_usd: "much" }, "value_usd"],
    ["a description with NUL", { name: "a", description: "\0" }, "description"],
    ["an unknown member", { name: "a", price: "1" }, "price"],
  ])("with %s is refused", async (_, body, param) => {
    const { key } = await api.newTenant();
    const answer = await declare(key, body);
    expect([answer.status, answer.body.error.param]).toEqual([400, param]);
    expect((await api.call(key, "GET", "/api/outcome-types")).body.data).toEqual([]);
  });
});
