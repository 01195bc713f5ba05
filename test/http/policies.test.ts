import { createHash } from "node:crypto";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createLedger } from "../../src/ledger/ledger.ts";
import { describeEachDatabase } from "../support/databases.ts";
import { policies, policy } from "../support/judging.ts";
import type { Json } from "../support/management.ts";
import { chatAnswer } from "../support/openai-answers.ts";
import { startScriptedUpstream, type ScriptedUpstream } from "../support/scripted-upstream.ts";
import { MODEL, startTollgate, type Tenant, type Tollgate } from "../support/tollgate.ts";
import { call, type Called } from "./http-call.ts";

/** Policies over HTTP: stored, activated, judging at the door, looked back at, and judged again. */

const RED = policy(
  "no-red",
  "labels.team == 'red'",
  "effect: block, reason: 'Red is closed.', on_error: skip",
);

describeEachDatabase("policies", (database) => {
  let upstream: ScriptedUpstream;
  let tollgate: Tollgate;
  beforeAll(async () => {
    upstream = await startScriptedUpstream();
    upstream.otherwise({ kind: "json", body: chatAnswer(MODEL, "ok", { input: 3, output: 2 }) });
    tollgate = await startTollgate({ database, upstream: upstream.url, aliases: { small: MODEL } });
  });
  afterAll(async () => {
    await tollgate.close();
    await upstream.close();
  });

  type Api = (
    method: string,
    path: string,
    body?: object,
  ) => Promise<{ status: number; body: Json }>;
  const apiOf =
    (tenant: Tenant): Api =>
    async (method, path, body) => {
      const mark = path.includes("?") ? "&" : "?";
      const answer = await fetch(`${tollgate.url}/api${path}${mark}tenant=${tenant.id}`, {
        method,
        headers: {
          authorization: `Bearer ${tollgate.adminKey}`,
          "content-type": "application/json",
        },
        ...(method === "GET" ? {} : { body: JSON.stringify(body ?? {}) }),
      });
      const text = await answer.text();
      const isJson = answer.headers.get("content-type")?.startsWith("application/json") === true;
      return { status: answer.status, body: isJson ? JSON.parse(text) : text };
    };
  const chat = (
    tenant: Tenant,
    headers: Readonly<Record<string, string>> = {},
    body: object = {},
  ): Promise<Called> =>
    call(`${tollgate.url}/v1/chat/completions`, {
      method: "POST",
      headers: {
        authorization: `Bearer ${tenant.key}`,
        "content-type": "application/json",
        ...headers,
      },
      body: JSON.stringify({
        model: MODEL,
        messages: [{ role: "user", content: "Hi" }],
        max_tokens: 20,
        ...body,
      }),
    });
  const enforce = async (api: Api, source: string): Promise<string> => {
    const applied = await api("POST", "/policies", { source });
    expect(applied.status).toBe(201);
    const { version } = applied.body;
    expect((await api("POST", `/policies/${version}/activate`)).status).toBe(200);
    return version;
  };
  const decisionOf = ({ headers }: Called): string => String(headers["tollgate-decision"]);

  test("judge nothing until they are activated, then every call, and none after", async () => {
    const tenant = await tollgate.tenant();
    const api = apiOf(tenant);
    const red = { "tollgate-labels": "team=red" };
    const applied = await api("POST", "/policies", { source: policies(RED) });
    const { version } = applied.body;
    expect(applied.body).toMatchObject({ active: false, created: true });
    const before = await chat(tenant, red);
    expect([before.status, before.headers["tollgate-policy-version"]]).toEqual([200, "none"]);
    expect((await api("POST", `/policies/${version}/activate`)).body).toEqual({
      before: null,
      after: version,
    });
    const refused = await chat(tenant, red);
    expect(refused.status).toBe(403);
    expect(JSON.parse(refused.text).error).toMatchObject({
      code: "policy_denied",
      message: "Policy `no-red` blocks this: Red is closed.",
    });
    expect(refused.headers["x-should-retry"]).toBe("false");
    expect(refused.headers["tollgate-policy-version"]).toBe(version.slice(0, 16));
    const passed = await chat(tenant, { "tollgate-labels": "team=blue" });
    expect([passed.status, passed.headers["tollgate-policy-version"]]).toEqual([
      200,
      version.slice(0, 16),
    ]);
    await api("POST", "/policies/deactivate");
    expect((await chat(tenant, red)).status).toBe(200);
    const { data } = (await api("GET", "/events")).body;
    expect(data.slice(0, 3).map(({ kind, body }: Json) => [kind, body])).toEqual([
      ["policies.deactivated", { before: { version }, after: { version: null } }],
      ["policies.activated", { before: { version: null }, after: { version } }],
      ["policies.applied", { policies: ["no-red"] }],
    ]);
  });

  test("one tenant's judge no other's calls, and are not there for it", async () => {
    const [one, other] = [await tollgate.tenant(), await tollgate.tenant()];
    const version = await enforce(apiOf(one), policies(policy("all", "true")));
    expect((await chat(one)).status).toBe(403);
    expect((await chat(other)).status).toBe(200);
    expect((await apiOf(other)("GET", `/policies/${version}`)).status).toBe(404);
    expect((await apiOf(other)("POST", `/policies/${version}/activate`)).status).toBe(404);
  });

  test("a broken bundle is told with its places, and is not stored", async () => {
    const tenant = await tollgate.tenant();
    const api = apiOf(tenant);
    const source = policies(policy("a", "run.attemps > 1"), policy("b", "nothing"));
    const checked = await api("POST", "/policies/check", { source });
    expect(checked.body).toMatchObject({
      valid: false,
      version: null,
      problems: [
        { line: 2, message: "when: No such key: attemps (at character 5)" },
        { line: 3, message: "when: Unknown variable: nothing" },
      ],
    });
    const applied = await api("POST", "/policies", { source });
    expect([applied.status, applied.body.error.param]).toEqual([400, "source"]);
    expect(applied.body.error.message).toMatch(/^line 2, column \d+: when: No such key/u);
    expect((await api("GET", "/policies")).body.data).toEqual([]);
  });

  test("a NUL in a bundle is refused before the database sees it", async () => {
    const api = apiOf(await tollgate.tenant());
    const source = `${policies(policy("a", "true"))}# \0`;
    for (const path of ["/policies", "/policies/check", "/policies/backtest"]) {
      const answer = await api("POST", path, { source });
      expect([path, answer.status, answer.body.error.param]).toEqual([path, 400, "source"]);
      expect(answer.body.error.message).toMatch(/without NUL/u);
    }
  });

  test("a tenant judges one period again at a time, and others meanwhile", async () => {
    const ledger = createLedger(tollgate.db);
    const [first, second] = [await tollgate.tenant(), await tollgate.tenant()];
    const now = await ledger.now();
    const part = { from: now, to: now, run: null, after: null, rows: null };
    const judge = ({ id }: Tenant) => ledger.backtest(id, { part, candidate: null });
    const [ran, refused, other] = await Promise.allSettled([first, first, second].map(judge));
    expect([ran?.status, other?.status]).toEqual(["fulfilled", "fulfilled"]);
    expect(refused).toMatchObject({ status: "rejected", reason: { code: "conflict" } });
    expect((await judge(first)).decisions).toBe(0);
  });

  test("are found by the beginning of a version, for ever, in the words they were written in", async () => {
    const api = apiOf(await tollgate.tenant());
    const source = `# Why there is only one.\n${policies(RED)}`;
    const version = await enforce(api, source);
    const again = await api("POST", "/policies", { source: `# Other words.\n${policies(RED)}` });
    expect(again.body).toMatchObject({ version, created: false, source });
    await enforce(api, policies(policy("other", "true")));
    const shown = await api("GET", `/policies/${version.slice(0, 16)}`);
    expect(shown.body).toMatchObject({ version, active: false, source });
    expect((await api("GET", "/policies/active")).body.policies[0].id).toBe("other");
    const listed = (await api("GET", "/policies")).body.data;
    expect(listed.map((row: Json) => row.active)).toEqual([true, false]);
    const diff = await api("GET", `/policies/diff?from=${version}&to=active`);
    expect(diff.body.changes.map(({ id, change }: Json) => `${id} ${change}`)).toEqual([
      "no-red removed",
      "other added",
    ]);
  });

  test("the regulator's question has a full answer after the policy was edited and deleted", async () => {
    const tenant = await tollgate.tenant();
    const api = apiOf(tenant);
    const source = `# As it was on that day.\n${policies(
      RED,
      policy("dear", 'estimate.cost > usd("1")', "effect: require_approval, name: Dear calls"),
      policy("watch", "request.choices > 0", "effect: block, mode: shadow, risk: 7"),
      policy("steps", "true", "effect: block, applies_to: { doors: [step] }"),
      policy("small", "true", "effect: allow, risk: 12, reason: 'Asked by {key.id}.'"),
    )}`;
    const version = await enforce(api, source);
    const allowed = await chat(tenant, { "tollgate-labels": "team=blue" });
    const refused = await chat(tenant, { "tollgate-labels": "team=red" });
    expect([allowed.status, refused.status]).toEqual([200, 403]);
    // Edited, then deleted.
    await enforce(api, policies(policy("no-red", "true", "effect: block, reason: 'New words.'")));
    await enforce(api, policies(policy("small", "true", "effect: allow")));

    const decision = (await api("GET", `/decisions/${decisionOf(allowed)}`)).body;
    expect(decision.record.policy_version).toBe(version);
    expect(
      decision.record.policies.map(({ id, result, effect, mode }: Json) => [
        id,
        result,
        effect,
        mode,
      ]),
    ).toEqual([
      ["no-red", "not_matched", "block", "enforce"],
      ["dear", "not_matched", "require_approval", "enforce"],
      ["watch", "matched", "block", "shadow"],
      ["steps", "not_applicable", "block", "enforce"],
      ["small", "matched", "allow", "enforce"],
    ]);
    const text = decision.explanation.join("\n");
    expect(text).toContain(`5 policies were in force, in version ${version}.`);
    expect(text).toMatch(
      /^Policy small \([0-9a-f]{32}\) matched, and it allows, on its terms: Asked by key_/mu,
    );
    expect(text).toMatch(/^Evaluated and not matched: no-red, dear\.$/mu);
    expect(text).toMatch(
      /^In shadow, policy watch \([0-9a-f]{32}\) matched; enforced, it would have blocked/mu,
    );
    expect(text).toMatch(/^Not about such a call: steps\.$/mu);
    expect(text).toContain("Its risk score was 12 of 100: policy:small 12.");
    const no = (await api("GET", `/decisions/${decisionOf(refused)}`)).body;
    expect(no.explanation.join("\n")).toMatch(
      /blocked \(policy_denied\)[\s\S]*Policy no-red \([0-9a-f]{32}\) matched, and it blocks: Red is closed\./u,
    );
    expect((await api("GET", `/policies/${version}`)).body.source).toBe(source);
    for (const each of [allowed, refused]) {
      const replay = (await api("POST", `/decisions/${decisionOf(each)}/replay`)).body;
      expect(replay).toMatchObject({ equal: true, differs: [], why: null });
    }
    const now = await api("POST", `/decisions/${decisionOf(refused)}/replay`, {
      version: "active",
    });
    expect(now.body).toMatchObject({
      equal: false,
      recorded: { verdict: "block" },
      now: { verdict: "pass" },
    });
  });

  test("an obligation lowers the output, visibly, and another sends the call to another model", async () => {
    const tenant = await tollgate.tenant();
    const api = apiOf(tenant);
    await enforce(
      api,
      policies(
        policy("clamp", "true", "effect: allow, obligations: { max_output_tokens: 16 }"),
        policy(
          "route",
          "resource.name == 'small'",
          `effect: allow, obligations: { model: up/other }`,
        ),
      ),
    );
    const clamped = await chat(tenant, {}, { max_tokens: 500 });
    expect([clamped.status, clamped.headers["tollgate-output-clamped"]]).toEqual([200, "16"]);
    const sent = () =>
      JSON.parse(Buffer.from(upstream.journal.at(-1)!.body).toString()) as Record<string, unknown>;
    expect(sent()).toMatchObject({ max_tokens: 16 });
    // The other model has no price: a policy widens no budget.
    const rerouted = await chat(tenant, {}, { model: "small" });
    expect([rerouted.status, JSON.parse(rerouted.text).error.code]).toEqual([403, "price_unknown"]);
    await enforce(
      api,
      policies(
        policy(
          "route",
          "resource.name == 'cheap'",
          `effect: allow, obligations: { model: ${MODEL} }`,
        ),
      ),
    );
    const other = await chat(tenant, {}, { model: "cheap" });
    expect([other.status, other.headers["tollgate-model"]]).toEqual([200, MODEL]);
    expect(sent()).toMatchObject({ model: MODEL });
    const replay = await api("POST", `/decisions/${decisionOf(other)}/replay`);
    expect(replay.body.equal).toBe(true);
  });

  test("a policy that has a call go to a model that nobody serves lets it go nowhere", async () => {
    const served = await startTollgate({
      database,
      upstream: upstream.url,
      upstreamConfig: { models: [MODEL] },
    });
    try {
      const tenant = await served.tenant();
      const lost = "effect: allow, obligations: { model: lost }";
      await tollgate.gateway.authority.refresh();
      await enforce(apiOf(tenant), policies(policy("away", "true", lost)));
      await served.gateway.authority.refresh();
      const before = upstream.journal.length;
      const refused = await served
        .client(tenant.key)
        .chat.completions.create({ model: MODEL, messages: [{ role: "user", content: "Hi" }] })
        .catch((error: unknown) => error);
      expect(refused).toMatchObject({ status: 403, code: "evaluator_unavailable" });
      expect(upstream.journal).toHaveLength(before);
      const [row] = await tollgate.rows<{ id: string }>(
        "select attempt_id as id from decisions where tenant_id = $1",
        [tenant.id],
      );
      const replay = await apiOf(tenant)("POST", `/decisions/${row?.id}/replay`);
      expect(replay.body).toMatchObject({
        equal: true,
        recorded: { reason: "evaluator_unavailable" },
      });
    } finally {
      await served.close();
    }
  });

  test("a call that needs approval does not pass without one", async () => {
    const tenant = await tollgate.tenant();
    const api = apiOf(tenant);
    await enforce(api, policies(policy("ask", "true", "effect: require_approval")));
    await tenant.newKey({ scopes: ["approve"] });
    const before = upstream.journal.length;
    const held = await chat(tenant);
    expect([held.status, JSON.parse(held.text).error.code]).toEqual([403, "approval_required"]);
    expect(upstream.journal).toHaveLength(before);
    const { explanation } = (await api("GET", `/decisions/${decisionOf(held)}`)).body;
    expect(explanation.join("\n")).toMatch(
      /^Approval apr_\S+ is pending: nobody has approved it\.$/mu,
    );
    expect((await api("POST", `/decisions/${decisionOf(held)}/replay`)).body.equal).toBe(true);
  });

  test.each([
    ["a small body", 10],
    ["a body that is read in a worker", 400 * 1024],
  ])(
    "a secret in %s is found, wherever it stands, and is recorded as a kind alone",
    async (_what, length) => {
      const tenant = await tollgate.tenant();
      const api = apiOf(tenant);
      const secrets = "detectors.secrets > 0 || !detectors.complete";
      await enforce(
        api,
        policies(policy("no-secrets", secrets, "effect: block, reason: '{detectors.kinds}'")),
      );
      const secret = ["AK", "IAQWERTYUIOPASDFGH"].join("");
      const padding = "word ".repeat(length / 5);
      const hidden = { messages: [{ role: "user", content: padding, name: secret }] };
      expect(
        (await chat(tenant, {}, { messages: [{ role: "user", content: padding }] })).status,
      ).toBe(200);
      const refused = await chat(tenant, {}, hidden);
      expect([refused.status, JSON.parse(refused.text).error.message]).toEqual([
        403,
        "Policy `no-secrets` blocks this: aws_access_key",
      ]);
      const { record, explanation } = (await api("GET", `/decisions/${decisionOf(refused)}`)).body;
      expect(record.findings).toEqual({
        found: [{ kind: "aws_access_key", group: "secrets", count: 1 }],
        complete: true,
        outside: ["aws_access_key"],
      });
      expect(explanation).toContain("The detectors found aws_access_key (1).");
      expect(JSON.stringify(record)).not.toContain(secret);
      expect((await api("POST", `/decisions/${decisionOf(refused)}/replay`)).body.equal).toBe(true);
    },
  );

  test("judge a step by its arguments, which are kept where a policy reads them and nowhere else", async () => {
    const tenant = await tollgate.tenant();
    const api = apiOf(tenant);
    const ask = async (args?: object) => {
      const answer = await call(`${tollgate.url}/api/gate`, {
        method: "POST",
        headers: { authorization: `Bearer ${tenant.key}`, "content-type": "application/json" },
        body: JSON.stringify({
          kind: "tool",
          name: "wire",
          estimate_usd: "0",
          ...(args === undefined ? {} : { arguments: args }),
        }),
      });
      const id = decisionOf(answer);
      return { status: answer.status, decision: (await api("GET", `/decisions/${id}`)).body };
    };
    await enforce(api, policies(policy("a", "request.stream")));
    expect((await ask({ amount: 1 })).decision.record.arguments).toBeUndefined();
    await enforce(
      api,
      policies(
        policy("large", "arguments != null && has(arguments.amount) && arguments.amount > 1000"),
        policy("secret", "detectors.secrets > 0 || !detectors.complete"),
      ),
    );
    const rows = [
      [await ask({ amount: 1_001 }), "policy_denied"],
      [await ask({ amount: 1_000 }), null],
      [await ask({ note: ["AK", "IAQWERTYUIOPASDFGH"].join("") }), "policy_denied"],
      [await ask(), null],
      [await ask({ note: "x".repeat(5_000) }), "evaluator_unavailable"],
    ] as const;
    for (const [{ decision }, reason] of rows) {
      expect(decision.reason).toBe(reason);
      expect((await api("POST", `/decisions/${decision.id}/replay`)).body).toMatchObject({
        equal: true,
        why: null,
      });
    }
    expect(rows[0][0].decision.record.arguments).toEqual({ amount: 1_001 });
    expect(rows[4][0].decision.record.arguments).toBeUndefined();
  });

  test("see the number that the posting gives, also where only the client's library counts", async () => {
    const tenant = await tollgate.tenant();
    await enforce(apiOf(tenant), policies(policy("no-retries", "retry.attempt > 1")));
    const first = await chat(tenant, {}, { user: "counted" });
    expect(first.status).toBe(200);
    const counted = { "x-stainless-retry-count": "2" };
    const refused = await chat(tenant, counted, { user: "counted by its library" });
    expect([refused.status, refused.headers["tollgate-attempt"]]).toEqual([403, "3"]);
  });

  test("look at what went before, where they read it", async () => {
    const tenant = await tollgate.tenant();
    const api = apiOf(tenant);
    await enforce(api, policies(policy("twice", "run.attempts >= 2 || run.spend > usd('1')")));
    const run = { "tollgate-run": "history" };
    const statuses = [];
    for (const most of [20, 21, 22]) {
      const answer = await chat(tenant, run, { max_tokens: most });
      await tollgate.gateway.settled();
      statuses.push(answer.status);
      expect((await api("POST", `/decisions/${decisionOf(answer)}/replay`)).body.equal).toBe(true);
    }
    expect(statuses).toEqual([200, 200, 403]);
  });

  test("a content that was changed in the store lets nothing pass", async () => {
    const tenant = await tollgate.tenant();
    const version = `pol_${"0".repeat(64)}`;
    await tollgate.rows(
      `insert into policy_bundles (tenant_id, version, content, source, created_by)
       values ($1, $2, '{"description":"","policies":[]}', '', 'x')`,
      [tenant.id, version],
    );
    await apiOf(tenant)("POST", `/policies/${version}/activate`);
    const refused = await chat(tenant);
    expect([refused.status, JSON.parse(refused.text).error.code]).toEqual([
      403,
      "evaluator_unavailable",
    ]);
  });

  test("a candidate is judged over what was recorded, with the cost of what it would have blocked", async () => {
    const tenant = await tollgate.tenant();
    const api = apiOf(tenant);
    await chat(tenant, { "tollgate-labels": "team=red" });
    await chat(tenant, { "tollgate-labels": "team=red" }, { max_tokens: 21 });
    await chat(tenant, { "tollgate-labels": "team=blue" });
    await enforce(api, policies(policy("no-blue", "labels.team == 'blue'")));
    await chat(tenant, { "tollgate-labels": "team=blue" });
    await tollgate.gateway.settled();

    const replayed = (await api("POST", "/replay", {})).body;
    expect(replayed).toMatchObject({
      decisions: 4,
      unchanged: 4,
      changed: 0,
      unknowable: 0,
      next: null,
    });

    const tested = (await api("POST", "/policies/backtest", { source: policies(RED) })).body;
    // 3 tokens in at 10 pico-dollars and 2 out at 100, twice.
    expect(tested).toMatchObject({
      decisions: 4,
      unchanged: 1,
      changed: 3,
      would_block_usd: "0.00000000046",
      newly_allowed: 1,
      next: null,
    });
    expect(tested.changes.map(({ before, after }: Json) => `${before} ${after}`)).toEqual([
      "allow block",
      "allow block",
      "block allow",
    ]);
    const parts = [];
    for (let cursor: string | null = null; ;) {
      const body: object = {
        source: policies(RED),
        rows: 3,
        ...(cursor === null ? {} : { cursor }),
      };
      const part: Json = (await api("POST", "/policies/backtest", body)).body;
      parts.push([part.decisions, part.changed]);
      cursor = part.next;
      if (cursor === null) break;
    }
    expect(parts).toEqual([
      [3, 2],
      [1, 1],
    ]);
    const unseen = policies(policy("a", "detectors.secrets > 0"));
    expect((await api("POST", "/policies/backtest", { source: unseen })).body).toMatchObject({
      changed: 0,
      unknowable: 4,
    });
  });

  test("what shadow policies and shadow limits would have done is reported", async () => {
    const tenant = await tollgate.tenant();
    const api = apiOf(tenant);
    const limitId = await tenant.limit({
      scope: "tenant",
      unit: "requests",
      limit: 1,
      mode: "shadow",
    });
    await enforce(api, policies(RED.replace(" }\n", ", mode: shadow }\n")));
    for (const team of ["red", "blue", "red"]) {
      expect((await chat(tenant, { "tollgate-labels": `team=${team}` })).status).toBe(200);
      await tollgate.gateway.settled();
    }
    const report = (await api("GET", "/policies/shadow-report")).body;
    expect(report.policies).toMatchObject([
      {
        id: "no-red",
        effect: "block",
        judged: 3,
        matched: 2,
        failed: 0,
        matched_usd: "0.00000000046",
      },
    ]);
    expect(report.limits).toMatchObject([{ limit_id: limitId, met: 3, refused: 2 }]);
  });

  test("a run is exported in parts that add up, with the policies that judged it", async () => {
    const tenant = await tollgate.tenant();
    const api = apiOf(tenant);
    const version = await enforce(api, policies(RED));
    for (const most of [20, 21, 22])
      await chat(tenant, { "tollgate-run": "r" }, { max_tokens: most });
    await tollgate.gateway.settled();
    const decisions = [];
    for (let cursor = ""; ;) {
      const part = await api("GET", `/runs/r/export?limit=2${cursor}`);
      expect(part.status).toBe(200);
      const text: string = part.body;
      const lines = text.trimEnd().split("\n");
      const manifest = JSON.parse(lines.at(-1)!);
      const bytes = text.slice(0, text.lastIndexOf("\n", text.length - 2) + 1);
      expect(manifest.sha256).toBe(createHash("sha256").update(bytes).digest("hex"));
      expect(manifest.lines).toBe(lines.length - 1);
      const parsed = lines.slice(0, -1).map((line) => JSON.parse(line));
      expect(parsed[0]).toMatchObject({ kind: "policies", version });
      decisions.push(...parsed.slice(1).map(({ id }: Json) => id));
      if (manifest.next === null) break;
      cursor = `&cursor=${manifest.next}`;
    }
    expect(new Set(decisions).size).toBe(3);
    expect((await api("GET", "/runs/nobody/export")).status).toBe(404);
    await api("PUT", "/runs/idle");
    expect(JSON.parse((await api("GET", "/runs/idle/export")).body)).toMatchObject({
      kind: "manifest",
      decisions: 0,
      next: null,
    });
  });

  test("every decision of all these tenants, judged again, is what it was", async () => {
    await tollgate.gateway.settled();
    const tenants = await tollgate.rows<{ id: string }>("select tenant_id as id from tenants");
    let decisions = 0;
    for (const { id } of tenants) {
      const answer = await fetch(`${tollgate.url}/api/replay?tenant=${id}`, {
        method: "POST",
        headers: {
          authorization: `Bearer ${tollgate.adminKey}`,
          "content-type": "application/json",
        },
        body: "{}",
      });
      const sum = (await answer.json()) as Json;
      expect(sum).toMatchObject({ changed: 0, changes: [], next: null });
      // What was judged by a content that is not what its version says stays so.
      expect(sum.unknowable_because).toEqual({});
      decisions += sum.decisions;
    }
    expect(decisions).toBeGreaterThan(30);
  });
});
