import { afterAll, beforeAll, expect, test } from "vitest";
import { describeEachDatabase } from "../support/databases.ts";
import { createTestManagement, type Json, type Management } from "../support/management.ts";

describeEachDatabase("a tool", (database) => {
  let api: Management;
  beforeAll(async () => {
    api = await createTestManagement(database.db);
  });
  afterAll(() => api.close());

  const REFUND = {
    effect: "effectful",
    price_usd: "0.05",
    operation: { type: "refund", pointers: ["/order/id", "/region"], mode: "observe" },
  };

  /** What a declaration says by saying nothing. */
  const NOTHING_MORE = {
    definition: null,
    approval: null,
    output: { bytes_max: null, rows_max: null, block: [], redact: [] },
    trusted: false,
  };

  test("is declared whole, shown, listed by name, and judged by at once", async () => {
    const { key, id } = await api.newTenant();
    expect(api.gateway.authority.tool(id, "refund")).toBeNull();
    const put = await api.call(key, "PUT", "/api/tools/refund", REFUND);
    expect(put.status).toBe(200);
    expect(put.body).toMatchObject({ name: "refund", tenant: id, ...REFUND });
    expect(api.gateway.authority.tool(id, "refund")).toEqual({
      name: "refund",
      effectClass: "effectful",
      pricePicousd: 50_000_000_000n,
      extractor: REFUND.operation,
      definition: null,
      approval: null,
      output: { bytesMax: null, rowsMax: null, block: [], redact: [] },
      isTrusted: false,
    });
    await api.call(key, "PUT", "/api/tools/mail%2Fsend", { effect: "keyed" });
    const list = await api.call(key, "GET", "/api/tools");
    expect(list.body.data.map((tool: Json) => tool.name)).toEqual(["mail/send", "refund"]);
    const page = await api.call(key, "GET", "/api/tools?limit=1");
    expect(page.body).toMatchObject({ data: [{ name: "mail/send" }], next: "mail/send" });
    const rest = await api.call(key, "GET", `/api/tools?limit=1&cursor=${page.body.next}`);
    expect(rest.body).toMatchObject({ data: [{ name: "refund" }], next: null });
    // Not said is not kept.
    await api.call(key, "PUT", "/api/tools/refund", { effect: "keyed" });
    expect((await api.call(key, "GET", "/api/tools/refund")).body).toMatchObject({
      effect: "keyed",
      price_usd: null,
      operation: null,
    });
  });

  test("has an event for each change, and none for saying the same again", async () => {
    const { key, keyId } = await api.newTenant();
    await api.call(key, "PUT", "/api/tools/refund", REFUND);
    await api.call(key, "PUT", "/api/tools/refund", { ...REFUND, price_usd: 0.05 });
    await api.call(key, "PUT", "/api/tools/refund", { ...REFUND, price_usd: "0.06" });
    await api.call(key, "DELETE", "/api/tools/refund");
    const events = await api.call(key, "GET", "/api/events");
    const ours = events.body.data.filter((event: Json) => event.subject === "refund");
    expect(ours.map((event: Json) => [event.kind, event.actor])).toEqual([
      ["tool.removed", keyId],
      ["tool.changed", keyId],
      ["tool.declared", keyId],
    ]);
    const before = { ...REFUND, ...NOTHING_MORE };
    expect(ours[1].body).toEqual({ before, after: { ...before, price_usd: "0.06" } });
  });

  test("is gone when removed, and can be declared again", async () => {
    const { key, id } = await api.newTenant();
    await api.call(key, "PUT", "/api/tools/search", { effect: "pure" });
    const removed = await api.call(key, "DELETE", "/api/tools/search");
    expect(removed.body).toMatchObject({ name: "search", effect: "pure" });
    expect(api.gateway.authority.tool(id, "search")).toBeNull();
    expect((await api.call(key, "GET", "/api/tools/search")).status).toBe(404);
    expect((await api.call(key, "DELETE", "/api/tools/search")).status).toBe(404);
    expect((await api.call(key, "GET", "/api/tools")).body.data).toEqual([]);
    await api.call(key, "PUT", "/api/tools/search", { effect: "idempotent" });
    expect(api.gateway.authority.tool(id, "search")).toMatchObject({ effectClass: "idempotent" });
  });

  test("of one tenant says nothing of another's", async () => {
    const [one, two] = [await api.newTenant(), await api.newTenant()];
    await api.call(one.key, "PUT", "/api/tools/search", { effect: "pure" });
    await api.call(two.key, "PUT", "/api/tools/search", { effect: "keyed" });
    await api.call(two.key, "DELETE", "/api/tools/search");
    expect(api.gateway.authority.tool(one.id, "search")).toMatchObject({ effectClass: "pure" });
    expect(api.gateway.authority.tool(two.id, "search")).toBeNull();
  });

  test.each([
    ["no effect class", {}, "effect"],
    ["an effect class that is none", { effect: "safe" }, "effect"],
    ["a negative price", { effect: "pure", price_usd: "-1" }, "price_usd"],
    ["a price beyond any", { effect: "pure", price_usd: "1000000000.01" }, "price_usd"],
    ["a price that is none", { effect: "pure", price_usd: "a lot" }, "price_usd"],
    [
      "a pointer that is none",
      { ...REFUND, operation: { ...REFUND.operation, pointers: ["order"] } },
      "operation",
    ],
    [
      "no pointer",
      { ...REFUND, operation: { ...REFUND.operation, pointers: [] } },
      "operation.pointers",
    ],
    [
      "a type with a colon",
      { ...REFUND, operation: { ...REFUND.operation, type: "a:b" } },
      "operation",
    ],
    [
      "a mode that is none",
      { ...REFUND, operation: { ...REFUND.operation, mode: "on" } },
      "operation.mode",
    ],
    ["an unknown member", { effect: "pure", idempotent: true }, "idempotent"],
    ["a definition that is no hash", { effect: "pure", definition: "latest" }, "definition"],
    ["a definition, and no server", { effect: "pure", definition: "a".repeat(64) }, "definition"],
    ["a quorum of nobody", { effect: "pure", approval: { quorum: 0 } }, "approval.quorum"],
    ["a quorum beyond any", { effect: "pure", approval: { quorum: 11 } }, "approval.quorum"],
    ["a result of no bytes", { effect: "pure", output: { bytes_max: 0 } }, "output.bytes_max"],
    ["half a row", { effect: "pure", output: { rows_max: 0.5 } }, "output.rows_max"],
    ["a finding that is none", { effect: "pure", output: { block: ["lies"] } }, "output.block.0"],
    [
      "a finding that is blocked and replaced",
      { effect: "pure", output: { block: ["pii"], redact: ["pii"] } },
      "output",
    ],
  ])("with %s is refused", async (_, body, param) => {
    const { key } = await api.newTenant();
    const answer = await api.call(key, "PUT", "/api/tools/refund", body);
    expect([answer.status, answer.body.error.param]).toEqual([400, param]);
    expect((await api.call(key, "GET", "/api/tools/refund")).status).toBe(404);
  });
});
