/**
 * The payment story at the tool door: a wire is sent, its answer gets lost, the agent starts again and asks for the
 * same wire under another run. Nobody is paid twice, and the timeline says why.
 */
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { describeOnPostgres } from "../support/databases.ts";
import { startScriptedMcp, type ScriptedMcp } from "../support/scripted-mcp.ts";
import type { Tenant } from "../support/tollgate.ts";
import { LIBRARIES, type Result } from "./libraries.ts";
import { mcpServer, startToolDoor, type Json, type ToolDoor } from "./tool-door.ts";

const WIRE = { amount: 5, to: "acme" };

/** A wire to one receiver is one act, whatever run asks for it. */
const TERMS = {
  effect: "effectful",
  price_usd: "0.25",
  operation: { type: "wire", pointers: ["/to"], mode: "enforce" },
} as const;

/** Shorter than a client waits, so that what is told is what the gate knows. */
const SERVER_MS = 1_000;

describeOnPostgres("a wire whose answer gets lost", (database) => {
  let bank: ScriptedMcp;
  let door: ToolDoor;
  let tenant: Tenant;
  beforeAll(async () => {
    bank = await startScriptedMcp();
    door = await startToolDoor(database, {
      mcpServers: [mcpServer("pay", bank.url, { timeoutMs: SERVER_MS })],
    });
  });
  beforeEach(async () => {
    tenant = await door.tollgate.tenant();
    await door.declare(tenant, "pay/wire", TERMS);
  });
  afterAll(async () => {
    await door?.close();
    await bank?.close();
  });

  /** A life of the agent: it connects, asks for the wire, and remembers nothing of another life. */
  const live = async (library: (typeof LIBRARIES)[number], run: string): Promise<Result> => {
    const client = await library.connect(door.endpoint(tenant, "pay", { "tollgate-run": run }));
    try {
      return await client.call("wire", WIRE);
    } finally {
      await client.close();
    }
  };
  const effects = async (): Promise<Json> =>
    (await door.manage("GET", `/operations/wire/acme?tenant=${tenant.id}`)).body.effects;
  const reconcile = (attempt: string, told: object) =>
    door.manage("POST", `/attempts/${attempt}/reconcile`, { tenant: tenant.id, ...told });
  const done = (from: { readonly wires: number; readonly calls: number }) => ({
    wires: bank.effects.wires.length - from.wires,
    notifications: bank.effects.notifications.length - from.wires,
    calls: bank.calls("wire").length - from.calls,
  });
  const before = () => ({ wires: bank.effects.wires.length, calls: bank.calls("wire").length });

  test.each(LIBRARIES)("is sent once by an agent with $name that starts again", async (library) => {
    const from = before();
    bank.next({ kind: "effect_then_hang" });
    const first = await live(library, "payout-1");
    expect(first.isError).toBe(true);
    expect(first.text).toContain("outcome_unknown");
    // The second life knows nothing of it, and asks as if it were the first one.
    const second = await live(library, "payout-2");
    expect(second.isError).toBe(true);
    expect(second.meta).toMatchObject({
      "tollgate/reason": "effect_uncertain",
      "tollgate/disposition": "reconcile",
    });
    expect(done(from)).toEqual({ wires: 1, notifications: 1, calls: 1 });
    expect(await effects()).toMatchObject([{ effect: "pay/wire", state: "uncertain" }]);
    // Somebody looks into the bank's own journal.
    const [attempt] = await door.attempts(tenant, "payout-1");
    expect(attempt).toMatchObject({ status: "unknown", reserved_usd: "0.25" });
    const transfer = bank.effects.wires.at(-1)?.split(":")[0];
    const told = await reconcile(attempt?.id ?? "", {
      applied: true,
      evidence: `The bank's journal has ${transfer}.`,
      result: { content: [{ type: "text", text: `sent as ${transfer}` }] },
    });
    expect(told.status).toBe(200);
    const third = await live(library, "payout-2");
    expect(third).toMatchObject({ text: `sent as ${transfer}`, isError: false });
    expect(done(from)).toEqual({ wires: 1, notifications: 1, calls: 1 });
  });

  test("is sent again once somebody has seen that it was not", async () => {
    const [library] = LIBRARIES;
    if (library === undefined) throw new Error("no library");
    const from = before();
    bank.next({ kind: "die" });
    expect((await live(library, "payout-1")).text).toContain("outcome_unknown");
    expect((await live(library, "payout-2")).isError).toBe(true);
    const [attempt] = await door.attempts(tenant, "payout-1");
    const evidence = "The bank's journal has no such wire.";
    expect((await reconcile(attempt?.id ?? "", { applied: false, evidence })).status).toBe(200);
    const sent = await live(library, "payout-2");
    expect(sent).toMatchObject({ isError: false, structured: { transfer: expect.any(String) } });
    expect(done(from)).toEqual({ wires: 1, notifications: 1, calls: 2 });
  });

  test.each(LIBRARIES)(
    "is told to $name as whoever looked has told it, in any form",
    async (library) => {
      for (const [at, result] of [
        { transfer: "tr_9", usd: 5.0 },
        "sent as tr_9",
        null,
        [1],
      ].entries()) {
        tenant = await door.tollgate.tenant();
        await door.declare(tenant, "pay/wire", TERMS);
        bank.next({ kind: "effect_then_reset" });
        await live(library, `payout-${at}`);
        const [attempt] = await door.attempts(tenant, `payout-${at}`);
        await reconcile(attempt?.id ?? "", {
          applied: true,
          evidence: "the bank's journal",
          result,
        });
        const told = await live(library, "later");
        expect(told).toMatchObject({ text: JSON.stringify(result), isError: false });
        if (at === 0) expect(told.structured).toEqual(result);
      }
    },
  );

  test("is explained by the timelines of both runs", async () => {
    const [library] = LIBRARIES;
    if (library === undefined) throw new Error("no library");
    bank.next({ kind: "effect_then_reset" });
    await live(library, "payout-1");
    await live(library, "payout-2");
    const [first] = await door.attempts(tenant, "payout-1");
    const [second] = await door.attempts(tenant, "payout-2");
    expect(first).toMatchObject({ resource: "pay/wire", status: "unknown" });
    expect(second).toMatchObject({
      resource: "pay/wire",
      status: "blocked",
      reason: "effect_uncertain",
      reserved_usd: "0.00",
    });
    const explained = async (id = ""): Promise<Json> =>
      (await door.manage("GET", `/decisions/${id}?tenant=${tenant.id}`)).body;
    // From the refusal to the attempt that it is about, and from there to what is known of it.
    const refusal = await explained(second?.id);
    expect(refusal.retry.prior_attempt).toBe(first?.id);
    expect(refusal.explanation.join(" ")).toMatch(/blocked \(effect_uncertain\).*nobody knows/u);
    const lost = await explained(refusal.retry.prior_attempt);
    expect(lost).toMatchObject({ run: "payout-1", reserved_usd: "0.25" });
    expect(lost.explanation.join(" ")).toContain("payout-1");
    expect(await effects()).toMatchObject([
      { effect: "pay/wire", state: "uncertain", attempt: first?.id, run: "payout-1" },
    ]);
    await reconcile(first?.id ?? "", { applied: true, evidence: "journal of the bank, line 7" });
    expect(await door.attempts(tenant, "payout-1")).toMatchObject([
      { status: "succeeded", reserved_usd: "0.00", cost_usd: "0.25" },
    ]);
    expect(await effects()).toMatchObject([{ state: "applied", run: "payout-1" }]);
    // What it gave nobody has told, so the agent is told that it was done, and not to do it.
    const third = await live(library, "payout-3");
    expect(third.isError).toBe(true);
    expect(third.meta).toMatchObject({
      "tollgate/reason": "effect_applied",
      "tollgate/disposition": "return_prior",
    });
  });

  test("is not sent by fifty agents at once but by one", async () => {
    const from = before();
    const answers = await Promise.all(
      Array.from({ length: 50 }, (_, n) =>
        door.post(tenant, "pay", {
          tool: "wire",
          args: WIRE,
          headers: { "tollgate-run": `payout-${n}` },
        }),
      ),
    );
    expect(done(from)).toEqual({ wires: 1, notifications: 1, calls: 1 });
    // Each of the others is told that it is at work, or given what it gave.
    const kinds = answers.map(({ message }) => message.result._meta["tollgate/reason"] ?? "told");
    expect(new Set(kinds).difference(new Set(["told", "effect_in_flight"]))).toEqual(new Set());
  });
});
