/** Amounts, counts and times as people read them. Where something was rounded, the exact value is its title. */
import { html } from "hono/html";

import { assert } from "../lib/assert.ts";

/** HTML whose parts were escaped as they were put in. */
export type Markup = ReturnType<typeof html>;

/** Decimals of a dollar amount: a pico-dollar is the smallest. */
const DECIMALS = 12;
const PICOS = 10n ** BigInt(DECIMALS);

/** Digits of an amount below a dollar: beyond the third nobody compares any more. */
const DIGITS_SHOWN = 3;

/** An exact decimal of the API as whole pico-dollars. */
export function picosOf(decimal: string): bigint {
  const match = /^(-?)(\d+)(?:\.(\d{1,12}))?$/.exec(decimal);
  assert(match !== null, `no amount of money: ${decimal}`);
  const [, sign, whole = "", fraction = ""] = match;
  const picos = BigInt(whole) * PICOS + BigInt(fraction.padEnd(DECIMALS, "0"));
  return sign === "-" ? -picos : picos;
}

/** Pico-dollars as an exact decimal: `0.0041847`, with cents at least. */
export function decimalOf(picos: bigint): string {
  const size = picos < 0n ? -picos : picos;
  const fraction = String(size % PICOS)
    .padStart(DECIMALS, "0")
    .replace(/0{1,10}$/, "");
  return `${picos < 0n ? "-" : ""}${size / PICOS}.${fraction}`;
}

/** From a dollar on by the cent, below it by three digits: `$1,204.50`, `$0.00418`. */
export function usdText(picos: bigint): string {
  const size = picos < 0n ? -picos : picos;
  const sign = picos < 0n ? "−" : "";
  const zeros = DECIMALS - String(size).length;
  const shown = size >= PICOS ? 2 : Math.min(DECIMALS, Math.max(2, zeros + DIGITS_SHOWN));
  const unit = 10n ** BigInt(DECIMALS - shown);
  const rounded = ((size + unit / 2n) / unit) * unit;
  const [whole = "", fraction = ""] = decimalOf(rounded).split(".");
  return `${sign}$${grouped(whole)}.${fraction}`;
}

export function usd(decimal: string): Markup {
  const picos = picosOf(decimal);
  const text = usdText(picos);
  const exact = `$${decimalOf(picos)}`;
  return text.replaceAll(",", "") === exact
    ? html`<data value="${decimal}">${text}</data>`
    : html`<data value="${decimal}" title="${exact}">${text}</data>`;
}

/** How an amount has changed, in whole percent: `12 % up`. Of nothing there is no percentage: null. */
export function changeText(now: bigint, before: bigint): string | null {
  if (before <= 0n) return null;
  const change = ((now - before) * 200n) / before;
  const percent = ((change < 0n ? -change : change) + 1n) / 2n;
  if (percent === 0n) return "the same";
  return `${grouped(String(percent))} % ${change < 0n ? "down" : "up"}`;
}

/** Null: nobody knows, which is not nothing. */
export function usdOrDash(decimal: string | null): Markup {
  return decimal === null ? DASH : usd(decimal);
}

export const DASH = html`<span class="none" title="not known">–</span>`;

export function count(value: number): string {
  return grouped(String(value));
}

/** An amount of a limit: dollars as a decimal text, everything else as a whole number. */
export type Amount = string | number;

export function amount(value: Amount): Markup {
  return typeof value === "string"
    ? usd(value)
    : html`<data value="${value}">${count(value)}</data>`;
}

export function amountText(value: Amount): string {
  return typeof value === "string" ? usdText(picosOf(value)) : count(value);
}

/** For proportions: both kinds as whole numbers of their smallest unit. */
export function unitsOf(value: Amount): bigint {
  return typeof value === "string" ? picosOf(value) : BigInt(Math.trunc(value));
}

function grouped(digits: string): string {
  return digits.replaceAll(/\B(?=(?:\d{3})+$)/g, ",");
}

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
export const DAY_MS = 24 * HOUR_MS;

/** `3 min ago`, `in 2 h`, and from a week on the day. The exact moment is its title. */
export function when(iso: string, now: Date): Markup {
  const at = new Date(iso);
  return html`<time datetime="${iso}" title="${exactTime(at)}">${distance(at, now)}</time>`;
}

export function whenOrDash(iso: string | null, now: Date): Markup {
  return iso === null ? html`<span class="none">–</span>` : when(iso, now);
}

export function exactTime(at: Date): string {
  return `${at.toISOString().slice(0, 19).replace("T", " ")} UTC`;
}

export function dayText(at: Date): string {
  return at.toLocaleDateString("en-GB", { day: "numeric", month: "short", timeZone: "UTC" });
}

function distance(at: Date, now: Date): string {
  const ms = at.getTime() - now.getTime();
  const size = Math.abs(ms);
  if (size >= 7 * DAY_MS) {
    const year = at.getUTCFullYear() === now.getUTCFullYear() ? "" : ` ${at.getUTCFullYear()}`;
    return `${dayText(at)}${year}`;
  }
  if (size < 10_000) return "now";
  const text = durationText(size);
  return ms < 0 ? `${text} ago` : `in ${text}`;
}

/** One unit that fits: `340 ms`, `1.2 s`, `14 min`, `3 h`, `5 days`. */
export function durationText(ms: number): string {
  if (ms < 1_000) return `${Math.round(ms)} ms`;
  if (ms < 10_000) return `${(ms / 1_000).toFixed(1)} s`;
  if (ms < 90_000) return `${Math.round(ms / 1_000)} s`;
  if (ms < 90 * MINUTE_MS) return `${Math.round(ms / MINUTE_MS)} min`;
  if (ms < 36 * HOUR_MS) return `${Math.round(ms / HOUR_MS)} h`;
  return `${Math.round(ms / DAY_MS)} days`;
}
