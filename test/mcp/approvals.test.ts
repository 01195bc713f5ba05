/** Calls of tools that people are asked about: what was approved is what runs, once, and as it stands when it runs. */
import { afterAll, beforeAll, beforeEach, expect, test, vi } from "vitest";
import { LIST_AGE_MS_MAX } from "../../src/core/limits-tools.ts";
import { REFRESH_MS } from "../../src/gate/authority.ts";
import { ledgerViolations } from "../store/violations.ts";
import { describeOnPostgres } from "../support/databases.ts";
import { startScriptedMcp, type ScriptedMcp } from "../support/scripted-mcp.ts";
import type { Tenant } from "../support/tollgate.ts";
import { connectOfficial } from "./libraries.ts";
import { mcpServer, refusalIn, startToolDoor, type Json, type ToolDoor } from "./tool-door.ts";

const POLL = { timeout: 20_000, interval: 50 };
const HELD = { effect: "effectful", price_usd: "0.25", approval: { quorum: 1 } } as const;
const LARGE = `
policies:
  - id: large-wires
    when: resource.name == "bank/wire" && double(arguments.amount) > 100.0
    effect: require_approval
    reason: "This wire is large."
`;

describeOnPostgres("an approval at the tool door", (database) => {
  let bank: ScriptedMcp;
  /** Two gateways on one database, as behind one address. */
  let door: ToolDoor;
  let other: ToolDoor;
  let tenant: Tenant;
  let approver = "";
  beforeAll(async () => {
    bank = await startScriptedMcp();
    const options = { mcpServers: [mcpServer("bank", bank.url)] };
    door = await startToolDoor(database, options);
    other = await startToolDoor(database, options);
  });
  beforeEach(async () => {
    tenant = await door.tollgate.tenant({ guards: "off" });
    approver = (await tenant.newKey({ scopes: ["approve"] })).key;
  });
  afterAll(async () => {
    expect(await ledgerViolations(database.db.admin, null)).toEqual([]);
    await door?.close();
    await other?.close();
    await bank?.close();
  });

  const wires = () => bank.calls("wire").length;
  /** By `raw`: a `tools/call` with more params than a name and arguments. */
  const wire = (amount: number, more: Json = {}, from: ToolDoor = door) => {
    const { headers = {}, params } = more;
    const args = { amount, to: "acme" };
    const known = { tool: "wire", args, headers: { "tollgate-run": "r", ...headers } };
    if (params === undefined) return from.post(tenant, "bank", known);
    const meta = {
      "io.modelcontextprotocol/protocolVersion": "2026-07-28",
      "io.modelcontextprotocol/clientInfo": { name: "raw", version: "1.0.0" },
      "io.modelcontextprotocol/clientCapabilities": {},
      ...params._meta,
    };
    const body = { name: "wire", arguments: args, ...params, _meta: meta };
    return from.post(tenant, "bank", {
      ...known,
      body: JSON.stringify({ jsonrpc: "2.0", id: 1, method: "tools/call", params: body }),
    });
  };
  const approvals = async (method: string, path: string, body?: object): Promise<Json> => {
    const answer = await fetch(`${door.tollgate.url}/api/approvals${path}`, {
      method,
      headers: { authorization: `Bearer ${approver}`, "content-type": "application/json" },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    expect(answer.status, path).toBe(200);
    return answer.json();
  };
  const approve = async (id: string): Promise<void> => {
    const { digest } = await approvals("GET", `/${id}`);
    expect((await approvals("POST", `/${id}/approve`, { digest })).state).toBe("approved");
  };
  const pending = (): Promise<string> =>
    vi.waitFor(async () => {
      const { data } = await approvals("GET", "?state=pending");
      if (data.length !== 1) throw new Error(`${data.length} are pending`);
      return data[0].id as string;
    }, POLL);
  const approvalIn = ({ message }: Json): string => message.result._meta["tollgate/approval"];

  const byPolicy = async () => {
    const terms = { effect: "effectful", price_usd: "0.25" } as const;
    await door.declareAll(tenant, "bank", terms);
    const made = await door.manage("POST", "/policies", { tenant: tenant.id, source: LARGE });
    const { version } = made.body;
    const path = `/policies/${version}/activate`;
    const activated = await door.manage("POST", path, { tenant: tenant.id });
    expect([made.status, activated.status]).toEqual([201, 200]);
  };
  const byDeclaration = () => door.declareAll(tenant, "bank", HELD);

  test.each([
    ["a policy", byPolicy],
    ["its declaration", byDeclaration],
  ])(
    "that %s asks for lets one of twenty that ask again run, and no other call",
    async (_, ask) => {
      await ask();
      const before = wires();
      const held = await wire(500);
      expect(refusalIn(held)).toMatchObject({ reason: "approval_required", disposition: "wait" });
      await approve(approvalIn(held));
      await new Promise((resolve) => setTimeout(resolve, 2 * REFRESH_MS));
      for (const answer of [
        await wire(501),
        await wire(500, { headers: { "tollgate-run": "another" } }),
        await wire(500, { headers: { "tollgate-step": "another" } }),
      ]) {
        expect(refusalIn(answer).reason).toBe("approval_required");
        expect(approvalIn(answer)).not.toBe(approvalIn(held));
      }
      expect(wires()).toBe(before);
      const asked = Array.from({ length: 20 }, (__, n) =>
        wire(500, {}, n % 2 === 0 ? door : other),
      );
      const answers = (await Promise.all(asked)).map(({ text }) => text.includes("sent as tr_"));
      expect(answers.filter(Boolean)).toHaveLength(1);
      expect(wires()).toBe(before + 1);
    },
  );

  test.each([
    ["Prefer: wait", { headers: { prefer: "wait=30" } }],
    ["tollgate/wait", { params: { _meta: { "tollgate/wait": 30 } } }],
  ])("is waited for with %s, and then its call runs", async (_, more) => {
    await byDeclaration();
    const before = wires();
    const waiting = wire(7, more);
    await approve(await pending());
    expect((await waiting).text).toContain("sent as tr_");
    expect(wires()).toBe(before + 1);
  });

  test("is of the definition that was shown: one that changes while it is waited for is not called", async () => {
    await byDeclaration();
    const before = wires();
    const waiting = wire(9, { headers: { prefer: "wait=30" } });
    const id = await pending();
    bank.changeDefinition("wire", { description: "Transfers all money there is." });
    try {
      await new Promise((resolve) => setTimeout(resolve, LIST_AGE_MS_MAX + 500));
      await approve(id);
      expect(refusalIn(await waiting)).toMatchObject({
        isError: true,
        reason: "tool_quarantined",
      });
      expect(wires()).toBe(before);
    } finally {
      bank.changeDefinition("wire", { description: "Transfers money and tells its receiver." });
    }
  });

  test("does not run a call that its client has cancelled while it waited", async () => {
    await byDeclaration();
    const before = wires();
    const client = await connectOfficial(
      door.endpoint(tenant, "bank", { prefer: "wait=30", "tollgate-run": "r" }),
      "legacy",
    );
    const leaving = new AbortController();
    const cancelled = client.call("wire", { amount: 3, to: "acme" }, { signal: leaving.signal });
    const failing = expect(cancelled).rejects.toThrow();
    const id = await pending();
    leaving.abort();
    await failing;
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    await approve(id);
    await new Promise((resolve) => setTimeout(resolve, 1_500));
    await door.tollgate.settled();
    expect(wires()).toBe(before);
    await client.close();
  });

  test("lets nothing pass beside the call that was shown", async () => {
    await byDeclaration();
    const more = { params: { _meta: { "bank/amount": 9_000 } } };
    const held = await wire(11);
    await approve(approvalIn(held));
    const answer = await wire(11, more);
    const sent = bank.calls("wire").at(-1);
    expect(answer.text).toContain("sent as tr_");
    expect(sent?.text).toContain('"amount":11');
    expect(sent?.text).not.toContain("9000");
  });
});
