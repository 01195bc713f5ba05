/** From real calls to the verdict: the export is made of what the upstream billed, and of nothing of ours. */
import { afterEach, beforeEach, expect, test } from "vitest";
import { picousd } from "../../src/core/money.ts";
import { readInvoice } from "../../src/dialects/invoices/invoice.ts";
import { reconciliationOf } from "../../src/ledger/reconciliation.ts";
import { rolledUpAsOf } from "../../src/store/roll-up.ts";
import { resetClock, setClock } from "../support/clock.ts";
import { describeEachDatabase } from "../support/databases.ts";
import { chatAnswer, errorAnswer, type Tokens } from "../support/openai-answers.ts";
import { priceOf } from "../support/prices.ts";
import { startScriptedUpstream, type ScriptedUpstream } from "../support/scripted-upstream.ts";
import { MODEL, startTollgate, UPSTREAM, type Tenant, type Tollgate } from "../support/tollgate.ts";
import { rollUpAll } from "../store/roll-up-violations.ts";

const RATES = { input: picousd(10n), cache_read: picousd(5n), output: picousd(100n) };
const DAY_S = Date.parse("2030-01-01") / 1_000;

describeEachDatabase("calls through the gate", (database) => {
  let upstream: ScriptedUpstream;
  let tollgate: Tollgate;
  let tenant: Tenant;
  beforeEach(async () => {
    upstream = await startScriptedUpstream();
    tollgate = await startTollgate({
      database,
      upstream: upstream.url,
      prices: [priceOf({ rates: RATES })],
      // Nobody can count what an upstream does not tell.
      countTokens: () => Promise.resolve(null),
    });
    tenant = await tollgate.tenant({ guards: "off" });
    await setClock(tollgate.db, new Date("2030-01-01T10:00:00Z"));
  });
  afterEach(async () => {
    await resetClock(tollgate.db);
    await tollgate?.close();
    await upstream?.close();
  });

  const ask = (url = `${tollgate.url}/v1`) =>
    fetch(`${url}/chat/completions`, {
      method: "POST",
      headers: { authorization: `Bearer ${tenant.key}`, "content-type": "application/json" },
      body: JSON.stringify({
        model: MODEL,
        max_completion_tokens: 50,
        messages: [{ role: "user", content: "Hi" }],
      }),
    });
  const answers = (...usages: (Tokens | null)[]) =>
    upstream.next(
      ...usages.map((usage) => ({ kind: "json", body: chatAnswer(MODEL, "ok", usage) }) as const),
    );

  /** What OpenAI would export of these answers, priced by its own list. */
  function exportOf(usages: readonly Tokens[]) {
    const sum = (of: (usage: Tokens) => number) => usages.map(of).reduce((a, b) => a + b, 0);
    const [input, cached] = [sum((u) => u.input), sum(({ cached: c = 0 }) => c)];
    const output = sum((u) => u.output);
    const page = (results: string) =>
      `{"object":"page","data":[{"object":"bucket","start_time":${DAY_S},"end_time":${DAY_S + 86_400},
        "results":[${results}]}],"has_more":false,"next_page":null}`;
    const cost = (units: number, rate: bigint, part: string) =>
      `{"object":"organization.costs.result","amount":{"value":${BigInt(units) * rate}e-12,"currency":"usd"},
        "line_item":"${MODEL}-2029-12-01, ${part}","project_id":null}`;
    const files = [
      page(`{"object":"organization.usage.completions.result","input_tokens":${input},
        "output_tokens":${output},"input_cached_tokens":${cached},"num_model_requests":${usages.length},
        "model":"${MODEL}-2029-12-01","batch":false,"service_tier":"default"}`),
      page(
        [
          cost(input - cached, RATES.input, "input"),
          cost(cached, RATES.cache_read, "cached input"),
          cost(output, RATES.output, "output"),
        ].join(","),
      ),
    ];
    return readInvoice(
      "openai",
      files.map((text, n) => ({ name: `${n}.json`, text })),
    );
  }

  /** Verdict, and the codes of the reasons. */
  async function reconciled(usages: readonly Tokens[]): Promise<string> {
    await tollgate.settled();
    const over = new Date("2030-01-02T00:00:00Z");
    await setClock(tollgate.db, over);
    const { admin } = tollgate.db;
    do await rollUpAll(admin);
    while ((await rolledUpAsOf(admin, null)).getTime() !== over.getTime());
    const invoice = exportOf(usages);
    const comparison = { whose: tenant.id, upstream: UPSTREAM, invoice, tolerance: 0n };
    const { lines } = await reconciliationOf(tollgate.db, comparison);
    return lines
      .map(({ verdict, reasons }) => [verdict, ...reasons.map(({ code }) => code)].join(" "))
      .join("; ");
  }

  test("equal the upstream's export to the pico-dollar, with cached tokens", async () => {
    const usages = [
      { input: 1_234, cached: 1_024, output: 17 },
      { input: 9, output: 1 },
    ];
    answers(...usages);
    for (const _ of usages) expect((await ask()).status).toBe(200);
    expect(await reconciled(usages)).toBe("equal");
  });

  test("are told from one beside it, and from one that failed", async () => {
    const usages = [
      { input: 100_000, output: 10_000 },
      { input: 50_000, output: 5_000 },
    ];
    answers(...usages);
    expect((await ask()).status).toBe(200);
    // With the same account, and without us.
    expect((await ask(upstream.url)).status).toBe(200);
    upstream.next({
      kind: "json",
      status: 400,
      body: errorAnswer("no", "invalid_request_error", null),
    });
    expect((await ask()).status).toBe(400);
    expect(await reconciled([usages[0]!])).toBe("explained failed_attempts");
    expect(await reconciled(usages)).toBe("unexplained beside_the_gate model_names");
  });

  test("that were presumed in full explain an invoice that is lower, and what nobody told of them", async () => {
    const usage = { input: 100_000, output: 10_000 };
    answers(usage, null);
    expect((await ask()).status).toBe(200);
    expect((await ask()).status).toBe(200);
    expect(await reconciled([usage, { input: 8, output: 1 }])).toBe(
      "explained presumed untold_usage",
    );
    const more = await reconciled([usage, { input: 8, output: 5_000 }]);
    expect(more).toBe("unexplained untold_usage beside_the_gate model_names");
  });
});
