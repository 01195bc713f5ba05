/** What one outcome costs: by type, beside the period before, over time, by what drives it, down to its runs. */
import { html } from "hono/html";

import type { Answered } from "../api.ts";
import { trendChart } from "../charts.ts";
import { count, picosOf, usd, usdText, when, type Markup } from "../figures.ts";
import { DEAREST_RUNS_SHOWN, OUTCOME_TYPES_SHOWN } from "../limits.ts";
import { badge, card, empty, heading, problemBox, table } from "../page.ts";
import { PERIODS, periodOf, slotsOf, spanText, type Period, type PeriodName } from "../period.ts";
import {
  CostPerOutcome,
  Reconciled,
  RunCosts,
  type OutcomeRow,
  type RunCost,
} from "../report-answers.ts";
import type { Asked, Page, Routes, Visit } from "../visit.ts";
import { driversOf } from "./outcome-drivers.ts";
import { headlineOf } from "./outcome-headline.ts";
import { invoicesOf } from "./outcome-invoices.ts";
import { runHref } from "../run-links.ts";
import { countOrNone, usdOrNone } from "./runs.ts";

const PERIOD_TEXTS: Readonly<Record<PeriodName, string>> = {
  this_month: "This month",
  last_month: "Last month",
  "90_days": "Last 90 days",
};

const TIMES = ["day", "week"] as const;
const CUTS = ["model", "workflow", "customer", "step", "tool"] as const;
/** What the copies of a closed period hold. */
const CLOSED_CUTS = ["workflow", "customer"] as const;

/** What the page is of, as its address says it. */
type View = {
  readonly name: PeriodName;
  readonly period: Period;
  readonly type: string | null;
  readonly by: (typeof TIMES)[number];
  /** Null: as is usual for the period. */
  readonly cut: Cut | null;
};

type Cut = (typeof CUTS)[number];

export function outcomePages({ page, file }: Routes): void {
  page("/outcomes", outcomesPage);
  file("/outcomes.csv", async (asked) => {
    const { period, type } = viewOf(asked);
    const groups = asked.query("group_by") ?? "type";
    const query = { ...spanQuery(period), type, group_by: groups, format: "csv" };
    return await asked.visit.api.file("/reports/cost-per-outcome", query);
  });
}

function viewOf({ visit, query }: Asked): View {
  const name = PERIODS.find((one) => one === query("period")) ?? "this_month";
  return {
    name,
    period: periodOf(name, visit.now),
    type: query("type"),
    by: TIMES.find((one) => one === query("by")) ?? (name === "90_days" ? "week" : "day"),
    cut: CUTS.find((one) => one === query("cut")) ?? null,
  };
}

function spanQuery({ from, to }: { readonly from: string; readonly to: string }) {
  return { from, to, time_zone: "UTC" };
}

async function outcomesPage(asked: Asked): Promise<Page> {
  const { visit } = asked;
  const view = viewOf(asked);
  const { name, period } = view;
  const path = "/reports/cost-per-outcome";
  const [now, before, invoices] = await Promise.all([
    visit.api.get(CostPerOutcome, path, { ...spanQuery(period), group_by: "type" }),
    visit.api.get(CostPerOutcome, path, { ...spanQuery(period.before), group_by: "type" }),
    visit.api.look(Reconciled, "/reports/reconciliation/state", {
      from: period.from,
      to: period.to,
    }),
  ]);
  const lead = html`All that the runs of an outcome cost, whatever came of their calls, by its
  successes. ${spanText(period)}, days in UTC${now.closed === null ? "" : "; the period is closed"}.`;
  const chosen = chosenOf(view, now);
  const body = html`${heading("Cost per outcome", { lead })}
    <nav class="tabs" aria-label="Period">
      ${PERIODS.map((one) =>
        tab(visit.href("/outcomes", { period: one, type: view.type, cut: view.cut }), {
          text: PERIOD_TEXTS[one],
          isCurrent: one === name,
        }),
      )}
    </nav>
    ${
      now.rows.length === 0
        ? noOutcomes(now)
        : html`${headlines(visit, { chosen, now, before, invoices: invoicesOf(invoices) })}
          ${await detailOf(visit, chosen)}`
    }`;
  return { title: "Cost per outcome", body };
}

/** A closed period is not told apart by everything: what it cannot be is not offered. */
function chosenOf(view: View, { rows, closed }: CostPerOutcome): Chosen {
  const cuts: readonly Cut[] = closed === null ? CUTS : CLOSED_CUTS;
  const cut = cuts.find((one) => one === view.cut) ?? (closed === null ? "model" : "workflow");
  return { ...view, type: view.type ?? typeOf(rows[0]), cuts, cut };
}

function tab(href: string, { text, isCurrent }: { text: string; isCurrent: boolean }): Markup {
  return html`<a href="${href}" ${isCurrent ? html`aria-current="true"` : ""}>${text}</a>`;
}

function typeOf(row: OutcomeRow | undefined): string {
  return row?.groups["type"] ?? "";
}

function noOutcomes(report: CostPerOutcome): Markup {
  return html`<section class="card">
    <h2>No outcome occurred in this period</h2>
    <div class="intro">
      <p>
        An outcome is what a run was for: a ticket resolved, a refund paid. Declare the type once,
        and say of each run what became of it; then this page shows what one success costs, the
        failed and repeated calls included.
      </p>
      <pre>
npx tollgate outcome-types create ticket_resolved --value 12.50
npx tollgate outcomes record ticket-4711 --type ticket_resolved --status success</pre>
      <p class="note">${report.runs_without_outcome === 0 ? "" : withoutOutcome(report)} ${DOCS}</p>
    </div>
  </section>`;
}

/** What is in no row, and yet was spent. */
function withoutOutcome(report: CostPerOutcome): Markup | string {
  const { runs_without_outcome: runs, unattributed_usd: cost } = report;
  if (runs === 0) return "Every run that began in this period has an outcome.";
  return html`${count(runs)} ${runs === 1 ? "run" : "runs"} that began in this period, for
  ${usd(cost)} in all, ${runs === 1 ? "has" : "have"} no outcome.`;
}

const DOCS = html`<code>docs/outcomes.md</code> says how to tell outcomes,
  <code>docs/reports.md</code> what each figure means, and <a href="/docs">the API</a> how to ask
  for them.`;

type Chosen = View & {
  readonly type: string;
  readonly cuts: readonly Cut[];
  readonly cut: Cut;
};

type Compared = {
  readonly chosen: Chosen;
  readonly now: CostPerOutcome;
  readonly before: CostPerOutcome;
  readonly invoices: Markup;
};

function headlines(visit: Visit, { chosen, now, before, invoices }: Compared): Markup {
  const { name, period, cut } = chosen;
  const past = new Map(before.rows.map((row) => [typeOf(row), row]));
  const shown = now.rows.slice(0, OUTCOME_TYPES_SHOWN);
  const more = now.rows.length - shown.length + now.rows_left_off;
  return html`<ul class="types">
      ${shown.map((row) => {
        const type = typeOf(row);
        const href = `${visit.href("/outcomes", { period: name, type, cut })}#type`;
        const terms = { href, before: past.get(type) ?? null, beforeName: period.beforeName };
        const isCurrent = type === chosen.type;
        return html`<li class="card ${isCurrent ? "current" : ""}">${headlineOf(row, terms)}</li>`;
      })}
    </ul>
    <p class="note">
      ${more === 0 ? "" : `${count(more)} further types are in the file.`} ${withoutOutcome(now)}
      <a href="${visit.href("/outcomes.csv", { period: name })}">All types as CSV</a>. ${invoices}
      ${DOCS}
    </p>`;
}

async function detailOf(visit: Visit, view: Chosen): Promise<Markup> {
  const { period, type, by, cuts, cut } = view;
  const path = "/reports/cost-per-outcome";
  const asked = { ...spanQuery(period), type };
  const past = { ...spanQuery(period.before), type };
  const [trend, drivers, driversBefore, runs] = await Promise.all([
    visit.api.look(CostPerOutcome, path, { ...asked, group_by: by }),
    visit.api.look(CostPerOutcome, path, { ...asked, group_by: cut }),
    visit.api.look(CostPerOutcome, path, { ...past, group_by: cut }),
    visit.api.look(RunCosts, "/reports/runs", { ...asked, limit: DEAREST_RUNS_SHOWN }),
  ]);
  const tabs = <Name extends string>(
    label: string,
    { names, param, current }: { names: readonly Name[]; param: "by" | "cut"; current: Name },
  ) =>
    html`<nav class="tabs" aria-label="${label}">
      ${names.map((one) => {
        const { name } = view;
        const query = { period: name, type, by, cut, [param]: one };
        return tab(`${visit.href("/outcomes", query)}#type`, {
          text: `By ${one}`,
          isCurrent: one === current,
        });
      })}
    </nav>`;
  const csv = (group: string) =>
    html`<p class="more">
      <a href="${visit.href("/outcomes.csv", { period: view.name, type, group_by: group })}"
        >By ${group} as CSV</a
      >
    </p>`;
  const trendTabs = tabs("Trend", { names: TIMES, param: "by", current: by });
  const driverTabs = tabs("Drivers", { names: cuts, param: "cut", current: cut });
  return html`<div class="columns" id="type">
      ${card(
        html`${type}: cost per success`,
        html`${trendTabs} ${shownOr(trend, (report) => trendOf(report, view))} ${csv(by)}`,
      )}
      ${card(
        html`${type}: what drives it`,
        html`${driverTabs}
        ${shownOr(drivers, (report) =>
          driversOf(report, {
            before: driversBefore.kind === "done" ? driversBefore.body : null,
            beforeName: period.beforeName,
            cut,
          }),
        )}
        ${csv(cut)}`,
      )}
    </div>
    ${card(
      html`${type}: the dearest runs`,
      shownOr(runs, ({ rows }) => runsOf(visit, rows, type)),
    )}`;
}

/** What cannot be told of so much, the API says in a sentence. */
function shownOr<Body>(answer: Answered<Body>, show: (body: Body) => Markup): Markup {
  return answer.kind === "done" ? show(answer.body) : html`${problemBox(answer.message)}`;
}

function trendOf({ rows, total }: CostPerOutcome, { period, by, type }: Chosen): Markup {
  if (rows.length === 0) return empty("No outcome of this type occurred in this period.");
  const known = new Map(rows.map((row) => [row.groups[by], row]));
  const points = slotsOf(period, by).map(({ key, label }) => {
    const row = known.get(key);
    const cost = row?.cost_per_success_usd ?? null;
    if (row === undefined || cost === null) return { label, value: null, text: "no success" };
    const value = picosOf(cost);
    return { label, value, text: `${usdText(value)} · ${count(row.outcomes.success)}` };
  });
  const cost = total.cost_per_success_usd;
  const whole = cost === null ? "no success" : `${usdText(picosOf(cost))} in all`;
  return trendChart({
    title: `Cost per success of ${type} by ${by}, ${whole}`,
    measure: "Cost per success · successes",
    per: by === "day" ? "Day" : "Week from",
    points,
    textOf: usdText,
  });
}

function runsOf(visit: Visit, rows: readonly RunCost[], type: string): Markup {
  if (rows.length === 0) return empty("No run of this type began in this period.");
  return table(
    "The dearest runs",
    [
      { title: "Run", cell: ({ run }) => html`<a href="${runHref(visit, run)}">${run}</a>` },
      { title: "Outcome", cell: (run) => statuses(run, type) },
      { title: "Workflow", cell: ({ workflow }) => workflow ?? "" },
      { title: "Cost", isNumber: true, cell: ({ cost_usd: cost }) => usd(cost) },
      { title: "Wasted", isNumber: true, cell: ({ waste_usd: waste }) => usdOrNone(waste) },
      { title: "Attempts", isNumber: true, cell: ({ attempts }) => count(attempts) },
      { title: "Refused", isNumber: true, cell: ({ blocked }) => countOrNone(blocked) },
      { title: "Began", cell: ({ started_at: at }) => when(at, visit.now) },
    ],
    rows,
  );
}

/** Each once, of this type: a run may have had many outcomes. */
function statuses({ outcome }: RunCost, type: string): Markup {
  const own = outcome.filter((one) => one.type === type).map(({ status }) => status);
  return html`${[...new Set(own)].map((status) => html`${badge(status)} `)}`;
}
