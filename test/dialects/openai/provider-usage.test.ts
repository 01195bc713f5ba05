import { readdirSync, readFileSync } from "node:fs";
import { expect, test } from "vitest";
import type { Operation } from "../../../src/core/intent.ts";
import { picousdFromUsd, ratePerMillion, usdFromPicousd } from "../../../src/core/money.ts";
import { costOf, INPUT_CLASSES, OUTPUT_CLASSES, type Rates } from "../../../src/core/price.ts";
import type { Usage } from "../../../src/core/usage.ts";
import type { Route } from "../../../src/dialects/dialect.ts";
import { createMeter } from "../../../src/dialects/openai/meter.ts";
import { priceOf } from "../../support/prices.ts";

/** What one provider answers, whole, and what it used and cost: one file for each shape of usage. */
type Shape = {
  readonly says: string;
  readonly operation: Operation;
  readonly answer: Readonly<Record<string, unknown>>;
  readonly usd_per_million: Readonly<Record<string, string>>;
  readonly classes: Usage;
  readonly cost_usd: string;
  readonly provider_cost_usd: string | null;
};

function routeOf(operation: Operation): Route {
  return { operation, billing: "metered", path: "/x", body: "json", pathModel: null };
}

const FOLDER = new URL("../../fixtures/usage/", import.meta.url);
const SHAPES = readdirSync(FOLDER).map((file) => {
  const shape: Shape = JSON.parse(readFileSync(new URL(file, FOLDER), "utf8"));
  return { name: file.replace(".json", ""), shape };
});

test("the shapes of the providers are there", () => {
  expect(SHAPES.length).toBeGreaterThanOrEqual(25);
});

test.each(SHAPES)("$name: $shape.says", ({ shape }) => {
  const meter = createMeter(routeOf(shape.operation), { stream: false, hideUsage: false });
  meter.push(new TextEncoder().encode(JSON.stringify(shape.answer)));
  meter.flush();
  const { usage, providerCostUsd, serviceTier } = meter.reading();
  expect(usage).toEqual(shape.classes);
  expect(providerCostUsd).toBe(shape.provider_cost_usd);
  const rates: Rates = Object.fromEntries(
    Object.entries(shape.usd_per_million).map(([kind, usd]) => [kind, ratePerMillion(usd)]),
  );
  const cost = costOf(priceOf({ rates }), usage ?? {}, serviceTier);
  expect(cost === null ? null : usdFromPicousd(cost)).toBe(shape.cost_usd);
  expect(picousdFromUsd(shape.cost_usd)).toBe(cost);
});

/** No token is counted in two classes, and none is lost: the classes add up to what the provider counted. */
test.each(SHAPES)("$name: its classes are disjoint", ({ shape }) => {
  const told = tokensTold(shape.answer["usage"]);
  let sum = 0;
  for (const kind of [...INPUT_CLASSES, ...OUTPUT_CLASSES]) sum += shape.classes[kind] ?? 0;
  expect(sum).toBe(told);
});

/** Every token of the answer by the provider's own figures, each provider's peculiarity spelt out. */
function tokensTold(usage: unknown): number {
  const figures = usage as Readonly<Record<string, number | undefined>>;
  const of = (...names: string[]) => names.reduce((sum, name) => sum + (figures[name] ?? 0), 0);
  const { total_tokens: total, citation_tokens: citations } = figures;
  if (citations !== undefined) return of("total_tokens", "reasoning_tokens");
  if (total !== undefined) return total;
  const cache = of("cache_creation_input_tokens", "cache_read_input_tokens");
  return cache + of("input_tokens", "output_tokens");
}
