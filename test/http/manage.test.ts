import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { describeEachDatabase } from "../support/databases.ts";
import {
  ADMIN_KEY,
  createTestManagement,
  type Json,
  type Management,
} from "../support/management.ts";

const LIMIT = { scope: { kind: "tenant" }, unit: "usd", window: "day", limit: "1.50" };

describeEachDatabase("the management API", (database) => {
  let api: Management;
  beforeAll(async () => {
    api = await createTestManagement(database.db);
  });
  afterAll(() => api.close());

  test("a body that is no JSON, no UTF-8, too long, compressed or a form is refused", async () => {
    const { key } = await api.newTenant();
    const send = async (
      body: string | Uint8Array<ArrayBuffer>,
      headers: Record<string, string> = {},
    ) => {
      const all = {
        authorization: `Bearer ${key}`,
        "content-type": "application/json",
        ...headers,
      };
      const answer = await api.send("/api/keys", { method: "POST", headers: all, body });
      return [answer.status, answer.body.error.code];
    };
    expect(await send("{")).toEqual([400, "invalid_json"]);
    expect(await send(new Uint8Array([0x22, 0xff, 0x22]))).toEqual([400, "invalid_json"]);
    expect(await send("[".repeat(200_000))).toEqual([400, "invalid_json"]);
    expect(await send(" ".repeat(300_000))).toEqual([413, "body_too_large"]);
    expect(await send("{}", { "content-encoding": "gzip" })).toEqual([415, "unsupported_encoding"]);
    expect(await send("name=k", { "content-type": "application/x-www-form-urlencoded" })).toEqual([
      415,
      "unsupported_media_type",
    ]);
  });

  test.each(["/api/keys", "/api/gate"])(
    "a body of %s that is begun and falls silent is answered, and not waited for",
    async (path) => {
      const { key } = await api.newTenant();
      const body = new ReadableStream<Uint8Array>({
        start: (stream) => stream.enqueue(Buffer.from("{")),
      });
      const headers = { authorization: `Bearer ${key}`, "content-type": "application/json" };
      const answer = await api.send(path, { method: "POST", headers, body, duplex: "half" });
      expect([answer.status, answer.body.error.code]).toEqual([408, "request_timeout"]);
    },
  );

  test("the key is shown once, works at once, and stops working when revoked", async () => {
    const tenant = await api.newTenant();
    const made = await api.call(tenant.key, "POST", "/api/keys", {
      name: "ci",
      scopes: ["report"],
    });
    expect(made.status).toBe(201);
    expect(made.body.key).toMatch(/^tg_live_/);
    expect((await api.call(made.body.key, "GET", "/api/runs")).status).toBe(200);
    const listed = await api.call(tenant.key, "GET", "/api/keys");
    expect(JSON.stringify(listed.body)).not.toContain(made.body.key.slice(-58));
    const revoked = await api.call(tenant.key, "DELETE", `/api/keys/${made.body.id}`);
    expect(revoked.body).toMatchObject({ id: made.body.id, active: false });
    expect((await api.call(made.body.key, "GET", "/api/runs")).status).toBe(401);
    expect((await api.call(tenant.key, "DELETE", `/api/keys/${made.body.id}`)).status).toBe(200);
    const events = await api.call(tenant.key, "GET", "/api/events");
    const ours = events.body.data.filter((event: Json) => event.subject === made.body.id);
    expect(ours.map((event: Json) => [event.kind, event.actor])).toEqual([
      ["key.revoked", tenant.keyId],
      ["key.created", tenant.keyId],
    ]);
    expect(JSON.stringify(events.body)).not.toContain(made.body.key.slice(-58));
  });

  test("no key makes or rotates one with a scope that it lacks", async () => {
    const tenant = await api.newTenant(["admin"]);
    const wide = await api.call(ADMIN_KEY, "POST", "/api/keys", {
      tenant: tenant.name,
      name: "wide",
      scopes: ["invoke", "admin"],
    });
    expect(wide.status).toBe(201);
    const body = { name: "k", scopes: ["admin", "invoke"] };
    const made = await api.call(tenant.key, "POST", "/api/keys", body);
    expect([made.status, made.body.error.param]).toEqual([403, "scopes"]);
    const rotated = await api.call(tenant.key, "POST", `/api/keys/${wide.body.id}/rotate`, {});
    expect([rotated.status, rotated.body.error.param]).toEqual([403, "scopes"]);
    const keys = await api.call(tenant.key, "GET", "/api/keys");
    expect(keys.body.data).toHaveLength(2);
  });

  test("no key makes or rotates one for a tool that it may not call itself", async () => {
    const tenant = await api.newTenant(["admin"]);
    const make = (key: string, tools?: readonly string[] | null) =>
      api.call(key, "POST", "/api/keys", { name: "k", scopes: ["admin"], tools });
    const wide = await make(tenant.key);
    expect(wide.body.tools).toBeNull();
    const files = await make(tenant.key, ["files/*", "pay/*_balance"]);
    expect(files.body.tools).toEqual(["files/*", "pay/*_balance"]);
    for (const tools of [["files/*"], ["files/read"], ["files/r*", "pay/get_balance"], []]) {
      const made = await make(files.body.key, tools);
      expect([made.status, made.body.tools]).toEqual([201, tools]);
    }
    for (const tools of [undefined, null, ["*"], ["files*"], ["f*/read"], ["files/a", "pay/*"]]) {
      const made = await make(files.body.key, tools);
      expect([tools, made.status, made.body.error.param]).toEqual([tools, 403, "tools"]);
      expect(made.body.error.message).toContain("files/*, pay/*_balance");
    }
    const stolen = await api.call(files.body.key, "POST", `/api/keys/${wide.body.id}/rotate`, {});
    expect([stolen.status, stolen.body.error.param]).toEqual([403, "tools"]);
  });

  test("the tools of a key are kept when it is rotated, listed, told in its event, and judged by", async () => {
    const tenant = await api.newTenant();
    const body = { name: "k", scopes: ["invoke"], tools: ["files/*"] };
    const made = await api.call(tenant.key, "POST", "/api/keys", body);
    const next = await api.call(tenant.key, "POST", `/api/keys/${made.body.id}/rotate`, {});
    expect(next.body.tools).toEqual(["files/*"]);
    const listed = await api.call(tenant.key, "GET", "/api/keys");
    expect(listed.body.data.map((key: Json) => key.tools)).toEqual([
      null,
      ["files/*"],
      ["files/*"],
    ]);
    const events = await api.call(tenant.key, "GET", "/api/events");
    const ours = events.body.data.find((event: Json) => event.subject === next.body.id);
    expect(ours.body.tools).toEqual(["files/*"]);
    const { mayCall } = api.gateway.authority;
    expect(mayCall(next.body.id, "files/read")).toBe(true);
    expect(mayCall(next.body.id, "pay/wire")).toBe(false);
    expect(mayCall(tenant.keyId, "pay/wire")).toBe(true);
  });

  test.each([
    ["too many globs", Array.from({ length: 65 }, (_, index) => `files/${index}`), "tools"],
    ["a glob too long", ["f".repeat(257)], "tools.0"],
    ["an empty glob", [""], "tools.0"],
    ["a glob twice", ["files/*", "files/*"], "tools"],
    ["a line end in a glob", ["files/*\n"], "tools.0"],
    ["a text", "files/*", "tools"],
  ])("a key for tools with %s is refused", async (_what, tools, param) => {
    const tenant = await api.newTenant();
    const body = { name: "k", scopes: ["invoke"], tools };
    const made = await api.call(tenant.key, "POST", "/api/keys", body);
    expect([made.status, made.body.error.param]).toEqual([400, param]);
  });

  test("a rotated key and its successor both work, and there is one successor", async () => {
    const tenant = await api.newTenant();
    const rotated = await api.call(tenant.key, "POST", `/api/keys/${tenant.keyId}/rotate`);
    expect(rotated.body).toMatchObject({ rotated_from: tenant.keyId, name: "first", active: true });
    expect((await api.call(tenant.key, "GET", "/api/runs")).status).toBe(200);
    expect((await api.call(rotated.body.key, "GET", "/api/runs")).status).toBe(200);
    const again = await api.call(tenant.key, "POST", `/api/keys/${tenant.keyId}/rotate`);
    expect(again.status).toBe(409);
  });

  test("each scope opens its own routes and no others", async () => {
    const tenant = await api.newTenant();
    const keyWith = async (scopes: readonly string[]) => {
      const body = { tenant: tenant.id, name: "k", scopes };
      return (await api.call(ADMIN_KEY, "POST", "/api/keys", body)).body.key as string;
    };
    await api.call(tenant.key, "PUT", "/api/runs/r", {});
    const routes: readonly (readonly [string, string, readonly string[]])[] = [
      ["GET", "/api/keys", ["admin"]],
      ["GET", "/api/events", ["admin"]],
      ["POST", "/api/keys", ["admin"]],
      ["POST", "/api/limits", ["admin"]],
      ["POST", "/api/runs/r/stop", ["admin"]],
      ["PUT", "/api/runs/r", ["invoke", "admin"]],
      ["GET", "/api/runs/r", ["report", "admin"]],
      ["GET", "/api/limits", ["report", "admin"]],
      ["GET", "/api/usage", ["report", "admin"]],
      ["GET", "/api/decisions", ["report", "admin"]],
      ["GET", "/api/prices?limit=1", ["invoke", "report", "approve", "admin"]],
    ];
    for (const scope of ["invoke", "report", "approve", "admin"]) {
      const key = await keyWith([scope]);
      for (const [method, path, scopes] of routes) {
        const answer = await api.call(key, method, path, method === "GET" ? undefined : {});
        const isIn = answer.status !== 403;
        expect([scope, method, path, isIn]).toEqual([scope, method, path, scopes.includes(scope)]);
      }
    }
  });

  test("the installation's key names the tenant, by id or name, in query or body", async () => {
    const tenant = await api.newTenant();
    const other = await api.newTenant();
    const absent = await api.call(ADMIN_KEY, "GET", "/api/keys");
    expect(absent.body.error).toMatchObject({
      code: "missing_required_parameter",
      param: "tenant",
    });
    for (const named of [tenant.id, tenant.name]) {
      const path = `/api/keys?tenant=${encodeURIComponent(named)}`;
      expect((await api.call(ADMIN_KEY, "GET", path)).body.data[0].id).toBe(tenant.keyId);
    }
    const unknown = await api.call(ADMIN_KEY, "GET", "/api/keys?tenant=nobody");
    expect([unknown.status, unknown.body.error.param]).toEqual([404, "tenant"]);
    const two = await api.call(ADMIN_KEY, "PUT", `/api/runs/r?tenant=${tenant.id}`, {
      tenant: other.id,
    });
    expect([two.status, two.body.error.param]).toEqual([400, "tenant"]);
    const own = await api.call(
      tenant.key,
      "GET",
      `/api/keys?tenant=${encodeURIComponent(tenant.name)}`,
    );
    expect(own.status).toBe(200);
    const foreign = await api.call(tenant.key, "GET", `/api/keys?tenant=${other.id}`);
    expect([foreign.status, foreign.body.error.param]).toEqual([404, "tenant"]);
  });

  test("two tenants never share a name, and none has the form of an id", async () => {
    const tenant = await api.newTenant();
    const twice = await api.call(ADMIN_KEY, "POST", "/api/tenants", { name: tenant.name });
    expect([twice.status, twice.body.error.param]).toEqual([409, "name"]);
    const id = await api.call(ADMIN_KEY, "POST", "/api/tenants", { name: "ten_of_clubs" });
    expect([id.status, id.body.error.param]).toEqual([400, "name"]);
  });

  describe("money", () => {
    const amounts: readonly (readonly [string, string])[] = [
      ["0.1", "0.10"],
      ["1", "1.00"],
      ['"1.50"', "1.50"],
      ["2.5e-3", "0.0025"],
      ["0.000000000001", "0.000000000001"],
      ["12345678901234.123456789012", "12345678901234.123456789012"],
      ["9007199254740993", "9007199254740993.00"],
      ["0", "0.00"],
    ];
    test.each(amounts)("%s in JSON is held exactly", async (written, shown) => {
      const { key } = await api.newTenant();
      const answer = await api.send("/api/limits", {
        method: "POST",
        headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
        body: `{"scope":{"kind":"tenant"},"unit":"usd","window":"none","limit":${written}}`,
      });
      expect([answer.status, answer.body.limit]).toEqual([201, shown]);
    });
  });

  test("a limit is made as asked, listed with its figures, changed, and removed", async () => {
    const { id: tenant, key } = await api.newTenant();
    const made = await api.call(key, "POST", "/api/limits", {
      ...LIMIT,
      time_zone: "Europe/Berlin",
    });
    expect(made.status).toBe(201);
    expect(made.body).toMatchObject({
      tenant,
      scope: { kind: "tenant", id: null },
      limit: "1.50",
      mode: "enforce",
      on_exceed: "refuse",
      time_zone: "Europe/Berlin",
      committed: "0.00",
      reserved: "0.00",
      remaining: "1.50",
    });
    expect(Date.parse(made.body.resets_at)).toBeGreaterThan(Date.now());
    const same = await api.call(key, "POST", "/api/limits", {
      ...LIMIT,
      limit: 9,
      time_zone: "Europe/Berlin",
    });
    expect(same.status).toBe(409);
    const changed = await api.call(key, "PATCH", `/api/limits/${made.body.id}`, {
      limit: 2,
      mode: "shadow",
    });
    expect(changed.body).toMatchObject({ limit: "2.00", mode: "shadow", notice: null });
    const removed = await api.call(key, "DELETE", `/api/limits/${made.body.id}`);
    expect(removed.body.removed_at).toEqual(expect.any(String));
    expect((await api.call(key, "GET", "/api/limits")).body.data).toEqual([]);
    expect((await api.call(key, "PATCH", `/api/limits/${made.body.id}`, { limit: 3 })).status).toBe(
      404,
    );
    const events = await api.call(key, "GET", "/api/events");
    const change = events.body.data.find((event: Json) => event.kind === "limit.changed");
    expect(change.body).toEqual({
      before: { amount: "1500000000000", mode: "enforce", onExceed: "refuse" },
      after: { amount: "2000000000000", mode: "shadow", onExceed: "refuse" },
    });
  });

  test("a tenant's alerts are at the parts that it names, each once", async () => {
    const { key, id } = await api.newTenant();
    const change = (percents: readonly unknown[]) =>
      api.call(key, "PATCH", `/api/tenants/${id}`, { alert_percents: percents });
    expect((await api.call(key, "GET", `/api/tenants/${id}`)).body.alert_percents).toEqual([
      50, 80, 100,
    ]);
    const changed = await change([90, 25]);
    expect([changed.status, changed.body.alert_percents]).toEqual([200, [25, 90]]);
    expect((await change([])).body.alert_percents).toEqual([]);
    const eleven = Array.from({ length: 11 }, (_, n) => n + 1);
    for (const wrong of [[0], [101], [12.5], ["50"], [50, 50], eleven]) {
      const answer = await change(wrong);
      expect([wrong, answer.status]).toEqual([wrong, 400]);
      expect(answer.body.error.param).toMatch(/^alert_percents/);
    }
    const events = await api.call(key, "GET", "/api/events");
    expect(
      events.body.data.find((event: Json) => event.kind === "tenant.changed").body,
    ).toMatchObject({
      before: { alert_percents: [25, 90] },
      after: { alert_percents: [] },
    });
  });

  test("so many limits that one call could not lock them all are refused", async () => {
    const { key } = await api.newTenant();
    const statuses: number[] = [];
    const windows = ["none", "minute", "hour", "day", "week", "month"];
    for (const unit of ["usd", "tokens", "requests"]) {
      for (const kind of ["tenant", "each_run"]) {
        for (const window of windows) {
          const body = { scope: { kind }, unit, window, limit: 1 };
          statuses.push((await api.call(key, "POST", "/api/limits", body)).status);
        }
      }
    }
    expect(statuses.filter((status) => status === 201)).toHaveLength(23);
    expect(statuses.at(-1)).toBe(409);
  });

  test("a change of keys or limits raises the revision, a refused one does not", async () => {
    const { key } = await api.newTenant();
    const revision = async () => {
      const [row] = await database.db.admin`select revision from installation`;
      return row?.["revision"] as bigint;
    };
    const before = await revision();
    await api.call(key, "POST", "/api/limits", LIMIT);
    const after = await revision();
    expect(after).toBe(before + 1n);
    await api.call(key, "POST", "/api/limits", LIMIT);
    expect(await revision()).toBe(after);
  });

  test("lists page to the end without losing or repeating a row", async () => {
    const tenant = await api.newTenant();
    for (let i = 0; i < 4; i += 1) {
      await api.call(tenant.key, "POST", "/api/keys", { name: `k${i}`, scopes: ["invoke"] });
      await api.call(tenant.key, "PUT", `/api/runs/run ${i}`, {});
    }
    for (const [path, total] of [
      ["/api/keys", 5],
      ["/api/runs", 4],
      ["/api/events", 10],
    ] as const) {
      const seen: string[] = [];
      let cursor: string | null = null;
      do {
        const after: string = cursor === null ? "" : `&cursor=${encodeURIComponent(cursor)}`;
        const page = await api.call(tenant.key, "GET", `${path}?limit=2${after}`);
        seen.push(...page.body.data.map((row: Json) => row.id));
        cursor = page.body.next;
      } while (cursor !== null);
      expect([path, seen.length, new Set(seen).size]).toEqual([path, total, total]);
    }
  });

  test("prices are told per million units, current or all, of one upstream or model", async () => {
    const { key } = await api.newTenant();
    const one = await api.call(key, "GET", "/api/prices?upstream=openai&model=gpt-4o");
    expect(one.body.data).toHaveLength(1);
    expect(one.body.data[0].usd_per_million).toMatchObject({ input: "2.50", output: "10.00" });
    const all = await api.call(key, "GET", "/api/prices?limit=3");
    expect(all.body.data).toHaveLength(3);
    const behind = await api.call(key, "GET", `/api/prices?limit=1&cursor=${all.body.next}`);
    expect(behind.body.data[0].version).not.toBe(all.body.data[2].version);
  });

  test("the page of the API works offline and under a policy without inline script", async () => {
    const page = await api.send("/docs", {});
    expect(page.headers.get("content-security-policy")).toContain("script-src 'self'");
    expect(page.body).not.toMatch(/<script>|https?:\/\/|\son\w+=/);
    for (const [, file] of page.body.matchAll(/(?:src|href)="([^"]+)"/g)) {
      expect([file, (await api.send(file, {})).status]).toEqual([file, 200]);
    }
    expect((await api.send("/docs/package.json", {})).status).toBe(404);
    expect((await api.send("/docs/..%2fpackage.json", {})).status).toBe(404);
    const document = await api.send("/openapi.json", {});
    expect(document.body.openapi).toBe("3.1.0");
  });
});
