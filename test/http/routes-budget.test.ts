import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ROUTES, type RouteRow } from "../../src/dialects/openai/routes.ts";
import { describeEachDatabase } from "../support/databases.ts";
import { startScriptedUpstream, type ScriptedUpstream } from "../support/scripted-upstream.ts";
import { MODEL, startTollgate, type Tenant, type Tollgate } from "../support/tollgate.ts";
import { call, type Called } from "./http-call.ts";

/** No billable route escapes: the route table itself, against a budget of nothing. */

const BOUNDARY = "tollgate-test";

/** Well formed for every JSON route: what one does not know, it leaves alone. */
const JSON_BODY = JSON.stringify({
  model: MODEL,
  messages: [{ role: "user", content: "Hello" }],
  input: "Hello",
  prompt: "Hello",
  voice: "alloy",
  n: 1,
});

const FORM_BODY = [
  `name="model"\r\n\r\n${MODEL}`,
  'name="prompt"\r\n\r\nA cat',
  'name="file"; filename="a.wav"\r\ncontent-type: audio/wav\r\n\r\nRIFF',
]
  .map((part) => `--${BOUNDARY}\r\ncontent-disposition: form-data; ${part}\r\n`)
  .join("")
  .concat(`--${BOUNDARY}--\r\n`);

type Ask = { readonly method: string; readonly path: string; readonly body: RouteRow["body"] };

/** A request that a row is for: `{id}` is some id, `{conv_}` one that begins so, and `/**` both nothing and something. */
function asksOf({ method, pattern, body }: RouteRow): readonly Ask[] {
  const methods = method === "ANY" ? ["GET", "POST", "PUT", "PATCH", "DELETE"] : [method];
  const path = pattern.replaceAll("{id}", "id_1").replaceAll(/\{(.+?)\}/gu, "$11");
  const paths = path.endsWith("/**")
    ? [path.slice(0, -3), `${path.slice(0, -3)}/id_2`, `${path.slice(0, -3)}/id_2/content`]
    : [path];
  return methods.flatMap((each) => paths.map((one) => ({ method: each, path: one, body })));
}

/** The row that answers for a request is the first that fits: `/videos/**` holds nothing of `/videos`. */
const rowsOf = (billing: RouteRow["billing"]) => ROUTES.filter((row) => row.billing === billing);
const FREE = rowsOf("free").flatMap(asksOf);
const FREE_ANYWHERE = ROUTES.filter(({ freeAt }) => freeAt === "anywhere").flatMap(asksOf);
const FREE_AT_OPENAI = ROUTES.filter(({ freeAt }) => freeAt === "openai").flatMap(asksOf);
const BILLABLE = [...rowsOf("metered"), ...rowsOf("deferred")]
  .flatMap(asksOf)
  // What a row of a whole root holds beside the rows before it.
  .filter(({ method, path }) => !FREE.some((free) => free.method === method && free.path === path));
const UNKNOWN: readonly Ask[] = [
  { method: "POST", path: "/agents/run", body: "none" },
  { method: "GET", path: "/anything/at/all", body: "none" },
  { method: "POST", path: "/chat", body: "none" },
  // Where OpenAI has an id others have an act, which runs models.
  { method: "POST", path: "/chat/completions/batch", body: "none" },
  { method: "POST", path: "/conversations/conv_1/restart", body: "none" },
  { method: "POST", path: "/threads/thread_1/runs/stream", body: "none" },
];

/** Other spellings by which a careless upstream might be reached. */
const SPELLINGS: readonly ((path: string) => string)[] = [
  (path) => `/v1${path}`,
  (path) => path,
  (path) => `/v1${path}/`,
  (path) => `//v1${path}`,
  (path) => `/v1/${path}`,
  (path) => `/run/r-1/v1${path}`,
  (path) => `/run/r-1/step/s-1/v1${path}`,
  (path) => `/openai/v1${path}`,
  (path) => `/openai${path}?api-version=2024-10-21`,
  (path) => `/openai/deployments/${MODEL}${path}`,
  (path) => `/v1${path.toUpperCase()}`,
  (path) => `/v1${path.replace("/", "/%2e/")}`,
  (path) => `/v1/x/..${path}`,
  (path) => `/v1${path}?model=other#x`,
  (path) => `/v1${path.replaceAll(/[a-c]/gu, (c) => `%${c.charCodeAt(0).toString(16)}`)}`,
];

describeEachDatabase("a tenant without money", (database) => {
  let upstream: ScriptedUpstream;
  let tollgate: Tollgate;
  let openai: Tollgate;
  beforeAll(async () => {
    upstream = await startScriptedUpstream();
    upstream.otherwise({ kind: "json", body: { ok: true } });
    tollgate = await startTollgate({ database, upstream: upstream.url });
    openai = await startTollgate({
      database,
      upstream: upstream.url,
      upstreamConfig: { priceList: "openai" },
    });
  });
  afterAll(async () => {
    await openai.close();
    await tollgate.close();
    await upstream.close();
  });

  const ask = (
    tenant: Tenant,
    { method, path, body }: Ask,
    { url }: Tollgate = tollgate,
  ): Promise<Called> => {
    const type = body === "multipart" ? `multipart/form-data; boundary=${BOUNDARY}` : "";
    const payload = body === "multipart" ? FORM_BODY : JSON_BODY;
    return call(`${url}${path}`, {
      method,
      headers: {
        authorization: `Bearer ${tenant.key}`,
        "content-type": type === "" ? "application/json" : type,
      },
      body: method === "GET" ? null : payload,
    });
  };
  const decisionsOf = async ({ id }: Tenant) =>
    await tollgate.ledger<{ verdict: string; reason: string; resource: string }>(
      "select verdict, reason, resource from decisions where tenant_id = $1",
      [id],
    );

  // First, while no call of another test has opened a connection.
  describe("reaches no upstream", () => {
    test("by any billable or unknown route, each of which is refused and recorded", async () => {
      const tenant = await tollgate.tenant();
      await tenant.limit({ scope: "tenant", unit: "usd", limit: 0 });
      // What only OpenAI stores for nothing, another provider may answer with a model.
      const asks = [...BILLABLE, ...UNKNOWN, ...FREE_AT_OPENAI];
      const passed: string[] = [];
      for (const each of asks) {
        const { status, headers } = await ask(tenant, { ...each, path: `/v1${each.path}` });
        const isRefusal = (status === 402 || status === 403) && headers["tollgate-decision"];
        if (isRefusal === undefined || isRefusal === false) {
          passed.push(`${each.method} ${each.path}: ${status}`);
        }
      }
      expect(passed).toEqual([]);
      expect(upstream.connections()).toBe(0);
      const decisions = await decisionsOf(tenant);
      expect(decisions.length).toBe(asks.length);
      expect(decisions.every(({ verdict }) => verdict === "block")).toBe(true);
      const spent = await tollgate.ledger(
        "select from meters where tenant_id = $1 and (committed > 0 or reserved > 0)",
        [tenant.id],
      );
      expect(spent).toEqual([]);
    });

    test("by another spelling of a billable route", async () => {
      const tenant = await tollgate.tenant();
      await tenant.limit({ scope: "tenant", unit: "usd", limit: 0 });
      const statuses = new Set<number>();
      for (const each of rowsOf("metered").flatMap(asksOf)) {
        for (const spell of SPELLINGS) {
          const { status } = await ask(tenant, { ...each, path: spell(each.path) });
          statuses.add(status);
        }
      }
      expect([...statuses].toSorted((a, b) => a - b)).toEqual([400, 402, 403]);
      expect(upstream.connections()).toBe(0);
    });

    test("by any route at all where it may make no request", async () => {
      const tenant = await tollgate.tenant();
      await tenant.limit({ scope: "tenant", unit: "requests", window: "day", limit: 0 });
      const passed: string[] = [];
      for (const each of [...FREE, ...BILLABLE, ...UNKNOWN]) {
        const { status } = await ask(tenant, { ...each, path: `/v1${each.path}` });
        if (status !== 402 && status !== 403) passed.push(`${each.method} ${each.path}: ${status}`);
      }
      expect(passed).toEqual([]);
      expect(upstream.connections()).toBe(0);
    });
  });

  test("passes by every free route, which costs nothing and is recorded", async () => {
    const tenant = await openai.tenant();
    await tenant.limit({ scope: "tenant", unit: "usd", limit: 0 });
    const refused: string[] = [];
    for (const each of FREE) {
      const asked = { ...each, path: `/v1${each.path}` };
      const { status, text } = await ask(tenant, asked, openai);
      if (status !== 200 || text !== '{"ok":true}') refused.push(`${each.method} ${each.path}`);
    }
    expect(refused).toEqual([]);
    const [costs] = await openai.ledger(
      "select count(*)::int as count, sum(cost_picousd)::text as cost from settlements where tenant_id = $1",
      [tenant.id],
    );
    expect(costs).toEqual({ count: FREE.length, cost: "0" });
    expect((await decisionsOf(tenant)).length).toBe(FREE.length);
  });

  test("passes by every route that is free anywhere, whoever answers", async () => {
    const tenant = await tollgate.tenant();
    await tenant.limit({ scope: "tenant", unit: "usd", limit: 0 });
    const refused: string[] = [];
    for (const each of FREE_ANYWHERE) {
      const { status } = await ask(tenant, { ...each, path: `/v1${each.path}` });
      if (status !== 200) refused.push(`${each.method} ${each.path}`);
    }
    expect(refused).toEqual([]);
  });
});
