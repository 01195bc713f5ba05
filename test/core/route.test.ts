import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { findAliasChain, matchesGlob, routeModel, type Catalogue } from "../../src/core/route.ts";

const CATALOGUE: Catalogue = {
  upstreams: [
    { name: "openai", models: ["gpt-*", "o*", "text-embedding-*"] },
    { name: "azure", models: ["gpt-4o"] },
    { name: "router", models: ["*/*"] },
  ],
  aliases: { fast: "openai/gpt-5-mini", smart: "o3", lost: "nowhere" },
};

describe("a model is routed", () => {
  const ROUTES: readonly [string, string | null][] = [
    ["gpt-4o", "openai:gpt-4o"],
    ["azure/gpt-4o", "azure:gpt-4o"],
    ["azure/any-deployment", "azure:any-deployment"],
    ["fast", "openai:gpt-5-mini"],
    ["smart", "openai:o3"],
    ["lost", null],
    ["meta/llama-3", "router:meta/llama-3"],
    ["router/meta/llama-3", "router:meta/llama-3"],
    ["openai/", "openai:openai/"],
    ["/gpt-4o", "router:/gpt-4o"],
    ["claude", null],
    ["", null],
    ["constructor", null],
    ["__proto__", null],
  ];
  test.each(ROUTES)("%j → %j", (model, expected) => {
    const route = routeModel(CATALOGUE, model);
    expect(route === null ? null : `${route.upstream}:${route.model}`).toBe(expected);
  });

  test("an alias that points to an alias is found at load", () => {
    expect(findAliasChain(CATALOGUE)).toBeNull();
    expect(findAliasChain({ upstreams: [], aliases: { a: "x", b: "a" } })).toBe("b");
    expect(findAliasChain({ upstreams: [], aliases: { a: "a" } })).toBe("a");
  });
});

describe("a glob", () => {
  test("matches as the expression it stands for, in which all but * is literal", () => {
    const text = fc.string({ unit: fc.constantFrom("a", "b", ".", "*"), maxLength: 8 });
    fc.assert(
      fc.property(text, text, (glob, subject) => {
        const pattern = glob
          .split("*")
          .map((part) => part.replaceAll(".", "\\."))
          .join(".*");
        expect(matchesGlob(glob, subject)).toBe(new RegExp(`^(?:${pattern})$`).test(subject));
      }),
      { numRuns: 2_000 },
    );
  });

  test("of many stars answers on a long text that does not match", () => {
    expect(matchesGlob(`${"*a".repeat(128)}b`, "a".repeat(100_000))).toBe(false);
  });
});
