import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { describeEachDatabase } from "../support/databases.ts";
import type { Tenant } from "../support/tollgate.ts";
import { errorOf, startDoor, type Door, type Given } from "./door.ts";
import { call } from "./http-call.ts";

describeEachDatabase("an outcome that a call carries", (database) => {
  let door: Door;
  let tenant: Tenant;
  beforeAll(async () => {
    door = await startDoor(database);
  });
  beforeEach(async () => {
    tenant = await door.tollgate.tenant();
    await manage("POST", "/api/outcome-types", { name: "ticket_resolved" });
  });
  afterAll(() => door.close());

  const manage = async (method: string, path: string, body?: object) => {
    const { url, adminKey } = door.tollgate;
    const separator = path.includes("?") ? "&" : "?";
    return await call(`${url}${path}${separator}tenant=${tenant.id}`, {
      method,
      headers: { authorization: `Bearer ${adminKey}`, "content-type": "application/json" },
      body: body === undefined ? null : JSON.stringify(body),
    });
  };
  const told = async (): Promise<readonly Record<string, unknown>[]> => {
    const rows = await door.tollgate.rows(
      `select type, status, subject, key, value_picousd::text as value, weight, recorded_by
       from outcomes where tenant_id = $1 order by recorded_at`,
      [tenant.id],
    );
    return rows.map((row) => ({ ...row }));
  };
  const decisions = () =>
    door.tollgate.rows("select run_id from decisions where tenant_id = $1", [tenant.id]);
  const chat = (outcome: string, { headers = {}, body = {} }: Given = {}) =>
    door.chat(tenant.key, {
      headers: { "tollgate-run": "r", "tollgate-outcome": outcome, ...headers },
      body: { max_tokens: 20, ...body },
    });
  const OUTCOME = {
    type: "ticket_resolved",
    status: "success",
    subject: "r",
    key: "",
    value: null,
    weight: 1,
  };

  test("is in the ledger when the call is answered, and the upstream sees none of it", async () => {
    const called = await chat("ticket_resolved=success; key=T-1; value=4.50; weight=0");
    expect(called.status).toBe(200);
    expect(await told()).toEqual([
      {
        ...OUTCOME,
        key: "T-1",
        value: "4500000000000",
        weight: 0,
        recorded_by: tenant.keyId,
      },
    ]);
    expect(JSON.stringify(door.upstream.journal.at(-1)!.rawHeaders)).not.toContain("ticket");
  });

  test("comes by baggage and by metadata, too", async () => {
    const headers = {
      baggage: "tollgate.run=b,tollgate.outcome=ticket_resolved%3Dfailure%3B%20key%3D1",
    };
    expect((await door.chat(tenant.key, { headers, body: { max_tokens: 20 } })).status).toBe(200);
    const metadata = { tollgate_run: "m", tollgate_outcome: "ticket_resolved=partial" };
    const body = { max_tokens: 20, metadata };
    expect((await door.chat(tenant.key, { body })).status).toBe(200);
    expect(await told()).toMatchObject([
      { subject: "b", status: "failure", key: "1" },
      { subject: "m", status: "partial", key: "" },
    ]);
  });

  test("is recorded once, however often the call is tried again", async () => {
    for (const _ of [1, 2, 3]) expect((await chat("ticket_resolved=success")).status).toBe(200);
    expect(await told()).toMatchObject([OUTCOME]);
  });

  test("is recorded though the call itself is refused", async () => {
    await tenant.run("r", { budgetUsd: "0" });
    expect((await chat("ticket_resolved=failure")).status).toBe(402);
    expect(await told()).toMatchObject([{ ...OUTCOME, status: "failure" }]);
  });

  test("corrects what holds where it names it, and is refused where it does not", async () => {
    await chat("ticket_resolved=success");
    const before = door.upstream.journal.length;
    const clash = await chat("ticket_resolved=reversed");
    expect([clash.status, errorOf(clash).param]).toEqual([400, "Tollgate-Outcome"]);
    expect(door.upstream.journal.length).toBe(before);
    const [held = ""] = /out_\w+/.exec(errorOf(clash).message) ?? [];
    expect((await chat(`ticket_resolved=reversed; supersedes=${held}`)).status).toBe(200);
    expect(await told()).toMatchObject([{ status: "success" }, { status: "reversed" }]);
  });

  test.each([
    ["of a type that is not declared", "sale=success", "outcome-types create sale"],
    ["that reverses nothing", "ticket_resolved=reversed", "nothing to reverse"],
    ["without a status", "ticket_resolved", "not `name=value`"],
    ["with a status that is none", "ticket_resolved=won", "'status'"],
    ["with a part that is none", "ticket_resolved=success; evidence=x", "no part `evidence`"],
    ["with a part twice", "ticket_resolved=success; key=1; key=2", "`key` twice"],
    ["with an empty key", "ticket_resolved=success; key=", "'key'"],
    ["with a value that is none", "ticket_resolved=success; value=much", "Not a decimal amount"],
    ["with a weight that is none", "ticket_resolved=success; weight=", "'weight'"],
    ["that is too long", `ticket_resolved=success; key=${"k".repeat(256)}`, "1 to 256"],
  ])("%s is refused before anything is decided or sent", async (_, outcome, why) => {
    const before = door.upstream.journal.length;
    const called = await chat(outcome);
    expect([called.status, errorOf(called).param]).toEqual([400, "Tollgate-Outcome"]);
    expect(errorOf(called).message).toContain(why);
    expect(door.upstream.journal.length).toBe(before);
    expect(await decisions()).toEqual([]);
    expect(await told()).toEqual([]);
  });

  test("of a type that is not declared is not said to be written wrongly", async () => {
    const { message } = errorOf(await chat("sale=success"));
    expect(message).toMatch(
      /^Tollgate-Outcome: The outcome type `sale` is not declared\. Declare it/,
    );
  });

  test("on a call that names no run is refused", async () => {
    const headers = { "tollgate-outcome": "ticket_resolved=success" };
    const called = await door.chat(tenant.key, { headers, body: { max_tokens: 20 } });
    expect([called.status, errorOf(called).param]).toEqual([400, "Tollgate-Outcome"]);
    expect(errorOf(called).message).toContain("add `Tollgate-Run`");
  });

  test("is judged and not recorded by a dry run", async () => {
    const dry = { headers: { "tollgate-dry-run": "true" } };
    expect((await chat("ticket_resolved=success", dry)).status).toBe(200);
    expect((await chat("sale=success", dry)).status).toBe(400);
    expect(await told()).toEqual([]);
  });

  test("is carried by the step door as well", async () => {
    const ask = (outcome: string, run: object) =>
      call(`${door.tollgate.url}/api/gate`, {
        method: "POST",
        headers: {
          authorization: `Bearer ${tenant.key}`,
          "content-type": "application/json",
          "tollgate-outcome": outcome,
        },
        body: JSON.stringify({ kind: "step", name: "close", ...run }),
      });
    expect((await ask("ticket_resolved=success", { run: "s" })).status).toBe(200);
    expect(await told()).toMatchObject([{ ...OUTCOME, subject: "s" }]);
    expect(errorOf(await ask("sale=success", { run: "s" })).param).toBe("Tollgate-Outcome");
    expect(errorOf(await ask("ticket_resolved=success", {})).param).toBe("Tollgate-Outcome");
    expect(await decisions()).toHaveLength(1);
  });
});
