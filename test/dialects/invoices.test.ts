/** Exports as providers send them, whole in every member, and what is wrong with others. */
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import type { Invoice, Provider } from "../../src/core/invoice.ts";
import { EXPORT_BYTES_MAX, EXPORT_FILES_MAX } from "../../src/core/limits-finance.ts";
import { readInvoice } from "../../src/dialects/invoices/invoice.ts";

const fixture = (name: string) => ({
  name,
  text: readFileSync(new URL(`../fixtures/invoices/${name}`, import.meta.url), "utf8"),
});

const read = (provider: Provider, ...names: string[]): Invoice =>
  readInvoice(provider, names.map(fixture));
const given = (text: string, provider: Provider = "openai") =>
  readInvoice(provider, [{ name: "export.json", text }]);

const lines = ({ lines: all }: Invoice) =>
  Object.fromEntries(all.map((line) => [line.model, line.figures]));

test("OpenAI's usage is read by day and model, the cached tokens among the input", () => {
  const invoice = read("openai", "openai-usage.json");
  expect(invoice).toMatchObject({
    from: "2030-01-01",
    to: "2030-01-03",
    states: ["requests", "input", "cached", "output"],
  });
  expect(lines(invoice)).toEqual({
    "gpt-4o-2024-08-06": { requests: 3n, input: 3_000n, cached: 1_024n, output: 450n, cost: 0n },
    "gpt-4o-mini-2024-07-18": { requests: 1n, input: 90n, cached: 0n, output: 30n, cost: 0n },
  });
});

test("OpenAI's costs are exact to the pico-dollar, however their decimals are written", () => {
  const invoice = read("openai", "openai-costs.json");
  expect(invoice.states).toEqual(["cost"]);
  expect(lines(invoice)).toMatchObject({
    // A float adds up 0.00494 + 0.00128 + 0.0045 to 0.010720000000000002.
    "gpt-4o-2024-08-06": { cost: 10_720_000_000n },
    "gpt-4o-mini-2024-07-18": { cost: 31_500_000n },
    "web search tool calls": { cost: 10_000_000_000n },
  });
  expect(invoice.lines.map(({ model, isModel, amounts }) => [model, isModel, amounts])).toEqual([
    ["gpt-4o-2024-08-06", true, 3],
    ["gpt-4o-mini-2024-07-18", true, 2],
    ["web search tool calls", false, 1],
  ]);
});

test("an amount that no float holds keeps each of its digits", () => {
  const text = fixture("openai-costs.json").text.replace("0.00494", "90071992.547409931234");
  expect(given(text).lines[0]?.figures.cost).toBe(90_071_992_553_189_931_234n);
});

test("what OpenAI writes into a line item is taken apart", () => {
  const item = (line: string) => {
    const text = fixture("openai-costs.json").text.replace("web search tool calls", line);
    const found = given(text).lines.find(({ figures }) => figures.cost === 10_000_000_000n);
    return [found?.model, found?.isModel, found?.tiers];
  };
  expect(item("priority | gpt-5.4, output, long context")).toEqual(["gpt-5.4", true, ["priority"]]);
  expect(item("gpt-image-1 text, cached input")).toEqual(["gpt-image-1", true, []]);
  expect(item("gpt-5, cache writes")).toEqual(["gpt-5", true, []]);
  expect(item("code interpreter sessions")).toEqual(["code interpreter sessions", false, []]);
});

test("Anthropic's usage adds up what is uncached, read from the cache and written to it", () => {
  const invoice = read("anthropic", "anthropic-usage.json");
  expect(invoice).toMatchObject({ from: "2030-01-01", to: "2030-01-02" });
  expect(invoice.states).toEqual(["input", "cached", "output"]);
  expect(lines(invoice)).toEqual({
    "claude-sonnet-4-20250514": {
      requests: 0n,
      input: 3_200n,
      cached: 200n,
      output: 500n,
      cost: 0n,
    },
  });
});

test("Anthropic's amounts are cents, and never a hundred times as much", () => {
  const invoice = read("anthropic", "anthropic-costs.json", "anthropic-usage.json");
  expect(invoice.states).toEqual(["input", "cached", "output", "cost"]);
  expect(lines(invoice)).toMatchObject({
    "claude-sonnet-4-20250514": { cost: 18_810_000_000n, input: 3_200n },
    "Web Search Usage": { cost: 10_000_000_000n },
  });
});

test("tiers other than the ordinary one are told, and buckets of an hour are added to their day", () => {
  const { text } = fixture("openai-usage.json");
  const batch = text.replace('"batch": false', '"batch": true').replace('"default"', '"flex"');
  expect(given(batch).lines[0]?.tiers).toEqual(["batch"]);
  const hours = JSON.parse(text);
  const [first] = hours.data;
  hours.data = Array.from({ length: 24 }, (_, at) => ({
    ...first,
    start_time: first.start_time + at * 3_600,
    end_time: first.start_time + (at + 1) * 3_600,
  }));
  const invoice = given(JSON.stringify(hours));
  expect(invoice).toMatchObject({ from: "2030-01-01", to: "2030-01-02" });
  expect(lines(invoice)["gpt-4o-2024-08-06"]).toMatchObject({ requests: 72n, input: 72_000n });
});

test("only the days that were asked for are read, and only where every export tells of them", () => {
  const files = ["openai-usage.json", "openai-costs.json"].map(fixture);
  const second = readInvoice("openai", files, { from: "2030-01-02", to: "2030-01-03" });
  expect(second).toMatchObject({ from: "2030-01-02", to: "2030-01-03", lines: [] });
  expect(() => readInvoice("openai", files, { from: "2029-12-31", to: null })).toThrow(
    /The usage export tells of 2030-01-01T00:00:00.000Z to 2030-01-03/,
  );
  const short = JSON.parse(files[1]!.text);
  short.data.pop();
  const unequal = [files[0]!, { name: "short.json", text: JSON.stringify(short) }];
  expect(() => readInvoice("openai", unequal)).toThrow(/The cost export tells of/);
});

const WRONG: readonly (readonly [string, Provider, string, RegExp])[] = [
  ["anthropic-usage.json", "openai", "", /looks like an export of Anthropic's usage API/],
  ["anthropic-costs.json", "openai", "", /looks like an export of Anthropic's cost API/],
  ["openai-usage.json", "anthropic", "", /looks like an export of OpenAI's usage API/],
  ["openai-costs.json", "anthropic", "", /looks like an export of OpenAI's cost API/],
  ["csv", "openai", "start_time,end_time,amount_value,line_item\n1,2,3,x\n", /a CSV export/],
  ["zip", "openai", "PK\u0003\u0004", /a ZIP or XLSX file/],
  ["empty", "openai", "", /an empty file/],
  ["prose", "openai", "Dear customer", /no JSON/],
  ["error", "openai", '{"error":{"message":"no"}}', /an error answer/],
  [
    "former",
    "openai",
    '{"object":"list","data":[{"aggregation_timestamp":1}]}',
    /former \/v1\/usage/,
  ],
  ["models", "openai", '{"object":"list","data":[{"id":"gpt-4o"}]}', /something else than time/],
];

test.each(WRONG)(
  "a wrong file (%s, of %s) is told what it looks like",
  (name, provider, text, says) => {
    const file = text === "" && name.endsWith(".json") ? fixture(name) : { name, text };
    expect(() => readInvoice(provider, [file])).toThrow(says);
    expect(() => readInvoice(provider, [file])).toThrow(name);
  },
);

const usage = (from: string, to: string) => fixture("openai-usage.json").text.replace(from, to);

test.each([
  [
    "images",
    usage("usage.completions", "usage.images"),
    /several exports mixed|not counted in tokens/,
  ],
  ["not by model", usage('"gpt-4o-2024-08-06"', "null"), /group_by=model/],
  ["another currency", fixture("openai-costs.json").text.replace('"usd"', '"eur"'), /is not USD/],
  ["half a token", usage('"input_tokens": 3000', '"input_tokens": 0.5'), /input_tokens is not/],
  ["a negative count", usage('"input_tokens": 3000', '"input_tokens": -1'), /input_tokens is not/],
  [
    "a bucket of a week",
    usage('"end_time": 1893542400', '"end_time": 1894060800'),
    /longer than a day/,
  ],
  ["no time", usage('"start_time": 1893456000', '"start_time": null'), /start_time is not a time/],
  [
    "a part of a day",
    usage('"start_time": 1893456000', '"start_time": 1893456060'),
    /just the UTC days/,
  ],
])("an export that would be misread is refused: %s", (_, text, says) => {
  expect(() => given(text)).toThrow(says);
});

test("an export that goes on, or is given twice, is not taken for a whole", () => {
  expect(() => read("openai", "openai-usage-page-1.json")).toThrow(
    /goes on .* fetch its next pages/,
  );
  expect(() => read("openai", "openai-usage.json", "openai-usage.json")).toThrow(/given twice/);
  const rest = JSON.parse(fixture("openai-usage.json").text);
  rest.data.shift();
  const pages = [fixture("openai-usage-page-1.json"), { name: "2", text: JSON.stringify(rest) }];
  expect(readInvoice("openai", pages)).toMatchObject({ from: "2030-01-01", to: "2030-01-03" });
});

test("a huge file is refused before it is read, and so are too many", () => {
  const huge = `{"data":[${" ".repeat(EXPORT_BYTES_MAX)}]}`;
  expect(() => given(huge)).toThrow(/longer than/);
  const many = Array.from({ length: EXPORT_FILES_MAX + 1 }, () => fixture("openai-usage.json"));
  expect(() => readInvoice("openai", many)).toThrow(/At most 64 files/);
  expect(() => given("[".repeat(100_000))).toThrow(/no JSON/);
});
