/**
 * Charts as pure functions of their figures. Lines and areas are SVG that stretches to its place; what is to
 * be read stands beside it as HTML, so that a phone does not shrink it. Colours are the style sheet's:
 * an inline one would need a policy that allows it. Each chart carries its figures as a table.
 */
import { html } from "hono/html";

import type { Markup } from "./figures.ts";

export type Point = {
  /** On the axis and in the table: `21 Nov`. */
  readonly label: string;
  /** Null: there is none, which is not zero; the line passes over it. */
  readonly value: bigint | null;
  /** The value as it is read: `$1.20`. */
  readonly text: string;
};

export type Trend = {
  readonly title: string;
  /** What the values are, for the table: `Spend`. */
  readonly measure: string;
  /** What a point is of, for the table: `Day`. */
  readonly per: string;
  readonly points: readonly Point[];
  /** How a value on the axis is written. */
  readonly textOf: (value: bigint) => string;
};

/** Units of the drawing; only their proportion counts. */
const WIDTH = 1_000;
const HEIGHT = 200;

/** A line over time with the area below it, from zero to the next round value. */
export function trendChart({ title, measure, per, points, textOf }: Trend): Markup {
  const most = points.reduce((so, { value }) => (value !== null && value > so ? value : so), 0n);
  const top = roundUp(most);
  // Of nothing but zeros there is no other value to tell.
  const ticks = most === 0n ? ["", "", textOf(0n)] : [top, top / 2n, 0n].map(textOf);
  const step = points.length < 2 ? WIDTH : WIDTH / (points.length - 1);
  const drawn = lineOf(points, top);
  return html`<figure class="trend">
    <figcaption class="unseen">${title}</figcaption>
    <div class="plot">
      <div class="y-axis" aria-hidden="true">
        ${ticks.map((text) => html`<span>${text}</span>`)}
      </div>
      <svg
        viewBox="0 0 ${WIDTH} ${HEIGHT}"
        preserveAspectRatio="none"
        role="img"
        aria-label="${title}"
      >
        <title>${title}</title>
        <path class="grid" d="M0 0H${WIDTH}M0 ${HEIGHT / 2}H${WIDTH}M0 ${HEIGHT}H${WIDTH}" />
        <polygon class="area" points="${drawn.area}" />
        <polyline class="line${drawn.isDot ? " dot" : ""}" points="${drawn.line}" />
        ${points.map(
          ({ label, text }, index) =>
            html`<rect
              class="hit"
              x="${digits(index * step - step / 2)}"
              y="0"
              width="${digits(step)}"
              height="${HEIGHT}"
              ><title>${label}: ${text}</title></rect
            >`,
        )}
      </svg>
      <div class="x-axis" aria-hidden="true">
        ${axisPoints(points).map(({ label }) => html`<span>${label}</span>`)}
      </div>
    </div>
    <details>
      <summary>Figures</summary>
      ${figuresTable({ measure, per, points })}
    </details>
  </figure>`;
}

function lineOf(points: readonly Point[], top: bigint) {
  const at = points.flatMap(({ value }, index) => {
    if (value === null) return [];
    const x = points.length < 2 ? 0 : (index * WIDTH) / (points.length - 1);
    return { x, y: HEIGHT - part(value, top) * HEIGHT };
  });
  const line = at.map(({ x, y }) => `${digits(x)},${digits(y)}`).join(" ");
  const [first, last] = [at.at(0), at.at(-1)];
  if (first === undefined || last === undefined) return { line, area: "", isDot: false };
  const area = `${digits(first.x)},${HEIGHT} ${line} ${digits(last.x)},${HEIGHT}`;
  // A single point is a line to itself, whose round ends are a dot.
  const isDot = at.length === 1;
  return { line: isDot ? `${line} ${line}` : line, area, isDot };
}

/** First, middle and last: as many as a phone has room for. */
function axisPoints(points: readonly Point[]): readonly Point[] {
  if (points.length < 3) return points;
  return [0, Math.floor((points.length - 1) / 2), points.length - 1].flatMap(
    (index) => points[index] ?? [],
  );
}

function figuresTable({ measure, per, points }: Pick<Trend, "measure" | "per" | "points">): Markup {
  return html`<table class="figures">
    <thead>
      <tr>
        <th scope="col">${per}</th>
        <th scope="col" class="number">${measure}</th>
      </tr>
    </thead>
    <tbody>
      ${points.toReversed().map(
        ({ label, text }) =>
          html`<tr>
            <th scope="row">${label}</th>
            <td class="number">${text}</td>
          </tr>`,
      )}
    </tbody>
  </table>`;
}

export type Bar = {
  readonly label: Markup | string;
  readonly value: bigint;
  readonly text: Markup | string;
};

export type Bars = {
  readonly title: string;
  readonly what: string;
  readonly measure: string;
  readonly bars: readonly Bar[];
};

/** Horizontal bars, the longest as wide as there is room: a table that shows its proportions. */
export function barsChart({ title, what, measure, bars }: Bars): Markup {
  const most = bars.reduce((longest, { value }) => (value > longest ? value : longest), 0n);
  return html`<table class="bars">
    <caption class="unseen">
      ${title}
    </caption>
    <thead class="unseen">
      <tr>
        <th scope="col">${what}</th>
        <th scope="col">${measure}</th>
      </tr>
    </thead>
    <tbody>
      ${bars.map(
        ({ label, value, text }) =>
          html`<tr>
            <th scope="row">${label}</th>
            <td>
              <span class="number">${text}</span>
              <svg class="bar" aria-hidden="true">
                <rect class="track" width="100%" height="100%" rx="3" />
                <rect class="fill" width="${percent(value, most)}" height="100%" rx="3" />
              </svg>
            </td>
          </tr>`,
      )}
    </tbody>
  </table>`;
}

export type BudgetFigures = {
  readonly committed: bigint;
  readonly reserved: bigint;
  readonly limit: bigint;
  /** The three as a sentence, for who does not see the bar. */
  readonly text: string;
};

/** What is spent, what calls in flight hold, and what is left of a limit. Beyond the limit the bar says so. */
export function budgetBar({ committed, reserved, limit, text }: BudgetFigures): Markup {
  const held = committed + reserved;
  const whole = held > limit ? held : limit;
  const level = part(held, limit === 0n ? 1n : limit);
  const state = level >= 1 ? "full" : level >= 0.8 ? "near" : "calm";
  return html`<svg class="budget ${state}" role="img" aria-label="${text}">
    <title>${text}</title>
    <rect class="track" width="100%" height="100%" rx="4" />
    <rect class="committed" width="${percent(committed, whole)}" height="100%" rx="4" />
    <rect
      class="reserved"
      x="${percent(committed, whole)}"
      width="${percent(reserved, whole)}"
      height="100%"
    />
  </svg>`;
}

/** A bar on a common axis of time: where something began, and how long it took. */
export function spanBar(from: number, to: number, whole: number): Markup {
  const scale = whole <= 0 ? 0 : 100 / whole;
  const width = Math.min(100, Math.max(1.5, (to - from) * scale));
  const x = Math.min(100 - width, Math.max(0, from * scale));
  return html`<svg class="span" aria-hidden="true">
    <rect class="track" y="45%" width="100%" height="10%" />
    <rect class="fill" x="${digits(x)}%" width="${digits(width)}%" height="100%" rx="2" />
  </svg>`;
}

/** A drawing needs no more than a thousandth, and a share of two bigints may be a float. */
function part(value: bigint, whole: bigint): number {
  return whole <= 0n ? 0 : Number((value * 10_000n) / whole) / 10_000;
}

function percent(value: bigint, whole: bigint): string {
  return `${digits(Math.min(100, Math.max(0, part(value, whole) * 100)))}%`;
}

function digits(value: number): string {
  return String(Math.round(value * 100) / 100);
}

/** The next of 1, 2, 5 times a power of ten: what an axis ends at. Zero has an axis as well. */
export function roundUp(value: bigint): bigint {
  if (value <= 0n) return 10n;
  const power = 10n ** BigInt(String(value).length - 1);
  for (const times of [1n, 2n, 4n, 5n, 10n]) if (times * power >= value) return times * power;
  return 10n * power;
}
