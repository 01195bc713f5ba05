/** Servers, and the gateway itself, that end and come back while their clients go on. */
import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { LEASE_MS, UNKNOWN_GRACE_MS } from "../../src/core/limits.ts";
import { ledgerViolations } from "../store/violations.ts";
import { resetClock, shiftClock } from "../support/clock.ts";
import { describeOnPostgres } from "../support/databases.ts";
import { startEverything, type McpServer } from "../support/mcp-servers.ts";
import { startScriptedMcp } from "../support/scripted-mcp.ts";
import { startTollgateProcess, type Tenant } from "../support/tollgate.ts";
import { LIBRARIES } from "./libraries.ts";
import { doorOf, mcpServer, refusalIn, startToolDoor, type ToolDoor } from "./tool-door.ts";

describeOnPostgres("an MCP server that", (database) => {
  let server: McpServer;
  let door: ToolDoor;
  let tenant: Tenant;
  beforeAll(async () => {
    server = await startEverything();
    door = await startToolDoor(database, { mcpServers: [mcpServer("every", server.url)] });
    tenant = await door.tollgate.tenant({ guards: "off" });
    await door.declareAll(tenant, "every", { effect: "effectful", price_usd: "0.25" });
  });
  afterAll(async () => {
    await door?.close();
    await server?.close();
  });

  test.each(LIBRARIES)("ends and comes back is met again by $name", async (library) => {
    const run = `with ${library.name}`;
    const client = await library.connect(door.endpoint(tenant, "every", { "tollgate-run": run }));
    const sum = (a: number) => client.call("get-sum", { a, b: 0 });
    expect((await sum(1)).text).toContain("is 1.");
    const port = Number(new URL(server.url).port);
    await server.close();
    // Nobody listens: nothing was sent, nothing is held, and the client is told so.
    const away = await sum(2).catch((error: unknown) => ({ isError: true, text: String(error) }));
    expect(away.isError).toBe(true);
    server = await startEverything(port);
    // Its sessions are gone with it. A client that knows nothing of them goes on.
    expect((await sum(3)).text).toContain("is 3.");
    await client.close();
    const attempts = await door.attempts(tenant, run);
    const endings = attempts.map(({ status, reserved_usd }) => [status, reserved_usd]);
    expect(endings.filter(([status]) => status === "succeeded")).toHaveLength(2);
    expect(endings.filter(([, reserved]) => reserved !== "0.00")).toEqual([]);
  });
});

describeOnPostgres("a gateway that is killed while a wire is on its way", (database) => {
  const WIRE = { tool: "wire", args: { amount: 5, to: "acme" } };
  const TERMS = {
    effect: "effectful",
    price_usd: "0.25",
    operation: { type: "wire", pointers: ["/to"], mode: "enforce" },
  } as const;

  test("sends no second one after it: it says that it is at work, and then that nobody knows", async () => {
    const { address, db } = database;
    if (address.kind !== "url") throw new Error("a URL is needed");
    const bank = await startScriptedMcp();
    const options = {
      databaseUrl: address.url,
      adminKey: randomUUID() + randomUUID(),
      yaml: `mcp_servers:\n  - { name: pay, url: "${bank.url}" }\n`,
    };
    const first = await startTollgateProcess(options);
    try {
      const tenant = await first.tenant();
      await doorOf(first).declare(tenant, "pay/wire", TERMS);
      bank.next({ kind: "effect_then_hang" });
      const run = (name: string) => ({ ...WIRE, headers: { "tollgate-run": name } });
      const lost = doorOf(first).post(tenant, "pay", run("payout-1"));
      const failing = expect(lost).rejects.toThrow();
      await bank.called(1);
      await first.kill("SIGKILL");
      await failing;
      const second = await startTollgateProcess(options);
      try {
        const ask = () => doorOf(second).post(tenant, "pay", run("payout-2"));
        expect(refusalIn(await ask())).toMatchObject({
          isError: true,
          reason: "effect_in_flight",
          disposition: "wait",
        });
        // The lease of the one that was killed runs out; nobody else says what became of the wire.
        await shiftClock(db, 2 * LEASE_MS);
        let refused = refusalIn(await ask());
        for (let n = 0; refused.reason !== "effect_uncertain" && n < 200; n += 1) {
          await new Promise((resolve) => setTimeout(resolve, 100));
          refused = refusalIn(await ask());
        }
        expect(refused).toMatchObject({
          isError: true,
          reason: "effect_uncertain",
          disposition: "reconcile",
        });
        expect(bank.effects.wires).toHaveLength(1);
        expect(bank.effects.notifications).toHaveLength(1);
        expect(bank.calls("wire")).toHaveLength(1);
        const attempts = await doorOf(second).attempts(tenant, "payout-1");
        expect(attempts).toMatchObject([{ status: "unknown", reserved_usd: "0.25" }]);
        // After its grace it is charged in full, and holds nothing any more.
        await shiftClock(db, 2 * LEASE_MS + UNKNOWN_GRACE_MS);
        await vi.waitFor(
          async () =>
            expect(await doorOf(second).attempts(tenant, "payout-1")).toMatchObject([
              { cost_usd: "0.25", reserved_usd: "0.00" },
            ]),
          { timeout: 20_000, interval: 200 },
        );
        expect(refusalIn(await ask()).reason).toBe("effect_uncertain");
      } finally {
        await second.close();
      }
      expect(await ledgerViolations(db.admin, null)).toEqual([]);
    } finally {
      await resetClock(db);
      await first.close();
      await bank.close();
    }
  });
});
