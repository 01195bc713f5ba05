import { afterAll, beforeAll, expect, test } from "vitest";
import { createLedger } from "../../src/ledger/ledger.ts";
import type { BacktestView } from "../../src/ledger/backtest.ts";
import { describeOnPostgres } from "../support/databases.ts";
import { policies, policy } from "../support/judging.ts";
import { chatAnswer } from "../support/openai-answers.ts";
import { startScriptedUpstream, type ScriptedUpstream } from "../support/scripted-upstream.ts";
import { MODEL, startTollgate, type Tollgate } from "../support/tollgate.ts";

const DECISIONS = 20_000;

describeOnPostgres("a backtest over 20,000 recorded decisions", (database) => {
  let upstream: ScriptedUpstream;
  let tollgate: Tollgate;
  beforeAll(async () => {
    upstream = await startScriptedUpstream();
    upstream.otherwise({ kind: "json", body: chatAnswer(MODEL, "ok", { input: 3, output: 2 }) });
    tollgate = await startTollgate({ database, upstream: upstream.url });
  });
  afterAll(async () => {
    await tollgate.close();
    await upstream.close();
  });

  test("lists what changes, and adds up to the pico-dollar", async () => {
    const tenant = await tollgate.tenant();
    const ledger = createLedger(tollgate.db);
    const ask = (team: string) =>
      tenant.client.chat.completions.create(
        { model: MODEL, messages: [{ role: "user", content: team }], max_tokens: 20 },
        { headers: { "tollgate-labels": `team=${team}` } },
      );
    await ask("red");
    await ask("blue");
    await tollgate.gateway.settled();
    // The same two calls, as often as that, under ids of their own.
    const copy = (table: string, columns: string) =>
      tollgate.rows(
        `insert into ${table} (tenant_id, attempt_id, ${columns})
         select o.tenant_id, left(o.attempt_id, 14) || left(md5(o.attempt_id || n), 16), ${columns}
         from ${table} o, generate_series(1, ${DECISIONS / 2 - 1}) as n
         where o.tenant_id = $1`,
        [tenant.id],
      );
    await copy(
      "decisions",
      "key_id, run_id, attempt, door, operation, resource, upstream, model, verdict, reason, decided_at, estimate_picousd, price_version, meters, record",
    );
    await copy(
      "settlements",
      "line, ending, basis, cost_picousd, reserved_picousd, overage_picousd, tokens, price_version, usage, record, meter_ids, meter_units, settled_at",
    );
    const source = policies(
      policy("no-red", "labels.team == 'red'"),
      ...Array.from({ length: 19 }, (_, i) =>
        policy(`p${i}`, `estimate.cost > usd("${i + 1}") && resource.name.startsWith("m")`),
      ),
    );
    const candidate = await ledger.candidate(tenant.id, { source, version: null });
    const now = await ledger.now();
    const period = { from: new Date(now.getTime() - 3_600_000), to: new Date(now.getTime() + 1) };
    const parts: BacktestView[] = [];
    for (let after: string | null = null; ;) {
      const part: BacktestView = await ledger.backtest(tenant.id, {
        part: { ...period, run: null, after, rows: null },
        candidate,
      });
      parts.push(part);
      after = part.next;
      if (after === null) break;
    }
    const sum = (read: (part: BacktestView) => number) =>
      parts.reduce((total, part) => total + read(part), 0);
    expect(sum(({ decisions }) => decisions)).toBe(DECISIONS);
    expect(sum(({ changed }) => changed)).toBe(DECISIONS / 2);
    expect(sum(({ changes, changes_left_off: left }) => changes.length + left)).toBe(DECISIONS / 2);
    expect(sum(({ unknowable }) => unknowable)).toBe(0);
    // 3 tokens at 10 and 2 at 100 pico-dollars, of each red call.
    const picousd = parts.reduce(
      (total, part) =>
        total +
        BigInt(part.would_block_usd.replace(".", "")) *
          10n ** BigInt(12 - (part.would_block_usd.split(".")[1] ?? "").length),
      0n,
    );
    expect(picousd).toBe(BigInt(DECISIONS / 2) * 230n);
  }, 180_000);

  test("leaves the loop to others while it judges a page by dear policies", async () => {
    const tenant = await tollgate.tenant();
    const ledger = createLedger(tollgate.db);
    await tenant.client.chat.completions.create({
      model: MODEL,
      messages: [{ role: "user", content: "hello" }],
      max_tokens: 20,
    });
    await tollgate.gateway.settled();
    const columns =
      "key_id, run_id, attempt, door, operation, resource, upstream, model, verdict, reason, decided_at, estimate_picousd, price_version, meters, record";
    await tollgate.rows(
      `insert into decisions (tenant_id, attempt_id, ${columns})
       select tenant_id, left(attempt_id, 14) || left(md5(attempt_id || n), 16), ${columns}
       from decisions, generate_series(1, 249) as n where tenant_id = $1`,
      [tenant.id],
    );
    const list = `[${Array.from({ length: 25 }, (_, i) => i).join(", ")}]`;
    const when = `${list}.all(i, ${list}.all(j, i + j >= 0))`;
    const source = policies(...Array.from({ length: 5 }, (_, i) => policy(`p${i}`, when)));
    const candidate = await ledger.candidate(tenant.id, { source, version: null });
    const now = await ledger.now();
    const period = { from: new Date(now.getTime() - 3_600_000), to: new Date(now.getTime() + 1) };
    let isOver = false;
    let longestMs = 0;
    let lastMs = performance.now();
    const turn = () => {
      longestMs = Math.max(longestMs, performance.now() - lastMs);
      lastMs = performance.now();
      if (!isOver) setImmediate(turn);
    };
    setImmediate(turn);
    const startedMs = performance.now();
    const part = await ledger.backtest(tenant.id, {
      part: { ...period, run: null, after: null, rows: null },
      candidate,
    });
    isOver = true;
    const tookMs = performance.now() - startedMs;
    expect(part.decisions).toBe(250);
    // Without a turn the whole page is one: nearly all of the time that it took.
    expect(longestMs).toBeLessThan(tookMs / 2);
  });
});
