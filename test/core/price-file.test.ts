import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { readPriceFile } from "../../src/core/price-file.ts";
import { ratePerMillion } from "../../src/core/money.ts";

const WHOLE = `
source: Example list of 2030-06
prices:
  - upstream: openai
    model: gpt-5
    valid_from: 2030-06-01
    valid_until: 2030-12-31T12:00:00Z
    usd_per_million: { input: 1.25, cache_read: 0.125, output: 10, requests: 10000 }
    tiers:
      - { above_input_tokens: 272000, usd_per_million: { input: 2.5, output: 15 } }
    service_tiers:
      flex: { multiplier: 0.5 }
      priority:
        usd_per_million: { input: "2.5", output: 20 }
    context_tokens_max: 400000
    output_tokens_max: 128000
  - { tenant: acme, model: gpt-5, valid_from: 2030-06-01, usd_per_million: { input: 1 } }
`;

const rate = (usd: string) => ratePerMillion(usd);

describe("a file of prices", () => {
  test("is read whole: dates, tiers, service tiers and sizes, to the pico-dollar", () => {
    const { source, prices, problems } = readPriceFile(WHOLE);
    expect(problems).toEqual([]);
    expect(source).toBe("Example list of 2030-06");
    expect(prices).toMatchObject([
      {
        tenant: null,
        upstream: "openai",
        model: "gpt-5",
        from: new Date("2030-06-01T00:00:00Z"),
        until: new Date("2030-12-31T12:00:00Z"),
        rates: {
          input: rate("1.25"),
          cache_read: 125_000n,
          output: rate("10"),
          requests: 10_000_000_000n,
        },
        tiers: [{ aboveInputTokens: 272_000, rates: { input: rate("2.5"), output: rate("15") } }],
        serviceTiers: [
          {
            name: "flex",
            rates: { input: 625_000n, cache_read: 62_500n, output: rate("5") },
            tiers: [{ aboveInputTokens: 272_000, rates: { output: rate("7.5") } }],
          },
          { name: "priority", rates: { input: rate("2.5"), output: rate("20") }, tiers: [] },
        ],
        contextTokensMax: 400_000,
        outputTokensMax: 128_000,
      },
      { tenant: "acme", upstream: null, rates: { input: rate("1") }, until: null },
    ]);
  });

  test("is as docs/prices.md shows it", () => {
    const page = readFileSync(new URL("../../docs/prices.md", import.meta.url), "utf8");
    const [, yaml = ""] = /```yaml\n(.*?)```/s.exec(page) ?? [];
    const { prices, problems } = readPriceFile(yaml);
    expect(problems).toEqual([]);
    expect(prices.map(({ tenant, upstream }) => [tenant, upstream])).toEqual([
      [null, "openai"],
      ["acme", null],
    ]);
  });

  test("may be JSON, and numbers in it are read from their text", () => {
    const entry =
      '{"upstream":"up","model":"m","valid_from":"2030-01-01","usd_per_million":{"input":0.1,"output":"0.30"}}';
    const { prices, problems } = readPriceFile(`{"source":"j","prices":[${entry}]}`);
    expect(problems).toEqual([]);
    expect(prices[0]?.rates).toEqual({ input: 100_000n, output: 300_000n });
  });

  test("may pay for the time of a machine, of one model or of all", () => {
    const entries = [
      'upstream: gpu, model: "*", valid_from: 2030-01-01, usd_per_hour: 2.49',
      "upstream: gpu, model: m, valid_from: 2030-01-01, usd_per_hour: 10, concurrency: 8",
    ];
    const lines = entries.map((entry) => `  - { ${entry} }\n`).join("");
    const { prices, problems } = readPriceFile(`source: s\nprices:\n${lines}`);
    expect(problems).toEqual([]);
    expect(prices.map(({ model, rates, hourly }) => [model, rates, hourly])).toEqual([
      ["*", {}, { picousdPerHour: 2_490_000_000_000n, concurrency: 1 }],
      ["m", {}, { picousdPerHour: 10_000_000_000_000n, concurrency: 8 }],
    ]);
  });

  const HOUR = "upstream: up, model: m, valid_from: 2030-01-01, usd_per_hour: 2.49";
  const BASE = "upstream: up, model: m, valid_from: 2030-01-01, usd_per_million: { input: 1 }";
  const rated = (input: string) => BASE.replace("1 }", `${input} }`);
  /** What is wrong, the entry, at which of its words, and what is said of it. */
  const BROKEN: readonly (readonly [string, string, string, RegExp])[] = [
    ["finer than a pico-dollar", rated("0.0000001"), "0.0", /input must be .*six decimals/],
    ["negative", rated("-1"), "-1 }", /usd_per_million\.input must be 0 or more/],
    ["absurd for a token", rated("10000.01"), "10000", /at most 10000 USD per million/],
    [
      "absurd for a picture",
      BASE.replace("input: 1", "images: 100000001"),
      "100000001",
      /at most 100000000/,
    ],
    ["no amount", rated("cheap"), "cheap", /USD per million units, as 2\.50/],
    ["endless", rated("1e400"), "1e400", /input must be USD per million/],
    ["no class of usage", rated("1, inputs: 1"), "inputs", /unknown key inputs.*input\?/],
    ["without a rate", BASE.replace("input: 1", ""), "{  }", /one rate at least/],
    ["a day that no month has", BASE.replace("01-01", "02-30"), "2030", /valid_from must be a day/],
    ["before all prices", BASE.replace("2030-01-01", "1969-12-31"), "1969", /valid_from must be/],
    ["far off", BASE.replace("2030", "2100"), "2100", /before 2100/],
    ["over before it begins", `${BASE}, valid_until: 2029-12-31`, "2029", /after valid_from/],
    ["of nobody and nowhere", BASE.replace("upstream: up, ", ""), "{ model", /names its upstream/],
    ["of any upstream by a star", BASE.replace("up,", '"*",'), '"*"', /upstream must be a name/],
    [
      "of all models by usage",
      BASE.replace("model: m", 'model: "*"'),
      '"*"',
      /only .* usd_per_hour/,
    ],
    ["an hour of no machine", HOUR.replace("upstream: up", "tenant: t"), "{ tenant", /upstream/],
    ["an hour below zero", HOUR.replace("2.49", "-1"), "-1", /USD an hour, as 2\.49/],
    ["an absurd hour", HOUR.replace("2.49", "10000.01"), "10000", /from 0 to 10000/],
    ["an hour of words", HOUR.replace("2.49", "cheap"), "cheap", /USD an hour, as 2\.49/],
    [
      "an hour beside rates",
      `${HOUR}, usd_per_million: { input: 1 }`,
      "usd_per_million",
      /usd_per_hour or by usage/,
    ],
    [
      "an hour in tiers",
      `${HOUR}, service_tiers: { flex: { multiplier: 1 } }`,
      "service_tiers",
      /remove/,
    ],
    ["an hour shared by nobody", `${HOUR}, concurrency: 0`, "0 }", /from 1 to 10000/],
    ["usage shared by calls", `${BASE}, concurrency: 2`, "concurrency", /goes with usd_per_hour/],
    ["unknown members", `${BASE}, price: 3`, "price:", /unknown key price/],
    ["too many tokens", `${BASE}, output_tokens_max: 2000000000`, "2000000000", /to 1000000000/],
    [
      "a tier that is no name",
      `${BASE}, service_tiers: { Flex!: { multiplier: 1 } }`,
      "Flex!",
      /flex, priority/,
    ],
    [
      "a factor of nothing",
      `${BASE}, service_tiers: { flex: { multiplier: 0 } }`,
      "0 } }",
      /over 0 and at most 100/,
    ],
    [
      "a factor beside rates",
      `${BASE}, service_tiers: { flex: { multiplier: 1, tiers: [] } }`,
      "tiers: []",
      /unknown key tiers/,
    ],
    [
      "a factor that leaves a fraction",
      `${rated("0.000001")}, service_tiers: { flex: { multiplier: 0.5 } }`,
      "0.5",
      /finer than six decimals/,
    ],
    [
      "tiers that do not ascend",
      `${BASE}, tiers: [{ above_input_tokens: 9, usd_per_million: { input: 2 } }, { usd_per_million: { input: 3 }, above_input_tokens: 9 }]`,
      "{ usd_per_million: { input: 3",
      /ascend/,
    ],
  ];
  test.each(BROKEN)("is refused with line, column and field: %s", (_name, entry, at, message) => {
    const line = `  - { ${entry} }`;
    const { problems } = readPriceFile(`source: s\nprices:\n${line}\n`);
    expect(problems).toHaveLength(1);
    expect(problems[0]?.message).toMatch(message);
    expect([problems[0]?.line, problems[0]?.column]).toEqual([3, line.indexOf(at) + 1]);
  });

  test.each([
    ["nothing", "", /source is missing/],
    ["no list", "source: s\nprices: 3", /prices must be a list/],
    ["no price", "source: s\nprices: []", /one price at least/],
    ["no YAML", "source: [", /missing|unexpected/],
    ["too long", `source: s\n#${"x".repeat(600_000)}`, /at most 524288 bytes/],
    ["a bomb of values", `prices: [${"1,".repeat(20_000)}]`, /at most|source/],
    [
      "more prices than a file has",
      `source: s\nprices: [${"{},".repeat(1_001)}]`,
      /at most 1000 prices/,
    ],
  ])("that is %s is no file of prices", (_name, text, message) => {
    const { problems } = readPriceFile(text);
    expect(problems.map((problem) => problem.message).join("\n")).toMatch(message);
  });

  test("tells every mistake of every entry at once, and a hundred at most", () => {
    const broken = `  - { ${BASE.replace("1 }", "-1 }")} }\n`;
    expect(
      readPriceFile(`source: s\nprices:\n${broken.repeat(3)}`).problems.map(({ line }) => line),
    ).toEqual([3, 4, 5]);
    expect(readPriceFile(`source: s\nprices:\n${broken.repeat(500)}`).problems).toHaveLength(100);
  });
});
