/** One type of outcome in one look: what a success costs, and whether that is more than before. */
import { html } from "hono/html";

import { changeText, count, picosOf, usd, usdText, type Markup } from "../figures.ts";
import { facts, type Fact } from "../page.ts";
import type { OutcomeRow } from "../report-answers.ts";

type Terms = {
  /** To the details of the type. */
  readonly href: string;
  readonly before: OutcomeRow | null;
  readonly beforeName: string;
};

export function headlineOf(row: OutcomeRow, { href, before, beforeName }: Terms): Markup {
  const { outcomes, cost_per_success_usd: cost } = row;
  const all = outcomes.success + outcomes.failure + outcomes.partial + outcomes.reversed;
  return html`<h2><a href="${href}">${row.groups["type"] ?? ""}</a></h2>
    <p class="figure">
      ${cost === null ? "No success" : html`${row.is_floor ? "≥ " : ""}${usd(cost)}`}
    </p>
    <p class="note">per success, ${changeOf(cost, { before, beforeName })}</p>
    ${facts([
      ["Successes", `${count(outcomes.success)} of ${count(all)}`],
      ["Cost in all", usd(row.cost_usd)],
      ["Cost of failures", usd(row.cost_of_failures_usd)],
      ["Wasted", usd(row.waste_usd)],
      ...valueOf(row),
    ])}
    ${row.is_floor ? html`<p class="note">${floorText(row)}</p>` : ""}`;
}

function changeOf(
  cost: string | null,
  { before, beforeName }: Pick<Terms, "before" | "beforeName">,
): Markup | string {
  const past = before?.cost_per_success_usd ?? null;
  if (past === null) return `nothing to compare with (${beforeName})`;
  const was = `${usdText(picosOf(past))} (${beforeName})`;
  const change = cost === null ? null : changeText(picosOf(cost), picosOf(past));
  if (cost === null || change === null) return `before ${was}`;
  const tone = picosOf(cost) > picosOf(past) ? "bad" : "good";
  return html`<span class="badge ${change === "the same" ? "calm" : tone}">${change}</span> from
    ${was}`;
}

function valueOf({ value_usd: value, margin_usd: margin }: OutcomeRow): readonly Fact[] {
  if (value === null || margin === null) return [];
  const isLoss = picosOf(margin) < 0n;
  return [
    ["Value", usd(value)],
    ["Margin", isLoss ? html`<span class="bad">${usd(margin)}</span>` : usd(margin)],
  ];
}

function floorText({ unpriced, open }: OutcomeRow): string {
  const parts = [
    ...(unpriced === 0
      ? []
      : [`${count(unpriced)} ${unpriced === 1 ? "attempt" : "attempts"} without a known price`]),
    ...(open === 0
      ? []
      : [
          `${count(open)} ${open === 1 ? "outcome" : "outcomes"} with an attempt that has not ended`,
        ]),
  ];
  return `At least that: ${parts.join(", ")}.`;
}
