import { afterAll, beforeAll, expect, test } from "vitest";
import { picousd, picousdFromUsd, usdFromPicousd } from "../../src/core/money.ts";
import { describeEachDatabase } from "../support/databases.ts";
import { chatAnswer } from "../support/openai-answers.ts";
import type { Json } from "../support/management.ts";
import type { Tenant } from "../support/tollgate.ts";
import { startDoor, type Door, type Given } from "./door.ts";
import { call } from "./http-call.ts";

const USAGE = { input: 3, output: 2 };

/** Prices in pico-dollars a token, so that costs of a few tokens are told apart at a glance. */
const perMillion = (picousdEach: number) =>
  usdFromPicousd(picousd(BigInt(picousdEach) * 1_000_000n));
const cost = (amount: number) => usdFromPicousd(picousd(BigInt(amount)));

type Line = {
  readonly model: string;
  readonly rates: readonly [input: number, output: number];
  readonly tenant?: string;
  readonly upstream?: string | null;
  readonly more?: string;
};

function fileOf(...lines: readonly Line[]): string {
  const entries = lines.map(
    ({ model, rates: [input, output], tenant, upstream = "up", more = "" }) => {
      const whose = tenant === undefined ? "" : `tenant: "${tenant}", `;
      const where = upstream === null ? "" : `upstream: ${upstream}, `;
      const rates = `usd_per_million: { input: ${perMillion(input)}, output: ${perMillion(output)} }`;
      return `  - { ${whose}${where}model: ${model}, valid_from: 2020-01-01, output_tokens_max: 1000, ${rates}${more} }\n`;
    },
  );
  return `source: a test's own\nprices:\n${entries.join("")}`;
}

describeEachDatabase("the price book", (database) => {
  let door: Door;
  beforeAll(async () => {
    door = await startDoor(database);
  });
  afterAll(() => door.close());

  const api = async (key: string, method: string, path: string, body?: unknown) => {
    const answer = await call(`${door.tollgate.url}/api${path}`, {
      method,
      headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
      body: body === undefined ? null : JSON.stringify(body),
    });
    const read: Json = JSON.parse(answer.text);
    return { status: answer.status, body: read };
  };
  const importing = async (source: string, apply = true) => {
    const answer = await api(door.tollgate.adminKey, "POST", "/prices/import", { source, apply });
    expect(answer.status, JSON.stringify(answer.body)).toBe(200);
    return answer.body;
  };
  /** The attempt of one call, once it is settled. */
  const attemptOf = async (tenant: Tenant, model: string, body: Given["body"] = {}) => {
    const called = await door.chat(tenant.key, { body: { model, max_tokens: 10, ...body } });
    expect(called.status, called.text).toBe(200);
    await door.tollgate.settled();
    return await attemptAt(tenant, String(called.headers["tollgate-decision"]));
  };
  const attemptAt = async (tenant: Tenant, id: string) =>
    (await api(tenant.key, "GET", `/decisions/${id}`)).body;

  test("is compared with a file before it is changed, and then changed by one event", async () => {
    const first = fileOf({ model: "m-one", rates: [10, 100] });
    const compared = await importing(first, false);
    expect(compared).toMatchObject({ applied: false, event: null, changed: [], refused: [] });
    expect(compared.added).toMatchObject([{ model: "m-one", before_version: null }]);
    expect((await importing(first, false)).added).toHaveLength(1);
    const applied = await importing(first);
    expect(applied).toMatchObject({ applied: true, unchanged: 0 });
    const again = await importing(first);
    expect(again).toMatchObject({
      applied: false,
      event: null,
      added: [],
      changed: [],
      unchanged: 1,
    });
    const dearer = await importing(fileOf({ model: "m-one", rates: [15, 100] }));
    expect(dearer.changed).toMatchObject([
      {
        before_version: applied.added[0].version,
        rates: [
          {
            name: "input",
            per: "million",
            before_usd: perMillion(10),
            after_usd: perMillion(15),
            percent: "+50.0",
          },
        ],
      },
    ]);
    const { adminKey } = door.tollgate;
    const { body } = await api(adminKey, "GET", "/prices/imports");
    expect(body.data.slice(0, 2)).toMatchObject([
      { id: dearer.event, kind: "prices.imported", actor: "installation", body: { changed: 1 } },
      { id: applied.event, subject: "a test's own", body: { added: 1, tenants: ["*"] } },
    ]);
  });

  test("takes a file whole, or with a line and a reason not at all", async () => {
    const sound = { model: "m-whole", rates: [1, 1] } as const;
    const broken = fileOf(sound, {
      ...sound,
      model: "m-broken",
      more: ", valid_until: 2019-01-01",
    });
    const answer = await importing(broken);
    expect(answer).toMatchObject({ applied: false, event: null });
    expect(answer.refused).toMatchObject([{ line: 4, message: /after valid_from/ }]);
    const unknown = await importing(fileOf(sound, { ...sound, tenant: "nobody" }));
    expect(unknown.refused).toMatchObject([{ line: 4, message: /no such tenant/ }]);
    const listed = await api(door.tollgate.adminKey, "GET", "/prices?model=m-whole&history=true");
    expect(listed.body.data).toEqual([]);
  });

  test("is the installation's: no key of a tenant imports, or sees the imports", async () => {
    const tenant = await door.tollgate.tenant();
    const { key } = await tenant.newKey({ scopes: ["admin"] });
    const body = { source: fileOf({ model: "m-mine", rates: [0, 0] }), apply: true };
    expect((await api(key, "POST", "/prices/import", body)).status).toBe(403);
    expect((await api(key, "GET", "/prices/imports")).status).toBe(403);
  });

  test("has a tenant's own prices for that tenant alone: where both bound and cost follow them", async () => {
    const [a, b, c] = [
      await door.tollgate.tenant(),
      await door.tollgate.tenant(),
      await door.tollgate.tenant(),
    ];
    await importing(
      fileOf(
        { model: "m-shared", rates: [10, 100] },
        { model: "m-shared", rates: [5, 50], tenant: a.id, upstream: null },
        { model: "m-shared", rates: [6, 60], tenant: b.id, upstream: null },
        { model: "m-shared", rates: [2, 20], tenant: b.id },
      ),
    );
    const paid: Json[] = [];
    for (const tenant of [a, b, c]) paid.push(await attemptOf(tenant, "m-shared"));
    expect(paid.map((attempt) => attempt.cost_usd)).toEqual([cost(115), cost(46), cost(230)]);
    const bytes = Number(paid[0].record.estimate.input_bytes);
    expect(paid.map((attempt) => attempt.estimate_usd)).toEqual([
      cost(bytes * 5 + 500),
      cost(bytes * 2 + 200),
      cost(bytes * 10 + 1_000),
    ]);
    const seenBy = async (key: string) =>
      (await api(key, "GET", "/prices?model=m-shared")).body.data.map((row: Json) => row.tenant);
    expect(await seenBy(a.key)).toEqual([a.id, null]);
    expect((await seenBy(b.key)).filter((id: string | null) => id === b.id)).toHaveLength(2);
    expect(await seenBy(c.key)).toEqual([null]);
    expect(await seenBy(door.tollgate.adminKey)).toHaveLength(4);
  });

  test("keeps bounding the calls of a tenant whose price says no sizes", async () => {
    const tenant = await door.tollgate.tenant();
    const whole = { body: { model: "m-sized", max_tokens: undefined } };
    await importing(fileOf({ model: "m-sized", rates: [10, 100] }));
    expect((await door.chat(tenant.key, whole)).status).toBe(200);
    const line = { model: "m-sized", rates: [5, 50], tenant: tenant.id, upstream: null } as const;
    const unsized = fileOf(line).replace("output_tokens_max: 1000, ", "");
    const { changed } = await importing(unsized);
    expect(changed).toMatchObject([{ rates: [{ name: "input" }, { name: "output" }], sizes: [] }]);
    const negotiated = await door.chat(tenant.key, whole);
    expect(negotiated.status, negotiated.text).toBe(200);
    const sized = await importing(fileOf(line).replace("1000", "400"), false);
    expect(sized.changed[0].sizes).toEqual([
      { name: "output_tokens_max", before: 1_000, after: 400 },
    ]);
  });

  test("names the file of prices, too, where a price has no size", async () => {
    const tenant = await door.tollgate.tenant();
    const file = fileOf({ model: "m-unsized", rates: [10, 100] });
    await importing(file.replace("output_tokens_max: 1000, ", ""));
    const refused = await door.chat(tenant.key, { body: { model: "m-unsized" } });
    const { code, message } = JSON.parse(refused.text).error;
    expect([refused.status, code]).toEqual([403, "cost_unbounded"]);
    expect(message).toContain("`tollgate prices import`");
    expect(message).toContain("tollgate.yaml");
  });

  test("prices nothing anew: neither what is settled nor what is under way", async () => {
    const tenant = await door.tollgate.tenant();
    await importing(fileOf({ model: "m-flight", rates: [10, 100] }));
    const before = await attemptOf(tenant, "m-flight");
    const answering = Promise.withResolvers<void>();
    door.upstream.next(({ model }) => ({
      kind: "json",
      headersGate: answering.promise,
      // The dated model that answers has its price from the name without its date.
      body: chatAnswer(`${model}-2030-01-01`, "ok", USAGE),
    }));
    const arrived = door.upstream.arrived(door.upstream.journal.length + 1);
    const flying = door.chat(tenant.key, { body: { model: "m-flight", max_tokens: 10 } });
    await arrived;
    await importing(fileOf({ model: "m-flight", rates: [1_000, 10_000] }));
    answering.resolve();
    const landed = await flying;
    await door.tollgate.settled();
    const during = await attemptAt(tenant, String(landed.headers["tollgate-decision"]));
    const after = await attemptOf(tenant, "m-flight");
    expect(
      [before, during, after].map((attempt) => [attempt.cost_usd, attempt.overage_usd]),
    ).toEqual([
      [cost(230), "0.00"],
      [cost(230), "0.00"],
      [cost(23_000), "0.00"],
    ]);
    const { id, price_version: version } = before;
    expect(await attemptAt(tenant, id)).toMatchObject({
      cost_usd: cost(230),
      price_version: version,
    });
    expect(during.price_version).toBe(version);
    expect(after.price_version).not.toBe(version);
  });

  test("of the future changes nothing before its day", async () => {
    const tenant = await door.tollgate.tenant();
    const now = fileOf({ model: "m-later", rates: [10, 100] });
    await importing(now);
    await importing(now.replace("2020-01-01", "2099-01-01").replace(perMillion(10), "9.00"));
    expect((await attemptOf(tenant, "m-later")).cost_usd).toBe(cost(230));
    const listed = await api(tenant.key, "GET", "/prices?model=m-later");
    expect(listed.body.data).toHaveLength(1);
    const all = await api(tenant.key, "GET", "/prices?model=m-later&history=true");
    expect(all.body.data.map((row: Json) => row.from.slice(0, 4))).toEqual(["2020", "2099"]);
  });

  test("prices a service tier: bound by the one asked for, paid by the one that answers", async () => {
    const tenant = await door.tollgate.tenant();
    const tiers = ", service_tiers: { flex: { multiplier: 0.5 }, priority: { multiplier: 2.5 } }";
    await importing(fileOf({ model: "m-tiers", rates: [10, 100], more: tiers }));
    const asking = async (asked: string | undefined, served: string) => {
      door.upstream.next(({ model }) => ({
        kind: "json",
        body: { ...chatAnswer(model ?? "", "ok", USAGE), service_tier: served },
      }));
      const attempt = await attemptOf(
        tenant,
        "m-tiers",
        asked === undefined ? {} : { service_tier: asked },
      );
      const tokens: bigint = BigInt(attempt.record.estimate.input_bytes) * 10n + 1_000n;
      const tenths = (picousdFromUsd(attempt.estimate_usd) * 10n) / tokens;
      return [attempt.cost_usd, Number(tenths) / 10, attempt.basis];
    };
    expect(await asking(undefined, "default")).toEqual([cost(230), 1, "computed"]);
    expect(await asking("priority", "priority")).toEqual([cost(575), 2.5, "computed"]);
    expect(await asking("priority", "default")).toEqual([cost(230), 2.5, "computed"]);
    expect(await asking("flex", "flex")).toEqual([cost(115), 1, "computed"]);
    const refused = await door.chat(tenant.key, {
      body: { model: "m-tiers", max_tokens: 10, service_tier: "scale" },
    });
    expect([refused.status, JSON.parse(refused.text).error.param]).toEqual([403, "service_tier"]);
    expect(JSON.parse(refused.text).error.message).toContain("service_tier:scale");
  });

  test("charges what it says, with what the provider says beside it", async () => {
    const tenant = await door.tollgate.tenant();
    await importing(fileOf({ model: "m-told", rates: [10, 100] }));
    door.upstream.next(({ model }) => {
      const body = chatAnswer(model ?? "", "ok", USAGE);
      return { kind: "json", body: { ...body, usage: { ...body.usage, cost: 0.1 + 0.2 } } };
    });
    const attempt = await attemptOf(tenant, "m-told");
    expect(attempt).toMatchObject({
      cost_usd: cost(230),
      provider_cost_usd: "0.30000000000000004",
      basis: "computed",
    });
    expect((await attemptOf(tenant, "m-told")).provider_cost_usd).toBeNull();
  });

  test("charges a request where it has a price", async () => {
    const tenant = await door.tollgate.tenant();
    const file = fileOf({ model: "m-request", rates: [10, 100] });
    await importing(file.replace("output: 0.0001", "requests: 0.001, output: 0.0001"));
    const attempt = await attemptOf(tenant, "m-request");
    expect([attempt.cost_usd, attempt.usage]).toEqual([
      cost(1_230),
      { input: 3, output: 2, requests: 1 },
    ]);
  });
});
