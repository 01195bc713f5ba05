/** A permit for an MCP server that is no longer good when its first byte is about to be written. */
import { expect, test } from "vitest";
import type { Intent } from "../../src/core/intent.ts";
import { FENCE_MS_MAX, PERMIT_MS_MAX } from "../../src/core/limits.ts";
import { picousd } from "../../src/core/money.ts";
import type { ToolPermit } from "../../src/gate/admit.ts";
import type { UpstreamPort } from "../../src/gate/ports.ts";
import type { Connections } from "../../src/gate/servers.ts";
import { mcpServer, NOWHERE } from "../mcp/tool-door.ts";
import { describeOnPostgres } from "../support/databases.ts";
import { gateOn, intentOf, newTenant, type Gate } from "./gate-on.ts";

const BANK = mcpServer("bank", NOWHERE);
const SENT = 5n;

/** A server that has been reached before. */
const CONNECTIONS: Connections = {
  reach: async () => ({
    kind: "reached",
    connection: {
      handshake: { version: "2026-07-28", envelope: {}, session: null },
      capabilities: { tools: {} },
      about: { name: "bank", version: "1" },
    },
  }),
  forget: () => undefined,
  close: async () => undefined,
};

function wire(): Intent {
  return {
    ...intentOf({ billing: "stated", resource: "bank/wire" }),
    door: "tool",
    operation: "execute_tool",
    tool: "bank/wire",
    costStatedPicousd: picousd(SENT),
    act: {
      effectClass: "effectful",
      effect: null,
      extracted: null,
      listed: { standing: "callable", definition: "0".repeat(64) },
      approval: null,
    },
  };
}

const WIRE_CALL = {
  method: "tools/call",
  params: { name: "wire", arguments: {} },
  tool: null,
  onProgress: null,
  onLog: null,
  signal: null,
};

async function toolPermit(gate: Gate): Promise<ToolPermit> {
  const admission = await gate.admit(await newTenant(gate), wire());
  if (admission.kind !== "tool_admitted") throw new Error(`not admitted: ${admission.kind}`);
  return admission.permit;
}

describeOnPostgres("a call of an MCP server", (database) => {
  test.each([
    ["sent while its permit is good", 0, { kind: "result" }, "succeeded", SENT],
    ["not sent by a permit that lapsed", PERMIT_MS_MAX + 1, { kind: "failed" }, "released", 0n],
    [
      "not sent by a gate that its database does not answer",
      FENCE_MS_MAX + 1,
      { kind: "failed" },
      "released",
      0n,
    ],
  ])("is %s, which is asked when its first byte is written", async (...row) => {
    const [, waitedMs, told, ending, cost] = row;
    let passedMs = 0;
    let sent = 0;
    const upstream: UpstreamPort = {
      dispatch: ({ body, mayStart }, { onHead, onData, onEnd, onFail }) => {
        queueMicrotask(() => {
          // It waited for a connection all that time.
          passedMs = waitedMs;
          if (!mayStart()) return onFail({ kind: "lapsed", sent: false, message: "lapsed" });
          sent += 1;
          const { id } = JSON.parse(Buffer.from(body as Uint8Array).toString());
          onHead(200, ["content-type", "application/json"]);
          const result = { content: [{ type: "text", text: "done" }] };
          onData(Buffer.from(JSON.stringify({ jsonrpc: "2.0", id, result })));
          onEnd();
        });
        return { isSent: () => sent > 0, resume: () => undefined, abort: () => undefined };
      },
      close: async () => undefined,
    };
    const gate = await gateOn(database.db, {
      upstream,
      servers: [BANK],
      connections: CONNECTIONS,
      monotonicMs: () => performance.now() + passedMs,
    });
    const permit = await toolPermit(gate);
    const call = await gate.gateway.servers?.call(permit, WIRE_CALL);
    await call?.settled;
    expect(call?.called).toMatchObject(told);
    expect(sent).toBe(waitedMs === 0 ? 1 : 0);
    const { tenantId, attemptId } = permit;
    const settled = await database.db.admin`
      select ending, cost_picousd::text as cost from settlements
      where tenant_id = ${tenantId} and attempt_id = ${attemptId}`;
    expect(settled.map(({ ending: how, cost: amount }) => [how, amount])).toEqual([
      [ending, String(cost)],
    ]);
    await gate.gateway.close();
  });

  test("is unknown, and its money held, where a fault of ours ends it", async () => {
    const gate = await gateOn(database.db, {
      servers: [BANK],
      connections: { ...CONNECTIONS, reach: () => Promise.reject(new Error("a fault")) },
    });
    const permit = await toolPermit(gate);
    await expect(gate.gateway.servers?.call(permit, WIRE_CALL)).rejects.toThrow("a fault");
    // Resolves only when the permit has its ending: a process that ends would wait for it.
    await gate.gateway.settled();
    const { tenantId, attemptId } = permit;
    const held = await database.db.admin`
      select state, cost_picousd::text as cost from reservations
      where tenant_id = ${tenantId} and attempt_id = ${attemptId}`;
    expect(held.map(({ state, cost }) => [state, cost])).toEqual([["unknown", String(SENT)]]);
    await gate.gateway.close();
  });
});
