/** What is spent now, what still may be, what was refused and why, and what waits for a person. */
import { html } from "hono/html";
import type { z } from "zod";

import { Approval, Limit, listOf, RunListed, Usage } from "../answers.ts";
import { barsChart, trendChart, type Point } from "../charts.ts";
import { count, DAY_MS, dayText, picosOf, usd, usdText, when, type Markup } from "../figures.ts";
import { type Forecast, forecastsOf } from "../forecast.ts";
import { LIMITS_SHOWN } from "../limits.ts";
import { card, empty, heading, itemsFor, problemBox, worded } from "../page.ts";
import { ToolCosts } from "../report-answers.ts";
import type { Routes, Visit } from "../visit.ts";
import { budgetLine, fullestFirst, paceLine } from "./budgets.ts";
import { toolsCard } from "./overview-tools.ts";
import { runsTable } from "./runs.ts";

type Usage = z.output<typeof Usage>;

const DAYS = 30;
const BURN_DAYS = 7;
const WAITING_SHOWN = 5;
const RUNS_SHOWN = 8;
const BUDGETS_SHOWN = 6;
const MODELS_SHOWN = 8;

export function overviewPage({ page }: Routes): void {
  page("", async ({ visit }) => {
    const title = "Overview";
    if (!visit.may("report", "admin")) return { title, body: elsewhere(visit) };
    const from = new Date(Math.floor(visit.now.getTime() / DAY_MS) * DAY_MS - (DAYS - 1) * DAY_MS);
    const today = new Date(from.getTime() + (DAYS - 1) * DAY_MS);
    const [usage, usageToday, tools, limits, forecasts, runs, approvals] = await Promise.all([
      visit.api.look(Usage, "/usage", { from: from.toISOString() }),
      visit.api.look(Usage, "/usage", { from: today.toISOString() }),
      visit.api.look(ToolCosts, "/reports/spend", {
        from: from.toISOString(),
        group_by: "tool",
      }),
      visit.api.get(listOf(Limit), "/limits", { limit: LIMITS_SHOWN }),
      forecastsOf(visit),
      visit.api.get(listOf(RunListed), "/runs", { limit: RUNS_SHOWN }),
      waiting(visit),
    ]);
    const budgets = card("Budgets", budgetsOf(visit, { limits: limits.data, forecasts }));
    const body = html`${heading(title, { lead: `The last ${DAYS} days, by day in UTC.` })}
    ${approvals.data.length === 0 ? "" : card("Waiting for a person", approvalsOf(visit, approvals))}
    ${
      usage.kind === "refused"
        ? html`${problemBox(usage.message)} ${budgets}`
        : figures(visit, {
            usage: usage.body,
            days: daysOf(usage.body, from),
            adjustedToday: usageToday.kind === "refused" ? "" : adjustedText(usageToday.body),
            budgets,
          })
    }
    ${toolsCard(tools)}
    ${card("Latest runs", runs.data.length === 0 ? noRuns(visit) : runsTable(visit, runs.data))}`;
    return { title, body };
  });
}

function figures(visit: Visit, { budgets, ...seen }: Seen): Markup {
  const { usage, days } = seen;
  return html`${tiles(visit, seen)}
    <div class="columns">${card("Spend by day", spendOf(usage, days))} ${budgets}</div>
    <div class="columns">
      ${card("Refused, by reason", refusalsOf(visit, usage))} ${card("By model", modelsOf(usage))}
    </div>`;
}

/** A key that may not read reports begins where it may. */
function elsewhere(visit: Visit): Markup {
  return html`${heading("Overview", { lead: "This key reads no reports. It may see:" })}
    <ul class="plain">
      ${itemsFor(visit).map(
        ({ path, label }) => html`<li><a href="${visit.href(path)}">${label}</a></li>`,
      )}
    </ul>`;
}

type Waiting = { readonly data: readonly Approval[]; readonly next: string | null };

async function waiting(visit: Visit): Promise<Waiting> {
  if (!visit.may("approve", "admin")) return { data: [], next: null };
  const asked = { state: "pending", limit: WAITING_SHOWN };
  return visit.api.get(listOf(Approval), "/approvals", asked);
}

type Day = Point & { readonly blocked: number };

/** Each day of the period, also those on which nothing was asked. */
function daysOf(usage: Usage, from: Date): readonly Day[] {
  const known = new Map(usage.by_day.map((day) => [day.day, day]));
  return Array.from({ length: DAYS }, (_, index) => {
    const at = new Date(from.getTime() + index * DAY_MS);
    const day = known.get(at.toISOString().slice(0, 10));
    const value = picosOf(day?.cost_usd ?? "0.00");
    return { label: dayText(at), value, text: usdText(value), blocked: day?.blocked ?? 0 };
  });
}

type Seen = {
  readonly usage: Usage;
  readonly days: readonly Day[];
  /** Empty where nothing was. */
  readonly adjustedToday: string;
  readonly budgets: Markup;
};

function tiles(visit: Visit, { usage, days, adjustedToday }: Omit<Seen, "budgets">): Markup {
  const today = days.at(-1);
  const { totals } = usage;
  const refused = html`<a href="${visit.href("/decisions", { verdict: "block" })}"
    >${count(totals.blocked)} refused</a
  >`;
  const unpriced = totals.unpriced === 0 ? "" : ` · ${count(totals.unpriced)} unpriced`;
  const repeated = totals.repeated === 0 ? "" : ` · ${count(totals.repeated)} repeated`;
  return html`<ul class="tiles">
    ${tile("Spent today", today?.text ?? "$0.00", `${adjustedToday}${burnText(days)}; ${count(today?.blocked ?? 0)} refused today`)}
    ${tile(`Spent in ${DAYS} days`, usd(totals.cost_usd), `${adjustedText(usage)}${count(totals.tokens)} tokens`)}
    ${tile("Held now", usd(totals.reserved_usd), "by calls in flight or unknown")}
    ${tile("Calls", count(totals.attempts), html`${refused}${repeated}${unpriced}`)}
  </ul>`;
}

/** Beside what was spent, as everywhere: no sum of calls holds it. */
function adjustedText({ adjustments: { entries, net_usd: net } }: Usage): string {
  return entries === 0 ? "" : `adjusted ${usdText(picosOf(net))}; `;
}

/** By whole days: today has hardly begun. */
function burnText(days: readonly Day[]): string {
  const week = days.slice(-1 - BURN_DAYS, -1);
  const sum = week.reduce((so, { value }) => so + (value ?? 0n), 0n);
  return `${usdText(sum / BigInt(BURN_DAYS))} a day in the ${BURN_DAYS} before`;
}

function tile(name: string, value: Markup | string, note: Markup | string): Markup {
  return html`<li>
    <span class="name">${name}</span> <strong>${value}</strong> <span class="note">${note}</span>
  </li>`;
}

function spendOf({ totals }: Usage, days: readonly Day[]): Markup {
  if (totals.attempts + totals.blocked === 0) {
    return empty("No call has passed yet. Point a client at this gateway: the README shows how.");
  }
  return trendChart({
    title: `Spend by day, ${usdText(picosOf(totals.cost_usd))} in all`,
    measure: "Spend",
    per: "Day",
    points: days,
    textOf: usdText,
  });
}

type Budgeted = {
  readonly limits: readonly Limit[];
  readonly forecasts: ReadonlyMap<string, Forecast>;
};

function budgetsOf(visit: Visit, { limits, forecasts }: Budgeted): Markup {
  if (limits.length === 0) {
    return empty(
      html`Spending has no limit. <a href="${visit.href("/budgets")}">Set a budget</a> to give it
        one.`,
    );
  }
  return html`<ul class="budgets">
      ${limits
        .toSorted(fullestFirst)
        .slice(0, BUDGETS_SHOWN)
        .map(
          (limit) =>
            html`<li>${budgetLine(visit, limit)} ${paceLine(visit, limit, forecasts)}</li>`,
        )}
    </ul>
    <p class="more"><a href="${visit.href("/budgets")}">All budgets and quotas</a></p>`;
}

function refusalsOf(visit: Visit, { by_reason: reasons }: Usage): Markup {
  if (reasons.length === 0) return empty("Nothing was refused.");
  return html`${barsChart({
      title: "Refusals by reason",
      what: "Reason",
      measure: "Refused",
      bars: reasons.map(({ reason, decisions }) => ({
        label: worded(reason),
        value: BigInt(decisions),
        text: count(decisions),
      })),
    })}
    <p class="more">
      <a href="${visit.href("/decisions", { verdict: "block" })}">Latest refusals</a>
    </p>`;
}

/** What is left off is told: the bars would not come to what was spent. */
export function modelsOf({ by_model: models }: Pick<Usage, "by_model">): Markup {
  const shown = models.filter(({ attempts }) => attempts > 0);
  if (shown.length === 0) return empty("No model was called.");
  const more = shown.length - MODELS_SHOWN;
  const bars = barsChart({
    title: "Spend by model",
    what: "Model",
    measure: "Spend",
    bars: shown.slice(0, MODELS_SHOWN).map(({ upstream, model, cost_usd: cost }) => ({
      label: labelOf(upstream, model),
      value: picosOf(cost),
      text: usd(cost),
    })),
  });
  if (more <= 0) return bars;
  const rest = shown
    .slice(MODELS_SHOWN)
    .reduce((sum, { cost_usd: cost }) => sum + picosOf(cost), 0n);
  return html`${bars}
    <p class="note">
      ${count(more)} more, for ${usdText(rest)} in all: <code>npx tollgate usage</code>
    </p>`;
}

/** What called no model stands under the name of what was done. */
const OF_NO_MODEL: ReadonlyMap<string, string> = new Map([
  ["execute_tool", "calls of tools"],
  ["step", "steps that callers run"],
  ["mcp_request", "other requests to servers"],
  ["approval", "people's answers"],
]);

function labelOf(upstream: string | null, model: string): string {
  const what = OF_NO_MODEL.get(model);
  if (what !== undefined) return upstream === null ? what : `${what}, ${upstream}`;
  return upstream === null ? model : `${upstream}/${model}`;
}

function approvalsOf(visit: Visit, { data, next }: Waiting): Markup {
  return html`<ul class="waiting">
      ${data.map(
        ({ id, resource, run, created_at: at }) =>
          html`<li>
            <a href="${visit.href(`/approvals/${encodeURIComponent(id)}`)}">${resource}</a> in
            ${run}, asked ${when(at, visit.now)}
          </li>`,
      )}
    </ul>
    ${next === null ? "" : html`<p class="more"><a href="${visit.href("/approvals")}">More wait</a></p>`}`;
}

function noRuns(visit: Visit): Markup {
  return empty(
    html`No run was named yet. Send <code>Tollgate-Run</code> with a call, and it has a timeline.
      Calls without one are among the <a href="${visit.href("/decisions")}">decisions</a>.`,
  );
}
