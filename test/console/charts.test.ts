import { html } from "hono/html";
import { describe, expect, test } from "vitest";
import { modelsOf } from "../../src/console/pages/overview.ts";
import { barsChart, budgetBar, roundUp, spanBar, trendChart } from "../../src/console/charts.ts";
import { usdText, type Markup } from "../../src/console/figures.ts";

const HOSTILE = `"><script>alert('&')</script>`;
const SAFE = "&quot;&gt;&lt;script&gt;alert(&#39;&amp;&#39;)&lt;/script&gt;";

/** As one line: how it is broken is the formatter's. */
const written = async (markup: Markup) => String(await markup).replaceAll(/\s+/gu, " ");

const trend = (values: readonly (bigint | null)[]) =>
  written(
    trendChart({
      title: "Spend",
      measure: "Spend",
      per: "Day",
      points: values.map((value, index) => ({
        label: `day ${index}`,
        value,
        text: value === null ? "none" : usdText(value),
      })),
      textOf: usdText,
    }),
  );

describe("a trend", () => {
  test("runs from zero to a round value, over its whole width", async () => {
    const text = await trend([0n, 2_000_000_000_000n, 1_000_000_000_000n]);
    expect(text).toContain('<polyline class="line" points="0,200 500,0 1000,100" />');
    expect(text).toContain('points="0,200 0,200 500,0 1000,100 1000,200"');
    expect(text).toContain("<span>$2.00</span><span>$1.00</span><span>$0.00</span>");
  });

  test("says each figure on its place and in a table", async () => {
    const text = await trend([1_500_000_000_000n, 0n]);
    expect(text).toContain("<title>day 0: $1.50</title>");
    expect(text).toMatch(/<th scope="row">day 0<\/th>\s*<td class="number">\$1\.50<\/td>/u);
    expect(text.match(/<tr>/gu)).toHaveLength(3);
  });

  test.each([
    { name: "nothing", values: [] },
    { name: "one day without spend", values: [0n] },
    { name: "days without spend", values: [0n, 0n] },
    { name: "one day", values: [7n] },
  ])("of $name has no number that is none", async ({ values }) => {
    expect(await trend(values)).not.toMatch(/NaN|Infinity|undefined/u);
  });

  test("of zeros alone has zero on its axis, and no amount that nobody spends", async () => {
    const text = await trend([0n, 0n]);
    expect(text).toContain("<span></span><span></span><span>$0.00</span>");
    expect(text).not.toContain("$0.000");
  });

  test("passes over what has no value, which is not zero", async () => {
    const text = await trend([null, 1_000_000_000_000n, null, 2_000_000_000_000n, null]);
    expect(text).toContain('<polyline class="line" points="250,100 750,0" />');
    expect(text).toContain('points="250,200 250,100 750,0 750,200"');
    expect(text).toContain("<title>day 2: none</title>");
    expect(await trend([null, 1_000_000_000_000n])).toContain(
      '<polyline class="line dot" points="1000,0 1000,0" />',
    );
    expect(await trend([null, null])).toContain('<polyline class="line" points="" />');
  });

  test("keeps a figure of forty digits in its place", async () => {
    expect(await trend([10n ** 39n, 5n * 10n ** 38n])).toContain('points="0,0 1000,100"');
  });

  test("shows what somebody wrote as text", async () => {
    const points = [{ label: HOSTILE, value: 1n, text: HOSTILE }];
    const chart = { title: HOSTILE, measure: HOSTILE, per: HOSTILE, points, textOf: () => HOSTILE };
    const text = await written(trendChart(chart));
    expect(text).not.toContain("<script");
    expect(text).toContain(`aria-label="${SAFE}"`);
    expect(text).toContain(`<title>${SAFE}: ${SAFE}</title>`);
  });
});

describe("bars", () => {
  const bars = (values: readonly bigint[], label: string | Markup = "a") =>
    written(
      barsChart({
        title: "By model",
        what: "Model",
        measure: "Spend",
        bars: values.map((value) => ({ label, value, text: String(value) })),
      }),
    );

  test("are as long as their share of the longest", async () => {
    const text = await bars([4n, 1n, 0n]);
    const widths = [...text.matchAll(/class="fill" width="([^"]+)"/gu)].map(([, width]) => width);
    expect(widths).toEqual(["100%", "25%", "0%"]);
  });

  test("show what somebody wrote as text, and a link as a link", async () => {
    expect(await bars([1n], HOSTILE)).toContain(`<th scope="row">${SAFE}</th>`);
    expect(await bars([1n], html`<a href="/x">x</a>`)).toContain('<a href="/x">x</a>');
  });
});

describe("spend by model", () => {
  const model = (name: string, cost: string) => ({
    upstream: null,
    model: name,
    attempts: 1,
    blocked: 0,
    repeated: 0,
    unpriced: 0,
    cost_usd: cost,
    reserved_usd: "0.00",
    tokens: 1,
  });

  test("says what of it is not shown", async () => {
    const models = Array.from({ length: 10 }, (_, i) => model(`m${i}`, i < 8 ? "2.00" : "0.25"));
    const shown = String(await modelsOf({ by_model: models.slice(0, 8) }));
    expect(shown).not.toContain("more, for");
    const text = String(await modelsOf({ by_model: models }));
    expect(text).toContain("2 more, for $0.50 in all");
    expect(text).not.toContain("m8");
  });
});

describe("a budget", () => {
  test.each([
    { committed: 20, reserved: 30, limit: 100, state: "calm", widths: ["20%", "30%"] },
    { committed: 70, reserved: 10, limit: 100, state: "near", widths: ["70%", "10%"] },
    { committed: 90, reserved: 10, limit: 100, state: "full", widths: ["90%", "10%"] },
    // More than there is: the bar is whole, and its parts keep their proportion.
    { committed: 150, reserved: 50, limit: 100, state: "full", widths: ["75%", "25%"] },
    { committed: 0, reserved: 0, limit: 0, state: "calm", widths: ["0%", "0%"] },
  ])("of $limit with $committed and $reserved is $state", async ({ state, widths, ...figures }) => {
    const units = {
      committed: BigInt(figures.committed),
      reserved: BigInt(figures.reserved),
      limit: BigInt(figures.limit),
    };
    const text = await written(budgetBar({ ...units, text: HOSTILE }));
    expect(text).toContain(`class="budget ${state}"`);
    expect(text).toContain(`class="committed" width="${widths[0]}"`);
    expect(text).toMatch(new RegExp(`class="reserved" x="${widths[0]}" width="${widths[1]}"`, "u"));
    expect(text).toContain(`aria-label="${SAFE}"`);
  });
});

describe("a span", () => {
  test.each([
    { from: 0, to: 50, whole: 100, x: "0%", width: "50%" },
    { from: 50, to: 50, whole: 100, x: "50%", width: "1.5%" },
    // What happened at the very end is seen as well.
    { from: 100, to: 100, whole: 100, x: "98.5%", width: "1.5%" },
    { from: 0, to: 0, whole: 0, x: "0%", width: "1.5%" },
  ])("from $from to $to of $whole", async ({ from, to, whole, x, width }) => {
    expect(await written(spanBar(from, to, whole))).toContain(
      `class="fill" x="${x}" width="${width}"`,
    );
  });
});

test.each([
  { value: 0, end: 10n },
  { value: 1, end: 1n },
  { value: 3, end: 4n },
  { value: 41, end: 50n },
  { value: 51, end: 100n },
  { value: 100, end: 100n },
  { value: 418, end: 500n },
])("an axis for $value ends at the next round value", ({ value, end }) => {
  expect(roundUp(BigInt(value))).toBe(end);
});
