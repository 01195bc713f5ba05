import { describe, expect, test } from "vitest";
import { boundOf, demandAt } from "../../src/core/bound.ts";
import { decide } from "../../src/core/decide.ts";
import { picousd, picousdFromUsd } from "../../src/core/money.ts";
import type { Price } from "../../src/core/price.ts";
import { doneBeside } from "../../src/core/searching.ts";
import { factsOf, intentOf, judge, policies, policy } from "../support/judging.ts";
import { priceOf } from "../support/prices.ts";

const BY_REQUEST = priceOf({
  rates: { input: picousd(1n), output: picousd(1n), requests: picousd(12n) },
});
const MACHINE = priceOf({
  rates: {},
  hourly: { picousdPerHour: picousdFromUsd("3.6"), concurrency: 1 },
});

const ROWS: readonly [string, Price | null, string | null][] = [
  ["gpt-4o-search-preview", null, "hosted_tool:web_search"],
  ["gpt-4o-mini-search-preview-2025-03-11", priceOf({}), "hosted_tool:web_search"],
  ["openai/gpt-5-search-api", null, "hosted_tool:web_search"],
  ["google/gemini-2.5-flash:online", null, "hosted_tool:web_search"],
  ["llama-3.1-sonar-large-128k-online", null, "hosted_tool:web_search"],
  ["Perplexity/Sonar-Pro-Search", BY_REQUEST, "hosted_tool:web_search"],
  ["perplexity/sonar-deep-research", BY_REQUEST, "hosted_tool:web_search"],
  ["o3-deep-research-2025-06-26", null, "hosted_tool:web_search"],
  ["x-ai/grok-4.20-multi-agent", priceOf({}), "hosted_tool:agents"],
  ["groq/compound-mini", null, "hosted_tool:compound"],
  ["perplexity/sonar", priceOf({}), "hosted_tool:web_search"],
  ["sonar-reasoning-pro", null, "hosted_tool:web_search"],
  ["sonar-pro", BY_REQUEST, null],
  ["gpt-4o-search-preview", MACHINE, null],
  ["gpt-4o", null, null],
  ["research/nous-hermes-2", null, null],
  ["text-search-ada-doc-001", null, null],
];
test.each(ROWS)("%s does beside answering what it is known for", (model, price, expected) => {
  expect(doneBeside(model, price)).toBe(expected);
});

describe("a call to a searching model has no bound", () => {
  const price = priceOf({ outputTokensMax: 1_000 });
  const searching = { upstream: "up", model: "gpt-4o-search-preview" };

  test("whatever it was called when it was asked for", () => {
    const { demand } = intentOf();
    const at = (model: string) =>
      boundOf(
        demandAt(demand, { route: { upstream: "up", model }, price, timeoutMs: null }),
        price,
        5,
      );
    expect(at("m")).toMatchObject({ kind: "bounded" });
    expect(at(searching.model)).toEqual({ kind: "unbounded", because: ["hosted_tool:web_search"] });
    for (const resource of ["fast", "up/gpt-4o-search-preview", "gpt-4o-search-preview"]) {
      const verdict = decide(factsOf({ route: searching, price }), intentOf({ resource }));
      expect(verdict).toMatchObject({ kind: "block", reason: "cost_unbounded" });
    }
  });

  test("and is none where its name is only an alias of another", () => {
    const asked = intentOf({ resource: "gpt-4o-search-preview" });
    expect(decide(factsOf({ price }), asked).kind).toBe("ask");
  });

  test("told once where it was asked to search as well", () => {
    const { demand } = intentOf({ demand: { unbounded: ["hosted_tool:web_search"] } });
    const at = demandAt(demand, { route: searching, price, timeoutMs: null });
    expect(at.unbounded).toEqual(["hosted_tool:web_search"]);
  });

  test("and policies are told so", () => {
    const source = policies(policy("b", "'hosted_tool:web_search' in request.unbounded"));
    const tolerant = { ...factsOf().caller, mode: "tolerant" } as const;
    const facts = { caller: tolerant, price };
    expect(judge(source, { ...facts, route: searching })).toMatchObject({
      reason: "policy_denied",
    });
    expect(judge(source, facts).kind).toBe("ask");
  });
});
