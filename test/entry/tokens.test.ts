import { get_encoding } from "tiktoken";
import { afterAll, describe, expect, test } from "vitest";
import { splitRuns, type Encoding } from "../../src/core/token-runs.ts";
import { createTokenCounter } from "../../src/entry/tokens.ts";

const counter = createTokenCounter({ deadlineMs: 60_000 });
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
    expect(await counter.count([text], encoding)).toBe(tokens);
  });

  test("counts several texts as their sum", async () => {
    expect(await counter.count(["hello world", "hello world"], "o200k_base")).toBe(4);
  });

  test("counts special tokens in user text as plain text, without throwing", async () => {
    const tokens = await counter.count(["<|endoftext|><|im_start|>"], "o200k_base");
    expect(tokens).toBeGreaterThan(6);
  });

  test.each(["a", " ", "\n", "😀", "日"])(
    "100 KB of %j are counted, exactly enough",
    async (unit) => {
      const text = unit.repeat(100_000 / unit.length);
      const tokens = await counter.count([text], "o200k_base");
      expect(tokens).toBeGreaterThan(0);
      expect(tokens).toBeLessThanOrEqual(Buffer.byteLength(text));
    },
  );

  test("a long ordinary text counts as it does unsplit", async () => {
    const text = 'The quick brown fox says: {"n": 12, "x": [true]}\n  Straße, 日本語。\t'.repeat(
      500,
    );
    expect(splitRuns(text)).toEqual([text]);
    for (const encoding of ["o200k_base", "cl100k_base"] as const) {
      const oracle = get_encoding(encoding);
      const expected = oracle.encode_ordinary(text).length;
      const short = oracle.encode_ordinary(text.slice(0, 1_000)).length;
      oracle.free();
      expect(await counter.count([text], encoding)).toBe(expected);
      expect(await counter.count([text.slice(0, 1_000)], encoding)).toBe(short);
    }
  });

  test("a cut run counts at most three tokens per cut more than the whole", async () => {
    const text = "abcdefghijklmnopqrstuvwxyz0123456789".repeat(80);
    const oracle = get_encoding("o200k_base");
    const whole = oracle.encode_ordinary(text).length;
    oracle.free();
    const tokens = await counter.count([text], "o200k_base");
    const cuts = splitRuns(text).length - 1;
    expect(cuts).toBe(5);
    expect(tokens).toBeGreaterThanOrEqual(whole);
    expect(tokens).toBeLessThanOrEqual(whole + 3 * cuts);
  });

  test("text beyond what is worth counting is not counted", async () => {
    const text = "word ".repeat(1_000_000);
    expect(await counter.count([text], "o200k_base")).toBeNull();
  });

  test("a count past its deadline is none", async () => {
    const hurried = createTokenCounter({ deadlineMs: 1 });
    const text = "word ".repeat(200_000);
    expect(await hurried.count([text], "o200k_base")).toBeNull();
    await hurried.close();
  });

  test("more counts than may wait are none, and their deadline passes without effect", async () => {
    const full = createTokenCounter({ deadlineMs: 200 });
    const text = "word ".repeat(200_000);
    const counts = Array.from({ length: 400 }, () => full.count([text], "o200k_base"));
    const answered = await Promise.all(counts);
    expect(answered).toContain(null);
    for (const tokens of answered) expect(tokens ?? 0).toBeLessThanOrEqual(1_000_000);
    await new Promise((resolve) => setTimeout(resolve, 400));
    expect([1, null]).toContain(await full.count(["hello"], "o200k_base"));
    await full.close();
  });

  test("closing ends running counts without one, and later ones too", async () => {
    const closed = createTokenCounter({});
    const running = closed.count(["word ".repeat(200_000)], "o200k_base");
    await closed.close();
    expect(await running).toBeNull();
    expect(await closed.count(["word"], "o200k_base")).toBeNull();
  });
});
