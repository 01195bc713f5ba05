/** Decisions, and one of them explained: why, by which policies and meters, and how it ended. */
import { html } from "hono/html";

import { Attempt, Decision, listOf, type Meter } from "../answers.ts";
import { budgetBar } from "../charts.ts";
import {
  amount,
  amountText,
  count,
  exactTime,
  unitsOf,
  usd,
  usdOrDash,
  when,
  whenOrDash,
  type Markup,
} from "../figures.ts";
import { ROWS_SHOWN } from "../limits.ts";
import { badge, card, empty, facts, heading, pager, shortId, table, worded } from "../page.ts";
import type { Asked, Page, Routes, Scope, Visit } from "../visit.ts";
import { limitName } from "./budgets.ts";
import { keyLink } from "./keys.ts";
import { runHref } from "../run-links.ts";

const VERDICTS = [
  ["", "All"],
  ["allow", "Allowed"],
  ["block", "Refused"],
  ["require_approval", "Asked for approval"],
] as const;

export function decisionPages({ page }: Routes): void {
  page("/decisions", listPage);
  page("/decisions/:decision", decisionPage);
}

async function listPage({ visit, query }: Asked): Promise<Page> {
  const verdict = query("verdict");
  const asked = { verdict, cursor: query("cursor"), limit: ROWS_SHOWN };
  const { data, next } = await visit.api.get(listOf(Attempt), "/decisions", asked);
  const body = html`${heading("Decisions", { lead: "What was asked, and what the gate said." })}
    <nav class="tabs" aria-label="Verdict">
      ${VERDICTS.map(
        ([value, label]) =>
          html`<a
            href="${visit.href("/decisions", { verdict: value })}"
            ${(verdict ?? "") === value ? html`aria-current="true"` : ""}
            >${label}</a
          >`,
      )}
    </nav>
    ${data.length === 0 ? empty(verdict === null ? "Nothing was asked yet." : "There is none of this kind yet.") : decisionsTable(visit, data)}
    ${pager(visit, "/decisions", { next, query: { verdict } })}`;
  return { title: "Decisions", body };
}

function decisionsTable(visit: Visit, attempts: readonly Attempt[]): Markup {
  return table(
    "Decisions",
    [
      {
        title: "Asked",
        cell: ({ decision, decided_at: at }) =>
          html`<a href="${visit.href(`/decisions/${decision}`)}">${when(at, visit.now)}</a>`,
      },
      { title: "For", cell: ({ resource }) => resource },
      {
        title: "Run",
        cell: ({ run }) => html`<a href="${runHref(visit, run)}">${runName(run)}</a>`,
      },
      { title: "Status", cell: ({ status }) => badge(status) },
      { title: "Reason", cell: ({ reason }) => (reason === null ? "" : worded(reason)) },
      { title: "Estimate", isNumber: true, cell: ({ estimate_usd: cost }) => usdOrDash(cost) },
      { title: "Cost", isNumber: true, cell: ({ cost_usd: cost }) => usdOrDash(cost) },
    ],
    attempts,
  );
}

/** A run that nobody named has an id. */
function runName(run: string): Markup | string {
  return /^run_[0-9a-z]{26}$/.test(run) ? shortId(run) : run;
}

async function decisionPage({ visit, param }: Asked): Promise<Page> {
  const id = encodeURIComponent(param("decision"));
  const decision = await visit.api.get(Decision, `/decisions/${id}`);
  const { resource, status, decided_at: at, run } = decision;
  const up = html`<a href="${visit.href("/decisions")}">Decisions</a> ·
    <a href="${runHref(visit, run)}">run ${runName(run)}</a>`;
  const lead = html`${worded(decision.operation)}, ${when(at, visit.now)}
  (${exactTime(new Date(at))})`;
  const body = html`${heading(resource, { up, lead, state: badge(status) })}
  ${card("Why", whyList(visit, decision))} ${card("Figures", figures(visit, decision))}
  ${card("Meters before this decision", metersOf(visit, decision.meters))}
  ${card("Policies", policiesOf(visit, decision))} ${card("Record", recordOf(decision))}`;
  return { title: `Decision ${decision.id}`, body };
}

function whyList(visit: Visit, { explanation }: Decision): Markup {
  return html`<ol class="why">
    ${explanation.map((sentence) => html`<li>${linked(visit, sentence)}</li>`)}
  </ol>`;
}

const REFERENCE = /\b((?:dec|att|apr|lim|pol|key|run)_[0-9a-z]{12,64}|\d{4}-\d\d-\d\dT[\d:.]+Z)/;

/** Where the pages of what a sentence names are, and who may read them. */
const PLACES: Readonly<Record<string, { path: string; scopes: readonly Scope[] }>> = {
  dec: { path: "/decisions/", scopes: ["report", "admin"] },
  att: { path: "/decisions/", scopes: ["report", "admin"] },
  apr: { path: "/approvals/", scopes: ["approve", "admin"] },
  lim: { path: "/budgets/", scopes: ["report", "admin"] },
  pol: { path: "/policies/", scopes: ["report", "admin"] },
  run: { path: "/runs/", scopes: ["report", "admin"] },
  key: { path: "/keys/", scopes: ["admin"] },
};

/** A sentence with its ids as links and its times as times. */
export function linked(visit: Visit, sentence: string): Markup {
  const parts = sentence.split(REFERENCE).map((part, index) => {
    if (index % 2 === 0) return part;
    if (part.includes("T"))
      return html`<time datetime="${part}">${exactTime(new Date(part))}</time>`;
    const place = PLACES[part.slice(0, 3)];
    if (place === undefined || !visit.may(...place.scopes)) return shortId(part);
    return html`<a href="${visit.href(`${place.path}${part}`)}">${shortId(part)}</a>`;
  });
  return html`${parts}`;
}

function figures(visit: Visit, decision: Decision): Markup {
  const { usage, step, upstream, model, basis } = decision;
  // A tool's server says no model.
  const served = [upstream, model].filter((part) => part !== null).join("/");
  const used = Object.entries(usage).map(([kind, units]) => `${count(units)} ${worded(kind)}`);
  return facts([
    ["Cost", usdOrDash(decision.cost_usd)],
    ...(decision.adjusted_usd === null ? [] : [["Adjusted", usd(decision.adjusted_usd)] as const]),
    ["Estimate", usdOrDash(decision.estimate_usd)],
    ["Usage", used.length === 0 ? "none" : used.join(", ")],
    ["Basis", basis ?? "not settled"],
    ["Key", keyLink(visit, decision.key)],
    ["Step", step ?? "not named"],
    ["Attempt", count(decision.attempt)],
    ["Served by", served === "" ? "nobody" : served],
    ["Ended", whenOrDash(decision.ended_at, visit.now)],
  ]);
}

function metersOf(visit: Visit, meters: readonly Meter[]): Markup {
  if (meters.length === 0) {
    return empty(html`No limit stood in its way. <a href="${visit.href("/budgets")}">Set one</a>.`);
  }
  return html`<ul class="meters">
    ${meters.map((meter) => html`<li>${meterItem(visit, meter)}</li>`)}
  </ul>`;
}

function meterItem(visit: Visit, meter: Meter): Markup {
  const { limit, committed, reserved, asked, unit } = meter;
  const left = unitsOf(limit) - unitsOf(committed) - unitsOf(reserved);
  const fits = left >= unitsOf(asked);
  const text = `${amountText(committed)} of ${amountText(limit)} used, ${amountText(reserved)} held`;
  return html`<p class="name">
      <a href="${visit.href(`/budgets/${meter.limit_id}`)}"
        >${limitName({ ...meter, scope: { kind: meter.scope, id: meter.subject } })}</a
      >
      ${meter.mode === "shadow" ? badge("shadow") : ""}
    </p>
    ${budgetBar({ committed: unitsOf(committed), reserved: unitsOf(reserved), limit: unitsOf(limit), text })}
    <p class="note">
      ${amount(committed)} committed, ${amount(reserved)} reserved, of
      ${amount(limit)}${unit === "usd" ? "" : ` ${worded(unit)}`}; this call asked for
      <strong>${amount(asked)}</strong
      >${fits ? "" : html`, <span class="bad">for which there was no room</span>`}.
    </p>`;
}

function policiesOf(visit: Visit, { record }: Decision): Markup {
  const { policies = [], policy_version: version } = record;
  if (policies.length === 0) {
    return empty(html`No policy was in force. <a href="${visit.href("/policies")}">Policies</a>.`);
  }
  const list = table(
    "Policies",
    [
      {
        title: "Policy",
        cell: ({ id, name }) => (name === id ? id : html`${name} <small>${id}</small>`),
      },
      { title: "Result", cell: ({ result }) => badge(result) },
      {
        title: "Effect",
        cell: ({ effect, mode }) => `${worded(effect)}${mode === "shadow" ? ", in shadow" : ""}`,
      },
      { title: "Why", cell: ({ why }) => why ?? "" },
    ],
    policies,
  );
  if (version === null || version === undefined) return list;
  return html`${list}
    <p class="note">
      Of bundle <a href="${visit.href(`/policies/${version}`)}">${shortId(version)}</a>.
    </p>`;
}

function recordOf({ id, record, ending }: Decision): Markup {
  return html`<p class="note">
      All that was looked at, as it was written. Decision <code>${id}</code>
    </p>
    <details>
      <summary>The record</summary>
      <pre tabindex="0">${JSON.stringify(record, null, 2)}</pre>
    </details>
    ${
      ending === null || ending === undefined
        ? ""
        : html`<details>
            <summary>How it ended</summary>
            <pre tabindex="0">${JSON.stringify(ending, null, 2)}</pre>
          </details>`
    }`;
}
