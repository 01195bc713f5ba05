/** Every ending of a call: what it gives back, what it holds until somebody knows, and what reports make of it. */
import OpenAI from "openai";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { UNKNOWN_GRACE_MS } from "../../src/core/limits.ts";
import { rollUpAll } from "../store/roll-up-violations.ts";
import { ledgerViolations } from "../store/violations.ts";
import { resetClock, shiftClock } from "../support/clock.ts";
import { describeOnPostgres } from "../support/databases.ts";
import { chatAnswer } from "../support/openai-answers.ts";
import { startScriptedMcp, type Conduct, type ScriptedMcp } from "../support/scripted-mcp.ts";
import { startScriptedUpstream, type ScriptedUpstream } from "../support/scripted-upstream.ts";
import { MODEL, type Tenant } from "../support/tollgate.ts";
import { connectOfficial } from "./libraries.ts";
import {
  callOf,
  mcpServer,
  refusalIn,
  startToolDoor,
  type Json,
  type ToolDoor,
} from "./tool-door.ts";

const PAID = { effect: "effectful", price_usd: "0.25" } as const;
const SERVER_MS = 1_200;
const OTHER = { "idempotency-key": "another", "tollgate-step": "another" };

describeOnPostgres("the ending of a tool call", (database) => {
  let bank: ScriptedMcp;
  let away: ScriptedMcp;
  let upstream: ScriptedUpstream;
  let door: ToolDoor;
  let tenant: Tenant;
  beforeAll(async () => {
    [bank, away] = [await startScriptedMcp(), await startScriptedMcp()];
    upstream = await startScriptedUpstream();
    const terms = { timeoutMs: SERVER_MS };
    door = await startToolDoor(database, {
      upstream: upstream.url,
      mcpServers: [mcpServer("bank", bank.url, terms), mcpServer("away", away.url, terms)],
    });
  });
  beforeEach(async () => {
    tenant = await door.tollgate.tenant({ guards: "off" });
    await door.declareAll(tenant, "bank", PAID);
  });
  afterEach(() => resetClock(database.db));
  afterAll(async () => {
    expect(await ledgerViolations(database.db.admin, null)).toEqual([]);
    await door?.close();
    await upstream?.close();
    await bank?.close();
  });

  const wire = (run: string, amount = 5, headers: Json = { "tollgate-run": run }) =>
    door.post(tenant, "bank", { tool: "wire", args: { amount, to: "acme" }, headers });
  const meters = async () =>
    door.tollgate.ledger<{ unit: string; committed: string; reserved: string }>(
      `select l.unit, m.committed::text, m.reserved::text
       from meters m join limits l using (tenant_id, limit_id)
       where m.tenant_id = $1 order by 1`,
      [tenant.id],
    );
  /** Past the grace of what nobody could say. */
  const quiescence = async () => {
    await door.tollgate.settled();
    await shiftClock(database.db, UNKNOWN_GRACE_MS + 60_000);
    await door.tollgate.gateway.sweep();
    await door.tollgate.settled();
    return await meters();
  };
  const limits = async () => {
    await tenant.limit({ scope: "tenant", unit: "usd", limit: "100" });
    await tenant.limit({ scope: "tool", id: "bank/wire", unit: "in_flight", limit: 100 });
    await tenant.limit({ scope: "tenant", unit: "requests", limit: 100 });
  };

  const CASES: readonly (readonly [string, Conduct, string])[] = [
    ["a result", { kind: "ordinary" }, "0.25"],
    ["a tool's error", { kind: "tool_error", text: "no" }, "0.25"],
    ["an error of its own", { kind: "rpc_error", code: -32000, message: "no" }, "0.25"],
    ["that it does not know it", { kind: "rpc_error", code: -32601, message: "no" }, "0"],
    ["403", { kind: "status", status: 403, by: "proxy" }, "0"],
    ["503", { kind: "status", status: 503, by: "server" }, "0"],
    ["502", { kind: "status", status: 502, by: "proxy" }, "0.25"],
    ["nothing in time", { kind: "hang" }, "0.25"],
    ["a closed connection", { kind: "die" }, "0.25"],
    ["a reset after its effect", { kind: "effect_then_reset" }, "0.25"],
    ["half an answer", { kind: "broken_json" }, "0.25"],
    ["somebody else's answer", { kind: "foreign_id" }, "0.25"],
    ["too much", { kind: "oversized", bytes: 12 * 1024 * 1024 }, "0.25"],
    ["another address", { kind: "redirect", to: "http://127.0.0.1:9/" }, "0.25"],
  ];

  test.each(CASES)(
    "with %s leaves nothing reserved when all is known",
    async (_, conduct, cost) => {
      await limits();
      bank.next(conduct);
      await wire("r");
      const picousd = String(BigInt(Number(cost) * 100) * 10_000_000_000n);
      const ended = await quiescence();
      expect(ended.map(({ reserved }) => reserved)).toEqual(["0", "0", "0"]);
      expect(ended).toContainEqual({ unit: "usd", committed: picousd, reserved: "0" });
      // No false no afterwards.
      expect((await wire("later")).text).toContain("sent as");
    },
  );

  test("of a server that nobody can connect to any more holds nothing and costs nothing", async () => {
    await door.declareAll(tenant, "away", PAID);
    await limits();
    await away.close();
    const answer = await door.post(tenant, "away", { tool: "wire", args: { amount: 1, to: "x" } });
    expect(refusalIn(answer)).toMatchObject({ isError: true });
    expect(answer.text).toContain("not_run");
    const ended = await quiescence();
    expect(ended.map(({ reserved }) => reserved)).toEqual(["0", "0"]);
    expect(ended).toContainEqual({ unit: "usd", committed: "0", reserved: "0" });
  });

  test("that is withheld costs its price, and a repeat is told that it ran and not what it gave", async () => {
    await door.declare(tenant, "bank/fetch_page", { ...PAID, output: { block: ["secrets"] } });
    await limits();
    const fetchPage = () =>
      door.post(tenant, "bank", {
        tool: "fetch_page",
        args: { url: "u" },
        headers: { "idempotency-key": "page" },
      });
    const calls = bank.calls("fetch_page").length;
    const first = await fetchPage();
    expect(refusalIn(first)).toMatchObject({ isError: true, reason: "withheld" });
    const second = await fetchPage();
    expect(refusalIn(second)).toMatchObject({ isError: true, disposition: "return_prior" });
    expect(first.text + second.text).not.toContain("AKIA");
    expect(bank.calls("fetch_page")).toHaveLength(calls + 1);
    const ended = await quiescence();
    expect(ended).toContainEqual({ unit: "usd", committed: "250000000000", reserved: "0" });
  });

  test("of a call that its client cancels holds its money until it is known", async () => {
    await limits();
    const client = await connectOfficial(
      door.endpoint(tenant, "bank", { "tollgate-run": "cancelled" }),
      "legacy",
    );
    const leaving = new AbortController();
    const before = bank.calls("wire").length;
    bank.next({ kind: "effect_then_hang" });
    const asked = client.call("wire", { amount: 5, to: "a" }, { signal: leaving.signal });
    const failing = expect(asked).rejects.toThrow();
    await bank.called(bank.calls().length + (bank.calls("wire").length > before ? 0 : 1));
    leaving.abort();
    await failing;
    const call = bank.calls("wire").at(-1);
    if (call === undefined) throw new Error("no call");
    await bank.givenUp(call);
    await door.tollgate.settled();
    expect(await meters()).toContainEqual({
      unit: "usd",
      committed: "0",
      reserved: "250000000000",
    });
    const ended = await quiescence();
    expect(ended.map(({ reserved }) => reserved)).toEqual(["0", "0", "0"]);
    await client.close();
  });

  test.each([
    ["without a name", {}],
    ["in a run", { "tollgate-run": "same" }],
    ["in a step", { "tollgate-run": "same", "tollgate-step": "pay" }],
    ["with a key", { "tollgate-run": "same", "idempotency-key": "once" }],
  ])(
    "that nobody knows keeps the same call of an effectful tool from running again, %s",
    async (_, headers) => {
      bank.next({ kind: "effect_then_reset" });
      const before = bank.effects.wires.length;
      expect((await wire("same", 5, headers)).text).toContain("outcome_unknown");
      const asked = await wire("same", 5, headers);
      expect(refusalIn(asked)).toMatchObject({ isError: true, disposition: "reconcile" });
      expect(bank.effects.wires).toHaveLength(before + 1);
      // Another call is not held up by it, and the same one only until somebody has found out.
      expect((await wire("same", 6, { ...headers, ...OTHER })).text).toContain("sent as");
      const attempt = asked.message.result._meta["tollgate/attempt"];
      const found = {
        tenant: tenant.id,
        applied: false,
        evidence: "The journal has no such wire.",
      };
      const told = await door.manage("POST", `/attempts/${attempt}/reconcile`, found);
      expect(told.status).toBe(200);
      expect((await wire("same", 5, headers)).text).toContain("sent as");
    },
  );

  test("that nobody knows lets a call pass that says which attempt it repeats", async () => {
    bank.next({ kind: "effect_then_reset" });
    const lost = await wire("repeats");
    const attempt = lost.message.result._meta["tollgate/attempt"];
    const call = JSON.parse(callOf("wire", { amount: 5, to: "acme" }));
    call.params._meta["tollgate/repeats"] = attempt;
    const again = await door.post(tenant, "bank", {
      tool: "wire",
      body: JSON.stringify(call),
      headers: { "tollgate-run": "repeats" },
    });
    expect(again.text).toContain("sent as");
  });

  test("is what reports sum, and what a run tells from the model to the model", async () => {
    const run = "agent";
    const args = JSON.stringify({ to: "acme", amount: 12 });
    const client = new OpenAI({
      baseURL: `${door.tollgate.url}/v1`,
      apiKey: tenant.key,
      maxRetries: 0,
      defaultHeaders: { "tollgate-run": run },
    });
    const answer = chatAnswer(MODEL, "", { input: 3, output: 2 });
    const names = ["mcp__bank__wire", "search"];
    const tool_calls = [args, '{"query":"acme"}'].map((text, n) => ({
      id: `call_${n}`,
      type: "function" as const,
      function: { name: names[n], arguments: text },
    }));
    const [choice] = answer.choices;
    const message = { ...choice?.message, content: null, tool_calls };
    const asks = { ...answer, choices: [{ ...choice, message, finish_reason: "tool_calls" }] };
    upstream.next({ kind: "json", body: asks });
    upstream.next({ kind: "json", body: chatAnswer(MODEL, "done", { input: 3, output: 2 }) });
    const messages = [{ role: "user" as const, content: "Pay acme" }];
    const first = await client.chat.completions.create({ model: MODEL, messages });
    await door.tollgate.settled();
    const mcp = await connectOfficial(
      door.endpoint(tenant, "bank", { "tollgate-run": run }),
      "auto",
    );
    const no = { kind: "tool_error", text: "try again" } as const;
    bank.next(no, no);
    for (const asked of first.choices[0]?.message.tool_calls ?? []) {
      if (asked.type !== "function") throw new Error("a function was asked for");
      const tool = asked.function.name.replace("mcp__bank__", "");
      const given = JSON.parse(asked.function.arguments);
      for (let n = 0; (await mcp.call(tool, given)).isError; n += 1) expect(n).toBeLessThan(2);
    }
    await client.chat.completions.create({ model: MODEL, messages });
    await mcp.close();
    const attempts: Json[] = [...(await door.attempts(tenant, run))];
    expect(attempts.map(({ resource, status }) => [resource, status])).toEqual([
      [MODEL, "succeeded"],
      ["bank/wire", "failed"],
      ["bank/wire", "failed"],
      ["bank/wire", "succeeded"],
      ["bank/search", "succeeded"],
      [MODEL, "succeeded"],
    ]);
    const [model, failed, again, paid, found] = attempts;
    expect(model.proposals).toMatchObject([
      { id: "call_0", name: "mcp__bank__wire", attempt: paid.id },
      { id: "call_1", name: "search", attempt: found.id },
    ]);
    expect([failed, again, paid, found].map(({ proposed_by: by }) => by)).toEqual([
      { attempt: model.id, call: "call_0" },
      { attempt: model.id, call: "call_0" },
      { attempt: model.id, call: "call_0" },
      { attempt: model.id, call: "call_1" },
    ]);
    const [sum] = await door.tollgate.ledger<{ picousd: string }>(
      `select sum(s.cost_picousd)::text as picousd from settlements s join decisions d using (tenant_id, attempt_id)
       where d.tenant_id = $1 and d.door = 'tool'`,
      [tenant.id],
    );
    expect(sum?.picousd).toBe("1000000000000");
    await rollUpAll(database.db.admin);
    const report = async (path: string): Promise<Json> => {
      const { status, body } = await door.manage("GET", `/reports/${path}`);
      expect(status, JSON.stringify(body)).toBe(200);
      return body;
    };
    const spend = await report(`spend?tenant=${tenant.id}&group_by=tool`);
    const waste = await report(`waste?tenant=${tenant.id}`);
    const costs = (rows: readonly Json[]) =>
      rows.map(({ groups, cost_usd, waste_usd }) => [groups.tool, cost_usd, waste_usd]);
    // Of the three tries of the wire the second one was a retry that led to nothing.
    expect(costs(spend.rows)).toEqual(
      expect.arrayContaining([
        ["bank/wire", "0.75", "0.25"],
        ["bank/search", "0.25", "0.00"],
      ]),
    );
    expect(costs(waste.rows)).toEqual([["bank/wire", "0.75", "0.25"]]);
  });
});
