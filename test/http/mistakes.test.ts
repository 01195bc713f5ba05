import { afterAll, beforeAll, expect, test } from "vitest";
import { describeEachDatabase } from "../support/databases.ts";
import { createTestManagement, type Management } from "../support/management.ts";

type Row = {
  readonly name: string;
  readonly method: string;
  readonly path: string;
  readonly body?: unknown;
  readonly expected: readonly [status: number, code?: string, param?: string | null];
};

const LIMIT = { scope: { kind: "tenant" }, unit: "usd", window: "day", limit: "1.50" };

/** Requests of a tenant's administrator that are refused, each for one mistake. */
const MISTAKES: readonly Row[] = [
  mistake(
    "an unknown member",
    "POST",
    "/api/keys",
    { name: "k", scopes: ["invoke"], admin: true },
    [400, "unknown_parameter", "admin"],
  ),
  mistake(
    "the id of a key set from outside",
    "POST",
    "/api/keys",
    { name: "k", scopes: ["invoke"], id: "key_x" },
    [400, "unknown_parameter", "id"],
  ),
  mistake(
    "a nested unknown member",
    "POST",
    "/api/limits",
    { ...LIMIT, scope: { kind: "tenant", tenant_id: "x" } },
    [400, "unknown_parameter", "scope.tenant_id"],
  ),
  mistake("a missing member", "POST", "/api/keys", { scopes: ["invoke"] }, [
    400,
    "missing_required_parameter",
    "name",
  ]),
  mistake("a scope that is none", "POST", "/api/keys", { name: "k", scopes: ["root"] }, [
    400,
    "invalid_value",
    "scopes.0",
  ]),
  mistake("no scope", "POST", "/api/keys", { name: "k", scopes: [] }, [
    400,
    "invalid_value",
    "scopes",
  ]),
  mistake("a name with a line break", "POST", "/api/keys", { name: "a\nb", scopes: ["invoke"] }, [
    400,
    "invalid_value",
    "name",
  ]),
  mistake("a name with NUL", "POST", "/api/keys", { name: "a\u0000b", scopes: ["invoke"] }, [
    400,
    "invalid_value",
    "name",
  ]),
  mistake(
    "an expiry in the past",
    "POST",
    "/api/keys",
    { name: "k", scopes: ["invoke"], expires_at: "2001-01-01T00:00:00Z" },
    [400, "invalid_value", "expires_at"],
  ),
  mistake(
    "an expiry beyond the calendar",
    "POST",
    "/api/keys",
    { name: "k", scopes: ["invoke"], expires_at: "9999-12-31T23:59:59-23:59" },
    [400, "invalid_value", "expires_at"],
  ),
  mistake("a body that is a list", "POST", "/api/keys", [1], [400, "invalid_value", null]),
  mistake("an amount that is none", "POST", "/api/limits", { ...LIMIT, limit: "a lot" }, [
    400,
    "invalid_value",
    "limit",
  ]),
  mistake(
    "an amount finer than a pico-dollar",
    "POST",
    "/api/limits",
    { ...LIMIT, limit: "0.0000000000001" },
    [400, "invalid_value", "limit"],
  ),
  mistake("a negative amount", "POST", "/api/limits", { ...LIMIT, limit: -1 }, [
    400,
    "invalid_value",
    "limit",
  ]),
  mistake("half a request", "POST", "/api/limits", { ...LIMIT, unit: "requests", limit: 1.5 }, [
    400,
    "invalid_value",
    "limit",
  ]),
  mistake(
    "a limit on a key without its id",
    "POST",
    "/api/limits",
    { ...LIMIT, scope: { kind: "key" } },
    [400, "missing_required_parameter", "scope.id"],
  ),
  mistake(
    "a limit on a key that is none",
    "POST",
    "/api/limits",
    { ...LIMIT, scope: { kind: "key", id: "key_none" } },
    [404, "not_found", "scope.id"],
  ),
  mistake(
    "a limit on the tenant that names one",
    "POST",
    "/api/limits",
    { ...LIMIT, scope: { kind: "tenant", id: "x" } },
    [400, "invalid_value", "scope.id"],
  ),
  mistake("in flight per day", "POST", "/api/limits", { ...LIMIT, unit: "in_flight", limit: 2 }, [
    400,
    "invalid_value",
    "window",
  ]),
  mistake(
    "a budget of retries of a model without a name",
    "POST",
    "/api/limits",
    { ...LIMIT, unit: "attempts", limit: 2, resource: "model:" },
    [400, "invalid_value", "resource"],
  ),
  mistake(
    "requests that are clamped",
    "POST",
    "/api/limits",
    { ...LIMIT, unit: "requests", limit: 2, on_exceed: "clamp" },
    [400, "invalid_value", "on_exceed"],
  ),
  mistake(
    "a time zone that is none",
    "POST",
    "/api/limits",
    { ...LIMIT, time_zone: "Mars/Olympus" },
    [400, "invalid_value", "time_zone"],
  ),
  mistake("labels that are numbers", "PUT", "/api/runs/r", { labels: { a: 1 } }, [
    400,
    "invalid_value",
    "labels.a",
  ]),
  mistake("a run that is its own parent", "PUT", "/api/runs/own", { parent: "own" }, [
    400,
    "invalid_value",
    "parent",
  ]),
  mistake("a parent that is none", "PUT", "/api/runs/r", { parent: "nobody" }, [
    404,
    "not_found",
    "parent",
  ]),
  mistake("a parameter given twice", "GET", "/api/keys?limit=1&limit=2", undefined, [
    400,
    "invalid_value",
    "limit",
  ]),
  mistake("an unknown parameter", "GET", "/api/keys?tenants=all", undefined, [
    400,
    "unknown_parameter",
    "tenants",
  ]),
  mistake("a page too large", "GET", "/api/keys?limit=1001", undefined, [
    400,
    "invalid_value",
    "limit",
  ]),
  mistake("a page of nothing", "GET", "/api/keys?limit=0", undefined, [
    400,
    "invalid_value",
    "limit",
  ]),
  mistake(
    "a period that ends before it begins",
    "GET",
    "/api/usage?from=2026-02-01&to=2026-01-01",
    undefined,
    [400, "invalid_value", "from"],
  ),
  mistake("a period of years", "GET", "/api/usage?from=2020-01-01&to=2026-01-01", undefined, [
    400,
    "invalid_value",
    "from",
  ]),
  mistake("a day before the calendar", "GET", "/api/usage?from=0000-01-01", undefined, [
    400,
    "invalid_value",
    "from",
  ]),
  mistake("a tenant's key that makes tenants", "POST", "/api/tenants", { name: "mine" }, [
    403,
    "forbidden",
    null,
  ]),
];

describeEachDatabase("a mistake in a management request", (database) => {
  let api: Management;
  beforeAll(async () => {
    api = await createTestManagement(database.db);
  });
  afterAll(() => api.close());

  test.each(MISTAKES)("$name is refused and named", async ({ method, path, body, expected }) => {
    const tenant = await api.newTenant();
    const answer = await api.call(tenant.key, method, path, body);
    const [status, code, param] = expected;
    expect(answer.body).toMatchObject({ error: { code, param, message: expect.any(String) } });
    expect(answer.status).toBe(status);
  });
});

function mistake(
  name: string,
  method: string,
  path: string,
  body: unknown,
  expected: Row["expected"],
): Row {
  return { name, method, path, body, expected };
}
