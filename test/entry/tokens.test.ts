import { get_encoding } from "tiktoken";
import { afterAll, describe, expect, test } from "vitest";
import { splitRuns, type Encoding } from "../../src/core/token-runs.ts";
import { createTokenCounter } from "../../src/entry/tokens.ts";

const counter = createTokenCounter({ onLoop: ["o200k_base"], deadlineMs: 60_000 });
afterAll(() => counter.close());

/** Counts known from OpenAI's own tokeniser page and the tests of its Python library. */
const VECTORS: readonly [string, Encoding, number][] = [
  ["", "o200k_base", 0],
  ["hello world", "o200k_base", 2],
  ["hello world", "cl100k_base", 2],
  ["tiktoken is great!", "cl100k_base", 6],
  ["tiktoken is great!", "o200k_base", 6],
  ["antidisestablishmentarianism", "cl100k_base", 6],
  ["2 + 2 = 4", "cl100k_base", 7],
  ["お誕生日おめでとう", "cl100k_base", 9],
  ["お誕生日おめでとう", "o200k_base", 8],
];

describe("the token counter", () => {
  test.each(VECTORS)("counts %j in %s as %i tokens", async (text, encoding, tokens) => {
    expect(await counter.count([text], encoding)).toEqual({ tokens, exact: true });
  });

  test("counts several texts as their sum", async () => {
    expect(await counter.count(["hello world", "hello world"], "o200k_base")).toEqual({
      tokens: 4,
      exact: true,
    });
  });

  test("counts special tokens in user text as plain text, without throwing", async () => {
    const { tokens, exact } = await counter.count(["<|endoftext|><|im_start|>"], "o200k_base");
    expect(exact).toBe(true);
    expect(tokens).toBeGreaterThan(6);
  });

  test.each(["a", " ", "\n", "😀", "日"])(
    "100 KB of %j are counted, exactly enough",
    async (unit) => {
      const text = unit.repeat(100_000 / unit.length);
      const { tokens, exact } = await counter.count([text], "o200k_base");
      expect(exact).toBe(true);
      expect(tokens).toBeGreaterThan(0);
      expect(tokens).toBeLessThanOrEqual(Buffer.byteLength(text));
    },
  );

  test("a long ordinary text counts as it does unsplit, on the loop and in the worker", async () => {
    const text = 'The quick brown fox says: {"n": 12, "x": [true]}\n  Straße, 日本語。\t'.repeat(
      500,
    );
    expect(splitRuns(text)).toEqual([text]);
    for (const encoding of ["o200k_base", "cl100k_base"] as const) {
      const oracle = get_encoding(encoding);
      const expected = oracle.encode_ordinary(text).length;
      const short = oracle.encode_ordinary(text.slice(0, 1_000)).length;
      oracle.free();
      expect(await counter.count([text], encoding)).toEqual({ tokens: expected, exact: true });
      const { tokens } = await counter.count([text.slice(0, 1_000)], encoding);
      expect(tokens).toBe(short);
    }
  });

  test("a cut run counts at most three tokens per cut more than the whole", async () => {
    const text = "abcdefghijklmnopqrstuvwxyz0123456789".repeat(80);
    const oracle = get_encoding("o200k_base");
    const whole = oracle.encode_ordinary(text).length;
    oracle.free();
    const { tokens } = await counter.count([text], "o200k_base");
    const cuts = splitRuns(text).length - 1;
    expect(cuts).toBe(5);
    expect(tokens - whole).toBeGreaterThanOrEqual(0);
    expect(tokens - whole).toBeLessThanOrEqual(3 * cuts);
  });

  test("text beyond what is worth counting answers its byte length and says so", async () => {
    const text = "word ".repeat(1_000_000);
    expect(await counter.count([text], "o200k_base")).toEqual({ tokens: 5_000_000, exact: false });
  });

  test("a count past its deadline answers its byte length and says so", async () => {
    const hurried = createTokenCounter({ deadlineMs: 1 });
    const text = "word ".repeat(200_000);
    expect(await hurried.count([text], "o200k_base")).toEqual({ tokens: 1_000_000, exact: false });
    await hurried.close();
  });

  test("more counts than may wait answer their byte length, and their deadline passes without effect", async () => {
    const full = createTokenCounter({ deadlineMs: 200 });
    const text = "word ".repeat(200_000);
    const counts = Array.from({ length: 400 }, () => full.count([text], "o200k_base"));
    for (const { tokens, exact } of await Promise.all(counts)) {
      expect(exact ? tokens <= 1_000_000 : tokens === 1_000_000).toBe(true);
    }
    await new Promise((resolve) => setTimeout(resolve, 400));
    const { tokens } = await full.count(["hello"], "o200k_base");
    expect(tokens).toBeGreaterThan(0);
    await full.close();
  });

  test("closing ends running counts with their byte length, and later ones too", async () => {
    const closed = createTokenCounter({});
    const running = closed.count(["word ".repeat(200_000)], "o200k_base");
    await closed.close();
    expect(await running).toEqual({ tokens: 1_000_000, exact: false });
    expect(await closed.count(["word"], "o200k_base")).toEqual({ tokens: 4, exact: false });
  });
});
