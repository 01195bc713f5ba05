import { describe, expect, test } from "vitest";
import { BODY_ON_LOOP_BYTES_MAX } from "../../src/core/limits.ts";
import { findRoute } from "../../src/dialects/openai/routes.ts";
import { contentOf } from "../../src/http/asking.ts";
import { askedOf, digestsOf } from "../../src/http/request-body.ts";
import { cpuMsOf } from "../support/cpu-time.ts";

/** What a request under an idempotency key is compared by. */

const ROUTE = findRoute("POST", "/chat/completions")!;

type Read = Parameters<typeof contentOf>[1];

/** A body of these members, as it is read. */
function readOf(members: string, model = "m"): Read {
  const small = new TextEncoder().encode(`{"model":"${model}",${members}}`);
  expect(small.length).toBeLessThanOrEqual(BODY_ON_LOOP_BYTES_MAX);
  const asked = askedOf(ROUTE, "application/json", small);
  const { content } = digestsOf(ROUTE, small, {
    contentType: "",
    model: asked.model,
    named: model,
  });
  return { small, asked, content };
}

const contentOfMembers = (members: string, model?: string) =>
  contentOf(ROUTE, readOf(members, model));

/** As many of them as a body on the loop may have. */
const listOf = (part: string) =>
  `"a":[${`${part},`.repeat(Math.floor((BODY_ON_LOOP_BYTES_MAX - 100) / (part.length + 1)))}1]`;
const membersOf = (name: string) =>
  Array.from({ length: 9_000 }, (_, i) => `"${name}${i}":1`).join(",");

describe("the content of a request under a key", () => {
  test("is the same in another order, spacing and writing of numbers", () => {
    const content = contentOfMembers('"a":[1,{"b":0.5,"c":"x y"}],"d":null');
    expect(contentOfMembers(' "d": null, "a": [1.0, {"c": "x y", "b": 5e-1}] ')).toBe(content);
    expect(contentOfMembers('"a":[1,{"b":0.5,"c":"xy"}],"d":null')).not.toBe(content);
  });

  test("of very many values is the same in another spacing, and another for another model", () => {
    const content = contentOfMembers(listOf("10"));
    expect(contentOfMembers(listOf("10").replace("10,", "10 ,\n"))).toBe(content);
    expect(contentOfMembers(listOf("20"))).not.toBe(content);
    expect(contentOfMembers(listOf("10"), "n")).not.toBe(content);
  });

  test.each([
    ["numbers", listOf("1")],
    ["numbers that no integer is", listOf("1e-9")],
    ["fractions", listOf("0.1")],
    ["objects", listOf("{}")],
    ["lists", listOf("[]")],
    ["texts", listOf('"a"')],
    ["members", membersOf("k")],
    ["members with escapes", membersOf("\\u0061")],
    ["one exponent", `"a":1e${"1".repeat(250_000)}`],
    ["one text of escapes", `"a":"${"\\n".repeat(120_000)}"`],
  ])("blocks nobody for long, be it all %s", (_, members) => {
    const read = readOf(members);
    expect(cpuMsOf(() => contentOf(ROUTE, read))).toBeLessThan(50);
  });
});
