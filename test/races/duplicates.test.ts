import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { call, type Called } from "../http/http-call.ts";
import { ledgerViolations } from "../store/violations.ts";
import { describeOnPostgres } from "../support/databases.ts";
import { chatAnswer, chatFrames } from "../support/openai-answers.ts";
import {
  startScriptedUpstream,
  type Script,
  type ScriptedUpstream,
} from "../support/scripted-upstream.ts";
import {
  MODEL,
  startTollgateProcess,
  type Tenant,
  type TollgateProcess,
} from "../support/tollgate.ts";

const DUPLICATES = 100;
const USAGE = { input: 3, output: 2 };

const WHOLE: Script = { kind: "json", body: chatAnswer(MODEL, "once", USAGE) };
const STREAM: Script = { kind: "sse", frames: chatFrames(MODEL, ["on", "ce"], USAGE) };

describeOnPostgres("a hundred duplicates at once, on two processes", (database) => {
  let upstream: ScriptedUpstream;
  let processes: readonly TollgateProcess[] = [];
  let tenant: Tenant;
  beforeAll(async () => {
    upstream = await startScriptedUpstream();
    const { address } = database;
    if (address.kind !== "url") throw new Error("races are run on PostgreSQL");
    const adminKey = randomUUID() + randomUUID();
    const options = { databaseUrl: address.url, upstream: upstream.url, adminKey };
    processes = await Promise.all([startTollgateProcess(options), startTollgateProcess(options)]);
  });
  beforeEach(async () => {
    // The other process has heard of it, too, when this is answered.
    tenant = await processes[0]!.tenant();
  });
  afterAll(async () => {
    await Promise.all(processes.map((each) => each.close()));
    await upstream.close();
  });

  /** The same bytes again and again, every second time to the other process. */
  const askAll = (
    path: string,
    body: object,
    headers: Readonly<Record<string, string>> = {},
  ): readonly Promise<Called>[] =>
    Array.from({ length: DUPLICATES }, (_, i) =>
      call(`${processes[i % 2]!.url}${path}`, {
        method: "POST",
        headers: {
          authorization: `Bearer ${tenant.key}`,
          "content-type": "application/json",
          ...headers,
        },
        body: JSON.stringify(body),
      }),
    );
  const chatAll = (headers: Readonly<Record<string, string>>, body: object = {}) =>
    askAll(
      "/v1/chat/completions",
      { model: MODEL, messages: [{ role: "user", content: "Hi" }], ...body },
      headers,
    );
  const isReplay = ({ headers }: Called) => headers["idempotent-replayed"] === "true";
  const codeOf = ({ text }: Called) =>
    (JSON.parse(text) as { readonly error: { readonly code: string } }).error.code;
  const decided = async () => {
    const rows = await database.db.admin`
      select verdict, reason, count(*)::int as count from decisions
      where tenant_id = ${tenant.id} group by verdict, reason order by verdict, reason`;
    return rows.map(({ verdict, reason, count }) => [verdict, reason, count]);
  };
  const nothingViolated = async () =>
    expect(await ledgerViolations(database.db.admin, tenant.id)).toEqual([]);

  test("of a model call are one dispatch; the others are told to wait, and afterwards get its bytes", async () => {
    const release = Promise.withResolvers<void>();
    upstream.otherwise({ ...WHOLE, headersGate: release.promise });
    const before = upstream.journal.length;
    let refused = 0;
    const othersRefused = Promise.withResolvers<void>();
    const asked = chatAll({ "idempotency-key": "all-at-once" });
    for (const each of asked) {
      void each.then(({ status }) => {
        if (status === 409 && (refused += 1) === DUPLICATES - 1) othersRefused.resolve();
      });
    }
    await othersRefused.promise;
    release.resolve();
    const answered = await Promise.all(asked);
    const first = answered.find(({ status }) => status === 200);
    const others = answered.filter(({ status }) => status !== 200);
    expect(first !== undefined && isReplay(first)).toBe(false);
    expect(others.map((each) => [each.status, codeOf(each)])).toEqual(
      Array.from({ length: DUPLICATES - 1 }, () => [409, "idempotency_in_progress"]),
    );
    const later = await Promise.all(
      chatAll({ "idempotency-key": "all-at-once", prefer: "wait=30" }),
    );
    expect(later.every((each) => each.status === 200 && isReplay(each))).toBe(true);
    expect(new Set([first, ...later].map((each) => each?.text)).size).toBe(1);
    expect(upstream.journal.length - before).toBe(1);
    // Each answer has a decision of its own.
    const decisions = await decided();
    expect(decisions[0]).toEqual(["allow", null, 1]);
    expect(decisions.reduce((sum, [, , count]) => sum + Number(count), 0)).toBeGreaterThanOrEqual(
      2 * DUPLICATES,
    );
    await nothingViolated();
  });

  test.each([
    ["an answer", WHOLE, {}],
    ["a stream", STREAM, { stream: true }],
  ] as const)(
    "that wait for %s all get the same bytes, of one dispatch",
    async (_, script, body) => {
      upstream.otherwise(script);
      const before = upstream.journal.length;
      const asked = chatAll({ "idempotency-key": "waiting", prefer: "wait=30" }, body);
      const answered = await Promise.all(asked);
      expect(answered.map(({ status }) => status)).toEqual(answered.map(() => 200));
      expect(answered.filter((each) => !isReplay(each)).length).toBe(1);
      expect(new Set(answered.map(({ text }) => text)).size).toBe(1);
      expect(upstream.journal.length - before).toBe(1);
      await nothingViolated();
    },
  );

  test("of an effect are one grant; the others are told that it is in flight, and afterwards its result", async () => {
    const ask = {
      kind: "tool",
      name: "wire",
      operation: "refund:order-1",
      arguments: { order: 1 },
      estimate_usd: "0",
      include_result: true,
    };
    const answered = await Promise.all(askAll("/api/gate", ask));
    const granted = answered.filter(({ status }) => status === 200);
    expect(granted.length).toBe(1);
    const others = answered.filter(({ status }) => status !== 200);
    expect(new Set(others.map((each) => `${each.status} ${codeOf(each)}`))).toEqual(
      new Set(["409 effect_in_flight"]),
    );
    const { attempt_id: attempt } = JSON.parse(granted[0]?.text ?? "") as { attempt_id: string };
    // Everybody reports it, to both processes, and it ends once.
    const reports = await Promise.all(
      askAll(`/api/attempts/${attempt}/complete`, { result: { wire: 7 } }),
    );
    expect(reports.map(({ status }) => status)).toEqual(reports.map(() => 200));
    const later = await Promise.all(askAll("/api/gate", ask));
    for (const each of later) {
      expect(JSON.parse(each.text)).toMatchObject({
        error: { code: "effect_applied" },
        disposition: "return_prior",
        retry_context: { prior: { attempt_id: attempt, result: { wire: 7 } } },
      });
    }
    expect(await decided()).toEqual([
      ["allow", null, 1],
      ["block", "effect_applied", DUPLICATES],
      ["block", "effect_in_flight", DUPLICATES - 1],
    ]);
    await nothingViolated();
  });
});
