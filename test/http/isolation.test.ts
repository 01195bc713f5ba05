/**
 * No key reaches another tenant's objects: every route of the OpenAPI document × every id of a second
 * tenant, asked by an administrator of the first. The document is the list, so a new route is in.
 */
import { afterAll, beforeAll, expect, test } from "vitest";
import { mcpServer, NOWHERE } from "../mcp/tool-door.ts";
import { askApproval } from "../support/approvals.ts";
import { describeEachDatabase } from "../support/databases.ts";
import {
  ADMIN_KEY,
  createTestManagement,
  type Json,
  type Answer,
  type Management,
} from "../support/management.ts";
import { TEST_SEAL } from "../support/seal.ts";
import { listTools } from "../support/tool-catalogue.ts";

type Operation = {
  readonly method: string;
  readonly path: string;
  /** Whether it takes a tenant in its query, and so in its body. */
  readonly takesTenant: boolean;
};

const BUNDLE = `policies: [{ id: owned, when: "false", effect: block }]`;

const INVOICE = {
  upstream: "openai",
  provider: "openai",
  from: "2024-01-01",
  to: "2024-01-02",
  states: ["requests"],
  lines: [],
};

/** Bodies by which an operation would succeed for an owner; `{version}` and the like are the owner's ids. */
const BODIES: Readonly<Record<string, unknown>> = {
  "post /api/tenants": { name: "stolen" },
  "patch /api/tenants/{tenant}": { mode: "tolerant" },
  "post /api/keys": { name: "stolen", scopes: ["admin"] },
  "post /api/keys/{key}/rotate": {},
  "post /api/adjustments": { amount_usd: "1.00", reason: "owned" },
  "post /api/limits": { scope: { kind: "tenant" }, unit: "usd", window: "none", limit: 1 },
  "patch /api/limits/{limit}": { limit: 1_000_000 },
  "put /api/runs/{run}": { budget_usd: 1_000_000 },
  "post /api/runs/{run}/stop": {},
  "post /api/approvals/{approval}/approve": { digest: "0".repeat(64) },
  "post /api/approvals/{approval}/deny": { digest: "0".repeat(64), reason: "stolen" },
  "post /api/approvals/{approval}/cancel": {},
  "post /api/webhooks": { url: "https://example.com/stolen" },
  "post /api/webhooks/{webhook}/test": {},
  "post /api/deliveries/{delivery}/redeliver": {},
  "put /api/tools/{tool}": { effect: "pure" },
  "post /api/mcp-servers/{server}/discover": {},
  "post /api/outcome-types": { name: "owned" },
  "post /api/report-schedules": { name: "owned", report: "spend", every: "day" },
  "patch /api/report-schedules/{schedule}": { name: "stolen" },
  "post /api/closings": { from: "2026-01-01", to: "2026-02-01" },
  "post /api/runs/{run}/outcome": { type: "owned", status: "success" },
  "post /api/operations/{type}/{key}/outcome": { type: "owned", status: "success" },
  "post /api/gate": { kind: "step", name: "stolen", run: "owned" },
  "post /api/policies": { source: BUNDLE },
  "post /api/policies/check": { source: BUNDLE },
  "post /api/policies/{version}/activate": {},
  "post /api/policies/deactivate": {},
  "post /api/policies/backtest": { version: "{version}" },
  "post /api/decisions/{decision}/replay": {},
  "post /api/replay": {},
  "post /api/reports/reconciliation": INVOICE,
  "post /api/installation/reconciliation": INVOICE,
  "post /api/attempts/{attempt}/complete": {},
  "post /api/attempts/{attempt}/fail": { error: "stolen", executed: "no" },
  "post /api/attempts/{attempt}/heartbeat": {},
  "post /api/attempts/{attempt}/reconcile": { applied: true, evidence: "stolen" },
};

/** What is sent to a route that takes no JSON: its media type and the text. */
const TEXTS: Readonly<Record<string, readonly [media: string, text: string]>> = {
  "post /api/outcomes/import": ["text/csv", "run,type,status\nowned,owned,success"],
};

/** What a route needs in its query. */
const QUERIES: Readonly<Record<string, string>> = {
  "/api/policies/diff": "from={version}&to={version}",
};

/** The name of a run or a tool is the caller's own: by the same name a tenant makes one of its own. */
const MAKES_ITS_OWN = new Set(["put /api/runs/{run}", "put /api/tools/{tool}"]);

/** Lists of the installation: a key of a tenant sees nothing of them. */
const INSTALLATIONS = new Set(["/api/installation/reconciliation", "/api/prices/imports"]);

/** What a key with the scope `approve` does. */
const APPROVERS_DO = new Set(["post /api/attempts/{attempt}/reconcile"]);

describeEachDatabase("isolation", (database) => {
  let api: Management;
  let owner: Awaited<ReturnType<Management["newTenant"]>>;
  let thief: Awaited<ReturnType<Management["newTenant"]>>;
  let ids: Readonly<Record<string, string>>;

  beforeAll(async () => {
    api = await createTestManagement(database.db, [mcpServer("owned", NOWHERE)]);
    // With every scope: what is refused is refused for the tenant's sake.
    const scopes = ["invoke", "report", "approve", "admin"];
    owner = await api.newTenant(scopes);
    thief = await api.newTenant(scopes);
    await api.call(ADMIN_KEY, "POST", "/api/keys", {
      tenant: owner.id,
      name: "approver",
      scopes: ["approve"],
    });
    const hook = { url: "https://example.com/owned" };
    const webhook = await api.call(owner.key, "POST", "/api/webhooks", hook);
    const ping = await api.call(owner.key, "POST", `/api/webhooks/${webhook.body.id}/test`, {});
    const asked = await askApproval(database.db.admin, {
      tenantId: owner.id,
      keyId: owner.keyId,
      seal: TEST_SEAL,
    });
    const limit = await api.call(owner.key, "POST", "/api/limits", BODIES["post /api/limits"]);
    await api.call(owner.key, "PUT", "/api/runs/owned", { budget_usd: "3" });
    const server = { tenantId: owner.id, server: "owned" };
    const listed = [{ name: "wire", description: `of ${owner.name}` }];
    await listTools(database.db.admin, server, listed);
    await api.call(owner.key, "PUT", "/api/tools/owned%2Fwire", BODIES["put /api/tools/{tool}"]);
    await api.call(owner.key, "POST", "/api/outcome-types", { name: "owned" });
    const attempt = await api.admit({
      tenantId: owner.id,
      keyId: owner.keyId,
      runId: "owned",
      runNamed: true,
    });
    const adjusted = { amount_usd: "1.00", reason: `of ${owner.name}`, run: "owned" };
    expect((await api.call(owner.key, "POST", "/api/adjustments", adjusted)).status).toBe(201);
    const operation = `refund:${owner.keyId}`;
    const claim = { kind: "step", name: "refund", operation };
    expect((await api.call(owner.key, "POST", "/api/gate", claim)).status).toBe(200);
    const bundle = await api.call(owner.key, "POST", "/api/policies", { source: BUNDLE });
    const closing = await api.call(
      owner.key,
      "POST",
      "/api/closings",
      BODIES["post /api/closings"],
    );
    const schedule = await api.call(
      owner.key,
      "POST",
      "/api/report-schedules",
      BODIES["post /api/report-schedules"],
    );
    ids = {
      schedule: schedule.body.id,
      version: bundle.body.version,
      closing: closing.body.id,
      tenant: owner.id,
      key: owner.keyId,
      limit: limit.body.id,
      run: "owned",
      server: "owned",
      tool: "owned%2Fwire",
      outcome_type: "owned",
      type: "refund",
      attempt,
      decision: `dec_${attempt.slice(4)}`,
      approval: asked.approvalId ?? "",
      webhook: webhook.body.id,
      delivery: ping.body.id,
    };
  });
  afterAll(() => api.close());

  test("every id of another tenant answers 404, on every route that takes one", async () => {
    const withIds = operations(api).filter(takesId);
    expect(withIds.length).toBeGreaterThan(10);
    for (const { method, path } of withIds) {
      const name = `${method} ${path}`;
      if (MAKES_ITS_OWN.has(name)) continue;
      const answer = await api.call(thief.key, method.toUpperCase(), filled(path), bodyOf(name));
      expect([name, answer.status]).toEqual([name, 404]);
      expect(JSON.stringify(answer.body)).not.toContain(owner.name);
      // The same request by its owner is no 404: it was the tenant that made the difference.
      if (method === "get") {
        const own = await api.call(owner.key, "GET", filled(path));
        expect([name, own.status]).toEqual([name, 200]);
      }
    }
  });

  test("another tenant named in query or body answers 404, on every route of one tenant", async () => {
    const before = await api.call(owner.key, "GET", "/api/events");
    for (const { method, path, takesTenant } of operations(api)) {
      const name = `${method} ${path}`;
      const body = bodyOf(name);
      const statuses = takesTenant ? [404] : [400, 403];
      for (const named of [owner.id, owner.name]) {
        const query = filled(path, `tenant=${encodeURIComponent(named)}`);
        const byQuery = await steal(name, query, body);
        expect([name, statuses.includes(byQuery.status)]).toEqual([name, true]);
        if (method === "get" || TEXTS[name] !== undefined) continue;
        const inBody = { ...body, tenant: named };
        const byBody = await api.call(thief.key, method.toUpperCase(), filled(path), inBody);
        expect([name, statuses.includes(byBody.status)]).toEqual([name, true]);
      }
    }
    const after = await api.call(owner.key, "GET", "/api/events");
    expect(after.body).toEqual(before.body);
  });

  test("a list holds nothing of another tenant", async () => {
    await api.call(thief.key, "PUT", "/api/runs/owned", { budget_usd: "9" });
    for (const operation of operations(api)) {
      const { method, path } = operation;
      if (method !== "get" || takesId(operation) || path === "/api/prices") continue;
      for (const query of ["", "?run=owned"]) {
        if (query !== "" && !["/api/limits", "/api/decisions", "/api/adjustments"].includes(path))
          continue;
        const answer = await api.call(thief.key, "GET", `${path}${query}`);
        if (INSTALLATIONS.has(path)) {
          expect([path, answer.status]).toEqual([path, 403]);
          continue;
        }
        expect([path, answer.status]).toEqual([path, 200]);
        const text = JSON.stringify(answer.body);
        for (const id of [owner.name, ...Object.values(ids).filter((each) => each !== "owned")]) {
          expect([path, text.includes(id)]).toEqual([path, false]);
        }
      }
    }
    const own = await api.call(owner.key, "GET", "/api/runs/owned");
    expect(own.body).toMatchObject({ tenant: owner.id, budget: { limit_usd: "3.00" } });
    const run = await api.call(thief.key, "GET", "/api/runs/owned");
    expect(run.body).toMatchObject({
      tenant: thief.id,
      budget: { limit_usd: "9.00" },
      attempts: [],
    });
  });

  test("no route answers without a key, to a wrong key, or to a key's digest", async () => {
    const [row] = await database.db.admin`select digest from keys where key_id = ${owner.keyId}`;
    const digest = String(row?.["digest"]);
    for (const { method, path } of operations(api)) {
      for (const key of [null, "sk-proj-0123456789", digest, `${owner.key.slice(0, -1)}!`]) {
        const answer = await api.call(
          key,
          method.toUpperCase(),
          filled(path),
          bodyOf(`${method} ${path}`),
        );
        expect([method, path, answer.status]).toEqual([method, path, 401]);
      }
    }
  });

  test("a key of the owner's without a scope changes nothing of its own tenant", async () => {
    const keyWith = async (scope: string): Promise<string> => {
      const terms = { tenant: owner.id, name: "narrow", scopes: [scope] };
      return (await api.call(ADMIN_KEY, "POST", "/api/keys", terms)).body.key;
    };
    const keys = { approve: await keyWith("approve"), invoke: await keyWith("invoke") };
    for (const { method, path } of operations(api)) {
      // Whose a key is, it may know; and prices are nobody's.
      if (path === "/api/prices" || path === "/api/me") continue;
      const key = path.startsWith("/api/approvals") ? keys.invoke : keys.approve;
      if (APPROVERS_DO.has(`${method} ${path}`)) continue;
      const body = bodyOf(`${method} ${path}`);
      const answer = await api.call(key, method.toUpperCase(), filled(path), body);
      expect([method, path, answer.status]).toEqual([method, path, 403]);
    }
  });

  function steal(name: string, path: string, body: object | undefined): Promise<Answer> {
    const [method = ""] = name.split(" ");
    const [media, text] = TEXTS[name] ?? [];
    if (media === undefined || text === undefined) {
      return api.call(thief.key, method.toUpperCase(), path, body);
    }
    const headers = { authorization: `Bearer ${thief.key}`, "content-type": media };
    return api.send(path, { method: method.toUpperCase(), headers, body: text });
  }

  function filled(path: string, more = ""): string {
    const query = [QUERIES[path] ?? "", more].filter((part) => part !== "").join("&");
    return withIdsOf(query === "" ? path : `${path}?${query}`);
  }

  function bodyOf(name: string): object | undefined {
    const body = BODIES[name];
    return body === undefined ? undefined : JSON.parse(withIdsOf(JSON.stringify(body)));
  }

  function withIdsOf(text: string): string {
    return text.replaceAll(/\{(\w+)\}/g, (_, name: string) => {
      const id = ids[name];
      if (id === undefined) throw new Error(`no id of kind ${name}: add one to this test`);
      return id;
    });
  }
});

/** Whether it names something of a tenant, in its path, its query or its body. */
function takesId({ method, path }: Operation): boolean {
  const named = JSON.stringify([path, QUERIES[path], BODIES[`${method} ${path}`]]);
  return /\{\w+\}/.test(named);
}

function operations(api: Management): readonly Operation[] {
  const paths = Object.entries<Record<string, Json>>(api.document.paths);
  const all = paths.flatMap(([path, item]) =>
    Object.entries(item).map(([method, operation]) => ({
      method,
      path,
      takesTenant: (operation.parameters ?? []).some(
        (each: Json) => each.in === "query" && each.name === "tenant",
      ),
    })),
  );
  if (all.length < 20) throw new Error("the document lists too few operations to be whole");
  return all;
}
