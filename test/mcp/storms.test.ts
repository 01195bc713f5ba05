/** Many clients at once, whose requests look the same: each has its own answer, and no tenant another's. */
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { describeOnPostgres } from "../support/databases.ts";
import { startScriptedMcp, type ScriptedMcp } from "../support/scripted-mcp.ts";
import type { Tenant } from "../support/tollgate.ts";
import { connectOfficial } from "./libraries.ts";
import { mcpServer, startToolDoor, type ToolDoor } from "./tool-door.ts";

const FREE = { effect: "pure", price_usd: "0" } as const;

/** Clients of which each counts its requests from the same number. */
const CLIENTS = 200;

describeOnPostgres("a storm of tool calls", (database) => {
  let one: ScriptedMcp;
  let other: ScriptedMcp;
  let door: ToolDoor;
  let tenant: Tenant;
  beforeAll(async () => {
    [one, other] = [await startScriptedMcp(), await startScriptedMcp()];
    door = await startToolDoor(database, {
      mcpServers: [
        mcpServer("one", one.url),
        mcpServer("other", other.url),
        mcpServer("theirs", other.url, { tenants: ["nobody here"] }),
      ],
    });
  });
  beforeEach(async () => {
    tenant = await door.tollgate.tenant();
    await door.declareAll(tenant, "one", FREE);
  });
  afterAll(async () => {
    await door?.close();
    await one?.close();
    await other?.close();
  });

  test("of 200 clients that all use the id 1 answers each what it asked", async () => {
    const before = one.calls().length;
    const answers = await Promise.all(
      Array.from({ length: CLIENTS }, (_, client) =>
        door.post(tenant, "one", { tool: "echo", args: { client }, id: 1 }),
      ),
    );
    const told = answers.map(({ message }) => [message.id, message.result.content[0].text]);
    expect(told).toEqual(answers.map((_, client) => [1, JSON.stringify({ client })]));
    expect(one.calls()).toHaveLength(before + CLIENTS);
  });

  test("of connected clients with the handshake and without answers each what it asked", async () => {
    const endpoint = door.endpoint(tenant, "one");
    const clients = await Promise.all(
      Array.from({ length: 40 }, (_, at) =>
        connectOfficial(endpoint, at % 2 === 0 ? "auto" : "legacy"),
      ),
    );
    one.behave(({ args }) => ({
      kind: "progress",
      count: 3,
      everyMs: 1 + (Number(args["n"]) % 7),
    }));
    const told = await Promise.all(
      clients.map(async ({ call }, client) => {
        const progress: number[] = [];
        const options = { onProgress: (at: number) => progress.push(at) };
        const { text } = await call("echo", { client, n: client }, options);
        return { text, progress };
      }),
    );
    one.behave({ kind: "ordinary" });
    expect(told).toEqual(
      clients.map((_, client) => ({
        text: JSON.stringify({ client, n: client }),
        progress: [1, 2, 3],
      })),
    );
    for (const { close } of clients) await close();
  });

  test("of two tenants with the same runs, ids and arguments shows neither the other's", async () => {
    const second = await door.tollgate.tenant();
    await door.declareAll(second, "one", FREE);
    const pairs = Array.from({ length: 50 }, (_, n) => n);
    const ask = (of: Tenant, n: number) => {
      const headers = { "tollgate-run": "same", "idempotency-key": `same-${n}` };
      return door.post(of, "one", { tool: "wire", args: { amount: n, to: "same" }, headers });
    };
    await Promise.all(pairs.flatMap((n) => [ask(tenant, n), ask(second, n)]));
    // Both did each: nobody was given what the other one had.
    const wires = one.effects.wires.filter((line) => line.endsWith("to same"));
    expect(wires).toHaveLength(2 * pairs.length);
    const [mine, theirs] = [
      await door.attempts(tenant, "same"),
      await door.attempts(second, "same"),
    ];
    expect([mine.length, theirs.length]).toEqual([50, 50]);
    const ids = new Set([...mine, ...theirs].map(({ id }) => id));
    expect(ids.size).toBe(100);
  });

  test("of two servers with the same tools and ids reaches the one that was named", async () => {
    await door.declareAll(tenant, "other", FREE);
    const [ones, others] = [one.calls().length, other.calls().length];
    await Promise.all(
      Array.from({ length: 50 }, (_, n) => [
        door.post(tenant, "one", { args: { server: "one", n } }),
        door.post(tenant, "other", { args: { server: "other", n } }),
      ]).flat(),
    );
    const namesOf = (server: ScriptedMcp, from: number) =>
      new Set(
        server
          .calls()
          .slice(from)
          .map(({ args }) => args["server"]),
      );
    expect([...namesOf(one, ones)]).toEqual(["one"]);
    expect([...namesOf(other, others)]).toEqual(["other"]);
    expect([one.calls().length - ones, other.calls().length - others]).toEqual([50, 50]);
  });

  test("of two tenants uses no session for both", async () => {
    one.speak("handshake");
    const [first, second] = [await door.tollgate.tenant(), await door.tollgate.tenant()];
    for (const each of [first, second]) await door.declareAll(each, "one", FREE);
    const from = one.journal.length;
    const ask = (of: Tenant, whose: string) =>
      Promise.all(
        Array.from({ length: 10 }, (_, n) => door.post(of, "one", { args: { whose, n } })),
      );
    await Promise.all([ask(first, "first"), ask(second, "second")]);
    const sessionsOf = (whose: string) =>
      new Set(
        one.journal
          .slice(from)
          .filter(({ args }) => args["whose"] === whose)
          .map(({ headers }) => headers["mcp-session-id"]),
      );
    const [mine, theirs] = [sessionsOf("first"), sessionsOf("second")];
    one.speak("both");
    expect([mine.size > 0, theirs.size > 0]).toEqual([true, true]);
    expect(mine.intersection(theirs).size).toBe(0);
    expect(mine.has(undefined) || theirs.has(undefined)).toBe(false);
  });

  test("to the server of another tenant meets what it would meet if there were none", async () => {
    const from = other.journal.length;
    const ask = (server: string) => door.post(tenant, server, { args: {} });
    const [theirs, none] = [await ask("theirs"), await ask("none")];
    expect([theirs.status, none.status]).toEqual([404, 404]);
    expect(theirs.text.replaceAll("theirs", "none")).toBe(none.text);
    const discovered = await door.manage("POST", "/mcp-servers/theirs/discover", {
      tenant: tenant.id,
    });
    expect(discovered.status).toBe(404);
    expect(other.journal).toHaveLength(from);
  });
});
