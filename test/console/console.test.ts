import { request } from "node:http";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { createConsole } from "../../src/console/console.ts";
import { createBodyBudget } from "../../src/entry/body-node.ts";
import { readForm } from "../../src/entry/console-form.ts";
import { TERMS } from "../../src/entry/exchange-node.ts";
import { createWebExchange } from "../../src/entry/worker/exchange-web.ts";
import { resetClock, setClock } from "../support/clock.ts";
import { describeEachDatabase } from "../support/databases.ts";
import { startTollgate, type Tenant, type Tollgate } from "../support/tollgate.ts";

/** What the console promises to whoever signs in, and refuses to everybody else, by HTTP as it is. */

type Sent = {
  readonly cookie?: string;
  readonly form?: Readonly<Record<string, string>>;
  readonly headers?: Readonly<Record<string, string>>;
};

describeEachDatabase("the console", (database) => {
  let tollgate: Tollgate;
  let ours: Tenant;
  let theirs: Tenant;
  beforeAll(async () => {
    tollgate = await startTollgate({ database });
    [ours, theirs] = [await tollgate.tenant(), await tollgate.tenant()];
  });
  afterAll(() => tollgate.close());

  const ask = (path: string, { cookie, form, headers = {} }: Sent = {}) =>
    fetch(`${tollgate.url}/console${path}`, {
      method: form === undefined ? "GET" : "POST",
      redirect: "manual",
      headers: {
        ...(cookie === undefined ? {} : { cookie }),
        ...(form === undefined ? {} : { origin: tollgate.url }),
        ...headers,
      },
      ...(form === undefined ? {} : { body: new URLSearchParams(form) }),
    });
  const signIn = async (key: string, headers: Sent["headers"] = {}) => {
    const answer = await ask("/sign-in", { form: { key }, headers });
    const [set = ""] = answer.headers.getSetCookie();
    return { answer, set, cookie: set.split(";")[0] ?? "" };
  };
  const csrfOf = async (cookie: string, path: string) => {
    const text = await (await ask(path, { cookie })).text();
    return /name="csrf" value="([^"]+)"/u.exec(text)?.[1] ?? "";
  };

  test("asks who is not signed in for a key, and then leads to the page that was asked for", async () => {
    const answer = await ask("/runs?search=a");
    expect(answer.status).toBe(303);
    const to = answer.headers.get("location") ?? "";
    expect(to).toBe(`/console/sign-in?next=${encodeURIComponent("/console/runs?search=a")}`);
    const page = await (await fetch(`${tollgate.url}${to}`)).text();
    expect(page).toContain('value="/console/runs?search=a"');
    const form = { key: ours.key, next: "/console/runs?search=a" };
    const entered = await ask("/sign-in", { form });
    expect(entered.headers.get("location")).toBe("/console/runs?search=a");
  });

  test.each([
    ["https://evil.example/", "/console"],
    ["//evil.example/", "/console"],
    ["/console/../x", "/console"],
    ["/consoles", "/console"],
    ["/console\\@evil.example", "/console/@evil.example"],
    ["/console/runs\r\nset-cookie: a=b", "/console/runsset-cookie:%20a=b"],
  ])("leads to no other place after signing in: %j", async (next, to) => {
    const answer = await ask("/sign-in", { form: { key: ours.key, next } });
    expect([answer.status, answer.headers.get("location")]).toEqual([303, to]);
  });

  test("keeps the key in a sealed cookie that no script, other site or other path sees", async () => {
    const plain = await signIn(ours.key);
    expect(plain.set).toMatch(/; Max-Age=43200; Path=\/console; HttpOnly; SameSite=Strict$/u);
    expect(plain.set).not.toContain(ours.key.slice(8, 30));
    expect(
      Buffer.from(plain.cookie.split("=")[1] ?? "", "base64url").toString("latin1"),
    ).not.toContain("tg_live");
    const secure = await signIn(ours.key, { "x-forwarded-proto": "https" });
    expect(secure.set).toContain("; Secure");
    const last = plain.cookie.at(-2) === "A" ? "B" : "A";
    const changed = `${plain.cookie.slice(0, -2)}${last}${plain.cookie.at(-1)}`;
    expect((await ask("/runs", { cookie: plain.cookie })).status).toBe(200);
    expect((await ask("/runs", { cookie: changed })).status).toBe(303);
  });

  test("shows what was adjusted beside what was spent, and a run that is stopped as stopped", async () => {
    const tenant = await tollgate.tenant();
    const { key } = await tenant.newKey({ scopes: ["report", "admin"] });
    await tenant.run("over");
    await tenant.stop("over");
    const headers = { authorization: `Bearer ${key}`, "content-type": "application/json" };
    const body = JSON.stringify({ amount_usd: "18.50", reason: "support plan" });
    const posted = await fetch(`${tollgate.url}/api/adjustments`, {
      method: "POST",
      headers,
      body,
    });
    expect(posted.ok).toBe(true);
    const { cookie } = await signIn(key);
    const overview = await (await ask("", { cookie })).text();
    expect(overview).toMatch(/Spent today[\s\S]*?adjusted \$18\.50; /u);
    expect(overview).toMatch(/Spent in 30 days[\s\S]*?adjusted \$18\.50; /u);
    expect(await (await ask("/runs/over", { cookie })).text()).toMatch(/badge \w+">stopped</u);
  });

  test("shows nothing of another tenant, whatever is asked for", async () => {
    const limit = await theirs.limit({ scope: "tenant", unit: "usd", limit: 1 });
    await theirs.run("their-run");
    const { cookie } = await signIn((await ours.newKey({ scopes: ["report", "admin"] })).key);
    const paths = [`/budgets/${limit}`, "/runs/their-run", `/keys/${theirs.keyId}`];
    for (const path of [...paths, ...paths.map((one) => `${one}?tenant=${theirs.id}`)]) {
      const answer = await ask(path, { cookie });
      expect([path, answer.status]).toEqual([path, 404]);
      expect(await answer.text()).not.toContain("$1.00");
    }
    const csrf = await csrfOf(cookie, "/keys");
    const revoke = await ask(`/keys/${theirs.keyId}/revoke`, { cookie, form: { csrf } });
    expect(revoke.status).toBe(404);
    expect((await theirs.client.models.list()).data.length).toBeGreaterThan(0);
  });

  test("says where a budget is going as the report of budgets does", async () => {
    const tenant = await tollgate.tenant();
    const { admin } = tollgate.db;
    const [month, day, requests] = [
      await tenant.limit({ scope: "tenant", unit: "usd", window: "month", limit: 1_000 }),
      await tenant.limit({ scope: "tenant", unit: "usd", window: "day", limit: 7 }),
      await tenant.limit({ scope: "tenant", unit: "requests", window: "month", limit: 1_000 }),
    ];
    // The same moment for the report and for the pages.
    await setClock(tollgate.db, new Date());
    for (const [limit, window, committed] of [
      [month, "month", "123"],
      [day, "day", `${7n * 10n ** 12n}`],
      [requests, "month", "500"],
    ]) {
      await admin`
        insert into meters (tenant_id, limit_id, subject, window_start, reserved, committed)
        values (${tenant.id}, ${limit ?? ""}, '', tollgate_window_start(${window ?? ""}, tollgate_now(), 'UTC'), 0,
                ${committed ?? ""}::text::numeric)`;
    }
    const headers = { authorization: `Bearer ${tenant.key}` };
    const answer = await fetch(`${tollgate.url}/api/reports/budgets`, { headers });
    const { rows } = (await answer.json()) as { rows: { limit_id: string; forecast: string }[] };
    const forecast = rows.find(({ limit_id: id }) => id === month)?.forecast ?? "none";
    const { cookie } = await signIn(tenant.key);
    const texts: string[] = [];
    for (const path of ["/budgets", `/budgets/${month}`, `/budgets/${day}`]) {
      texts.push(await (await ask(path, { cookie })).text());
    }
    const [all, ofMonth, ofDay] = texts;
    expect(ofMonth).toMatch(
      new RegExp(`\\$${forecast.replace(".", "\\.")}\\D[^\\n]*at the end`, "u"),
    );
    expect(ofDay).toContain("used up");
    expect(all?.match(/At this pace/gu)).toHaveLength(2);
    expect(await (await ask(`/budgets/${requests}`, { cookie })).text()).not.toContain(
      "At this pace",
    );
    await resetClock(tollgate.db);
  });

  test("takes no form without its token, of another session, or from another place", async () => {
    const { key } = await ours.newKey({ scopes: ["admin", "report"] });
    const { cookie } = await signIn(key);
    const other = await signIn(key);
    const csrf = await csrfOf(cookie, "/keys");
    expect(csrf).not.toBe("");
    const name = "made by somebody else";
    const form = { csrf, name, scope: "admin" };
    const wrong: readonly Sent[] = [
      { cookie, form: { name, scope: "admin" } },
      { cookie, form: { ...form, csrf: await csrfOf(other.cookie, "/keys") } },
      { cookie, form, headers: { origin: "https://evil.example" } },
      { cookie, form, headers: { origin: "null" } },
      { cookie, form, headers: { "sec-fetch-site": "cross-site" } },
      { cookie, form, headers: { "sec-fetch-site": "same-site" } },
      { cookie, form, headers: { "sec-fetch-site": "none" } },
    ];
    for (const sent of wrong) expect((await ask("/keys", sent)).status).toBe(403);
    const page = await (await ask("/keys", { cookie })).text();
    expect(page).not.toContain(name);
    const made = await ask("/keys", { cookie, form, headers: { "sec-fetch-site": "same-origin" } });
    expect([made.status, made.headers.get("location")]).toEqual([303, "/console/keys"]);
    expect(await (await ask("/keys", { cookie })).text()).toContain(name);
  });

  test("takes a form that is sent twice once", async () => {
    const { cookie } = await signIn((await ours.newKey({ scopes: ["admin", "report"] })).key);
    const form = {
      csrf: await csrfOf(cookie, "/keys"),
      once: "twice-0123456789",
      name: "twice",
      scope: "report",
    };
    for (const _ of [1, 2]) expect((await ask("/keys", { cookie, form })).status).toBe(303);
    const page = await (await ask("/keys", { cookie })).text();
    expect(page.match(/>twice</gu)).toHaveLength(1);
  });

  test("signs out whose key was revoked, at the next page, and says why", async () => {
    const made = await ours.newKey({ scopes: ["report"] });
    const { cookie } = await signIn(made.key);
    expect((await ask("/runs", { cookie })).status).toBe(200);
    await ours.revoke(made.id);
    const answer = await ask("/runs", { cookie });
    expect(answer.status).toBe(401);
    expect(await answer.text()).toContain("You were signed out.");
    expect(answer.headers.getSetCookie().join()).toContain(
      "tollgate_console=; Max-Age=0; Path=/console",
    );
  });

  test("offers no form to who reads only, and does not speak of one", async () => {
    const fresh = await tollgate.tenant();
    const { cookie } = await signIn((await fresh.newKey({ scopes: ["report"] })).key);
    for (const path of ["/budgets", "/policies"]) {
      expect(await (await ask(path, { cookie })).text(), path).not.toMatch(/below\.|<textarea/u);
    }
    expect(await (await ask("/decisions", { cookie })).text()).toContain("Nothing was asked yet.");
  });

  test("shows a key what its scopes allow, and says what they do not", async () => {
    const { cookie } = await signIn((await ours.newKey({ scopes: ["approve"] })).key);
    const page = await (await ask("", { cookie })).text();
    expect([...page.matchAll(/<li><a href="\/console([^"]*)"/gu)].map(([, path]) => path)).toEqual(
      expect.arrayContaining(["/approvals", "/prices"]),
    );
    expect(page).not.toContain('href="/console/keys"');
    const answer = await ask("/keys", { cookie });
    expect(answer.status).toBe(403);
    expect(await answer.text()).toContain("admin");
  });

  test("lets the installation's key choose a tenant, and acts on that one only", async () => {
    const { cookie } = await signIn(tollgate.adminKey);
    expect((await ask("/budgets", { cookie })).headers.get("location")).toBe("/console/tenants");
    const tenants = await (await ask("/tenants", { cookie })).text();
    expect(tenants).toContain(`/console?tenant=${ours.id}`);
    const path = `/budgets?tenant=${ours.id}`;
    const csrf = await csrfOf(cookie, path);
    const form = {
      csrf,
      scope: "tenant",
      unit: "usd",
      window: "week",
      limit: "3.21",
      mode: "enforce",
    };
    const more = { on_exceed: "refuse", time_zone: "UTC" };
    const made = await ask(path, { cookie, form: { ...form, ...more } });
    expect(made.headers.get("location")).toBe(`/console${path}`);
    expect(await (await ask(path, { cookie })).text()).toContain("$3.21");
    expect(await (await ask(`/budgets?tenant=${theirs.id}`, { cookie })).text()).not.toContain(
      "$3.21",
    );
    expect((await ask("/budgets?tenant=nobody", { cookie })).status).toBe(404);
  });

  test("hands the API's own table of outcomes on as a file, and only to whom it answers", async () => {
    const told = await tollgate.tenant();
    const admin = (await told.newKey({ scopes: ["admin", "invoke"] })).key;
    const headers = { authorization: `Bearer ${admin}`, "content-type": "application/json" };
    const api = (path: string, body?: object) =>
      fetch(`${tollgate.url}/api${path}`, {
        headers,
        ...(body === undefined ? {} : { method: "POST", body: JSON.stringify(body) }),
      });
    await api("/outcome-types", { name: "ticket_resolved" });
    await told.run("ticket-1");
    const outcome = { type: "ticket_resolved", status: "success" };
    expect((await api("/runs/ticket-1/outcome", outcome)).status).toBe(201);

    const { cookie } = await signIn(admin);
    // What another test's transaction holds back of the roll-ups, in its own database, comes a moment later.
    const file = await vi.waitFor(
      async () => {
        const answer = await ask("/outcomes.csv?period=90_days&group_by=type,day", { cookie });
        expect(await answer.clone().text()).toContain("ticket_resolved");
        return answer;
      },
      { timeout: 20_000, interval: 100 },
    );
    expect(file.status).toBe(200);
    expect(file.headers.get("content-type")).toBe("text/csv; charset=utf-8");
    expect(file.headers.get("content-disposition")).toBe(
      'attachment; filename="cost-per-outcome.csv"',
    );
    expect(file.headers.get("cache-control")).toBe("no-store");
    const text = await file.text();
    const moment = String.raw`(\d{4}-[\d-]+T[\d:.]+Z)`;
    const [, from = "", to = ""] = new RegExp(`,${moment},${moment},UTC`, "u").exec(text) ?? [];
    const asked = new URLSearchParams({ from, to, group_by: "type,day", format: "csv" });
    const direct = await (await api(`/reports/cost-per-outcome?${asked.toString()}`)).text();
    const timeless = (csv: string) => csv.replaceAll(/UTC,[\d-]+T[\d:.]+Z/gu, "UTC,as_of");
    expect(timeless(text)).toBe(timeless(direct));

    expect((await ask("/outcomes.csv")).headers.get("location")).toContain(
      "/console/sign-in?next=",
    );
    const wrong = await ask("/outcomes.csv?group_by=nothing", { cookie });
    expect([wrong.status, wrong.headers.get("content-disposition")]).toEqual([400, null]);
    const voter = await signIn((await told.newKey({ scopes: ["approve"] })).key);
    expect((await ask("/outcomes.csv", { cookie: voter.cookie })).status).toBe(403);
    const other = await signIn((await ours.newKey({ scopes: ["report"] })).key);
    const theirFile = await ask(`/outcomes.csv?tenant=${told.id}`, { cookie: other.cookie });
    expect(await theirFile.text()).not.toContain("ticket_resolved");
  });

  test("says what an outcome is where there is none, and how to tell the first", async () => {
    const nobody = await tollgate.tenant();
    const { cookie } = await signIn((await nobody.newKey({ scopes: ["report"] })).key);
    const page = await (await ask("/outcomes", { cookie })).text();
    expect(page).toContain("No outcome occurred in this period");
    expect(page).toContain("npx tollgate outcome-types create");
    expect(page).toContain("npx tollgate outcomes record");
  });

  test("has no page that is not there, and its style sheet for everybody", async () => {
    const { cookie } = await signIn(ours.key);
    expect((await ask("/nothing", { cookie })).status).toBe(404);
    expect((await ask("/style.css")).headers.get("content-type")).toBe("text/css; charset=utf-8");
  });
});

describeEachDatabase("signing in to the console", (database) => {
  let tollgate: Tollgate;
  let tenant: Tenant;
  beforeAll(async () => {
    tollgate = await startTollgate({ database });
    tenant = await tollgate.tenant();
  });
  afterAll(() => tollgate.close());

  /** A console of its own, whose clock and visitors are the test's; it calls the API of the real one. */
  const consoleAt = (clock: { now: Date }, seal = 7, database = { isAway: false }) => {
    const app = createConsole({
      sealingKey: new Uint8Array(32).fill(seal),
      now: () => clock.now,
      faulted: (error) => {
        throw error;
      },
    });
    return (path: string, init: RequestInit = {}, address = "192.0.2.1") => {
      const request = new Request(`http://gate.example/console${path}`, init);
      const call = (asked: Request) => {
        const { pathname, search } = new URL(asked.url);
        const { method, headers } = asked;
        if (database.isAway) return Response.json({ error: AWAY }, { status: 503 });
        return fetch(`${tollgate.url}${pathname}${search}`, { method, headers });
      };
      const { exchange } = createWebExchange(request, createBodyBudget(TERMS));
      const form = (bytesMax: number) => readForm(exchange, bytesMax);
      return Promise.resolve(app.fetch(request, { call, form, address }));
    };
  };
  const AWAY = { message: "Try again shortly.", code: "unavailable" };
  const signInWith = (key: string): RequestInit => ({
    method: "POST",
    headers: { "sec-fetch-site": "same-origin" },
    body: new URLSearchParams({ key }),
  });

  test("holds for twelve hours and no longer", async () => {
    const clock = { now: new Date("2030-01-01T08:00:00Z") };
    const ask = consoleAt(clock);
    const signed = await ask("/sign-in", signInWith(tenant.key));
    expect(signed.status).toBe(303);
    const headers = { cookie: signed.headers.getSetCookie()[0]?.split(";")[0] ?? "" };
    clock.now = new Date("2030-01-01T19:59:59Z");
    expect((await ask("/prices", { headers })).status).toBe(200);
    clock.now = new Date("2030-01-01T20:00:00Z");
    expect((await ask("/prices", { headers })).status).toBe(303);
  });

  test("holds in every process that seals with the same key, and in no other", async () => {
    const clock = { now: new Date() };
    const signed = await consoleAt(clock)("/sign-in", signInWith(tenant.key));
    const headers = { cookie: signed.headers.getSetCookie()[0]?.split(";")[0] ?? "" };
    expect((await consoleAt(clock)("/prices", { headers })).status).toBe(200);
    expect((await consoleAt(clock, 8)("/prices", { headers })).status).toBe(303);
  });

  test("takes ten wrong keys a minute from one address, and others' all the same", async () => {
    const clock = { now: new Date("2030-01-01T08:00:00Z") };
    const ask = consoleAt(clock);
    for (let time = 0; time < 10; time += 1) {
      expect((await ask("/sign-in", signInWith(`wrong-${time}`))).status).toBe(401);
    }
    const refused = await ask("/sign-in", signInWith(tenant.key));
    expect([refused.status, refused.headers.get("retry-after")]).toEqual([429, "60"]);
    expect((await ask("/sign-in", signInWith(tenant.key), "192.0.2.2")).status).toBe(303);
    clock.now = new Date("2030-01-01T08:01:00Z");
    expect((await ask("/sign-in", signInWith(tenant.key))).status).toBe(303);
  });

  test("counts no key as wrong while nobody can say whether it is", async () => {
    const away = { isAway: true };
    const ask = consoleAt({ now: new Date("2030-01-01T08:00:00Z") }, 7, away);
    for (let time = 0; time < 12; time += 1) {
      const refused = await ask("/sign-in", signInWith(tenant.key));
      expect(refused.status).toBe(503);
      expect(await refused.text()).toContain(AWAY.message);
    }
    away.isAway = false;
    expect((await ask("/sign-in", signInWith(tenant.key))).status).toBe(303);
  });

  test("says of a form whose session is over that nothing was done", async () => {
    const ask = consoleAt({ now: new Date() });
    const sent = { ...signInWith(""), body: new URLSearchParams({ limit: "5" }) };
    const answer = await ask("/budgets", sent);
    expect(answer.status).toBe(401);
    expect(await answer.text()).toContain("nothing was done");
  });

  test("gives up a form whose sender falls silent", async () => {
    const { exchange } = createWebExchange(
      new Request("http://gate.example/console/sign-in", {
        method: "POST",
        body: new ReadableStream({ start: (stream) => stream.enqueue(Buffer.from("key=")) }),
        duplex: "half",
      }),
      createBodyBudget({ ...TERMS, idleMsMax: 20 }),
    );
    expect(await readForm(exchange, 1_000)).toMatchObject({ kind: "refused", status: 408 });
  });

  test("takes a form by chunks, none at all, and methods that it does not know", async () => {
    const asked = async (method: string, headers: Record<string, string>, body?: string) =>
      await new Promise((tell, fail) => {
        const sent = request(`${tollgate.url}/console/sign-in`, { method, headers }, (answer) => {
          answer.resume();
          tell(answer.statusCode);
        });
        sent.once("error", fail);
        sent.end(body);
      });
    const here = { origin: tollgate.url };
    const chunked = { ...here, "transfer-encoding": "chunked" };
    expect(await asked("POST", chunked, `key=${tenant.key}`)).toBe(303);
    expect(await asked("POST", chunked, "x".repeat(600_000))).toBe(413);
    expect(await asked("POST", { ...here, "content-length": "0" })).toBe(401);
    expect(await asked("DELETE", {})).toBe(404);
    expect(await asked("OPTIONS", {})).toBe(404);
  });

  test("refuses a form that is longer than any", async () => {
    const ask = consoleAt({ now: new Date() });
    expect((await ask("/sign-in", signInWith("x".repeat(600_000)))).status).toBe(413);
  });

  test.each(["", "two words", "ключ", "x".repeat(1_025)])(
    "says what is no key: %j",
    async (key) => {
      const ask = consoleAt({ now: new Date() });
      const answer = await ask("/sign-in", signInWith(key));
      expect(answer.status).toBe(401);
      expect(await answer.text()).toContain("This is no key");
    },
  );
});
