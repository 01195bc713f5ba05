/** Budgets and quotas: what is spent, what calls in flight hold, what is left and until when. */
import { html } from "hono/html";

import { Limit, listOf, Noticed } from "../answers.ts";
import { budgetBar } from "../charts.ts";
import { amount, amountText, unitsOf, when, whenOrDash, type Markup } from "../figures.ts";
import { type Forecast, forecastsOf } from "../forecast.ts";
import { LIMITS_SHOWN } from "../limits.ts";
import {
  actForm,
  badge,
  card,
  choose,
  confirmed,
  empty,
  facts,
  field,
  heading,
  pager,
  problemAbove,
  problemAt,
  problemBox,
  worded,
  type Choice,
} from "../page.ts";
import {
  NOTHING_GIVEN,
  type Asked,
  type Form,
  type Given,
  type Outcome,
  type Page,
  type Routes,
  type Sent,
  type Visit,
} from "../visit.ts";
import { runHref } from "../run-links.ts";

export function budgetPages({ page, act }: Routes): void {
  page("/budgets", (asked) => listPage(asked, NOTHING_GIVEN));
  act("/budgets", create);
  page("/budgets/:limit", (asked) => limitPage(asked, NOTHING_GIVEN));
  act("/budgets/:limit", change);
  act("/budgets/:limit/remove", remove);
}

const SCOPES: readonly Choice[] = [
  ["tenant", "Everything of the tenant"],
  ["key", "One key"],
  ["run", "One run"],
  ["model", "One model"],
  ["tool", "One tool"],
  ["each_run", "Each run by itself"],
  ["each_customer", "Each customer by itself"],
  ["each_operation", "Each operation by itself"],
];

const UNITS: readonly Choice[] = [
  ["usd", "US dollars"],
  ["tokens", "Tokens"],
  ["requests", "Requests"],
  ["attempts", "Retries"],
  ["in_flight", "Calls in flight"],
];

const WINDOWS: readonly Choice[] = [
  ["day", "Day"],
  ["week", "Week"],
  ["month", "Month"],
  ["hour", "Hour"],
  ["minute", "Minute"],
  ["none", "For ever"],
];

const MODES: readonly Choice[] = [
  ["enforce", "Enforce: refuse what goes beyond"],
  ["shadow", "Shadow: only record what would be refused"],
];

const ON_EXCEED: readonly Choice[] = [
  ["refuse", "Refuse the call"],
  ["clamp", "Shorten its answer, if that is enough"],
];

type Named = Pick<Limit, "scope" | "unit" | "window"> & {
  readonly resource?: string | null;
  /** In which its windows begin; a meter does not say. */
  readonly time_zone?: string;
};

/** `US dollars per day of the tenant`, in words. */
export function limitName(named: Named): string {
  const { scope, unit, window, resource = null, time_zone: zone = "UTC" } = named;
  const what = unit === "usd" ? "Budget" : unit === "attempts" ? "Retries" : UNIT_NAMES[unit];
  // Two that differ in nothing else would have one name.
  const where = zone === "UTC" ? "" : ` in ${zone}`;
  const per = window === "none" ? "" : ` per ${window}${where}`;
  const of = resource === null ? "" : ` of ${resource === "*" ? "each tool or model" : resource}`;
  return `${what ?? worded(unit)}${of}${per}, ${scopeName(scope)}`;
}

const UNIT_NAMES: Readonly<Record<string, string>> = {
  tokens: "Tokens",
  requests: "Requests",
  in_flight: "Calls in flight",
};

function scopeName({ kind, id }: Limit["scope"]): string {
  if (kind === "tenant") {
    // The part of it that one named run may take is a meter of its own.
    return id?.startsWith("run:") === true ? `share of run ${id.slice(4)}` : "whole tenant";
  }
  return id === null || id === "" ? worded(kind) : `${worded(kind)} ${id}`;
}

/** How full a limit is, in ten-thousandths; one that counts each of many apart has no level of its own. */
function levelOf({ limit, committed, reserved }: Limit): bigint {
  if (committed === null || reserved === null) return -1n;
  const whole = unitsOf(limit);
  return ((unitsOf(committed) + unitsOf(reserved)) * 10_000n) / (whole === 0n ? 1n : whole);
}

export function fullestFirst(a: Limit, b: Limit): number {
  const [levelA, levelB] = [levelOf(a), levelOf(b)];
  return levelA === levelB ? 0 : levelA > levelB ? -1 : 1;
}

/** A limit in three lines: its name, its bar, its figures. */
export function budgetLine(visit: Visit, limit: Limit): Markup {
  const { id, committed, reserved, remaining, mode, resets_at: resets } = limit;
  const name = html`<p class="name">
    <a href="${visit.href(`/budgets/${id}`)}">${limitName(limit)}</a>
    ${mode === "shadow" ? badge("shadow") : ""}
  </p>`;
  if (committed === null || reserved === null || remaining === null) {
    return html`${name}
      <p class="note">Counts each apart: at most <strong>${amount(limit.limit)}</strong> each.</p>`;
  }
  const text = `${amountText(committed)} of ${amountText(limit.limit)} used, ${amountText(reserved)} held, ${amountText(remaining)} left`;
  const units = { committed: unitsOf(committed), reserved: unitsOf(reserved) };
  return html`${name} ${budgetBar({ ...units, limit: unitsOf(limit.limit), text })}
    <p class="split">
      <span><strong>${amount(remaining)}</strong> left of ${amount(limit.limit)}</span>
      <span>${resets === null ? "never resets" : html`resets ${when(resets, visit.now)}`}</span>
    </p>`;
}

async function listPage({ visit, query }: Asked, sent: Given): Promise<Page> {
  const given = visit.may("admin") ? sent : { ...sent, form: null };
  const asked = { cursor: query("cursor"), limit: LIMITS_SHOWN };
  const { data, next } = await visit.api.get(listOf(Limit), "/limits", asked);
  const forecasts = await forecastsOf(visit);
  const lead = "A call is refused before it is sent where what it could cost has no room.";
  const body = html`${heading("Budgets and quotas", { lead })} ${problemAbove(given)}
    ${
      data.length === 0
        ? empty(
            `Nothing is limited yet: any key may spend without end.${visit.may("admin") ? " Set a budget below." : ""}`,
          )
        : html`<ul class="cards">
            ${data.toSorted(fullestFirst).map((limit) => html`<li class="card">${budgetCard(visit, limit, forecasts)}</li>`)}
          </ul>`
    }
    ${pager(visit, "/budgets", { next })}
    ${visit.may("admin") ? card("Set a limit", html`${problemAt(given)} ${createForm(visit, given.form)}`) : ""}
    <p class="note">
      Limits of one run stand on the page of the <a href="${visit.href("/runs")}">run</a>.
    </p>`;
  return { title: "Budgets", body };
}

export function budgetCard(
  visit: Visit,
  limit: Limit,
  forecasts: ReadonlyMap<string, Forecast>,
): Markup {
  const { committed, reserved } = limit;
  const told = forecasts.get(limit.id);
  const pace = paceText(visit, told);
  return html`${budgetLine(visit, limit)} ${sinceNote(visit, limit, told)}
  ${
    committed === null || reserved === null
      ? ""
      : html`<dl class="split-facts">
          <div>
            <dt><i class="key committed"></i>Committed</dt>
            <dd>${amount(committed)}</dd>
          </div>
          <div>
            <dt><i class="key reserved"></i>Reserved</dt>
            <dd>${amount(reserved)}</dd>
          </div>
          ${
            pace === null
              ? ""
              : html`<div>
                  <dt>At this pace</dt>
                  <dd>${pace}</dd>
                </div>`
          }
        </dl>`
  }`;
}

/** Where it will be at its window's end, in a line; of one that counts each apart, nothing. */
export function paceLine(
  visit: Visit,
  { id, committed }: Limit,
  forecasts: ReadonlyMap<string, Forecast>,
): Markup | string {
  const pace = committed === null ? null : paceText(visit, forecasts.get(id));
  return pace === null ? "" : html`<p class="note">At this pace ${pace}.</p>`;
}

/** A limit knows nothing of what was before it, though the window is older and its spend is shown elsewhere. */
function sinceNote(visit: Visit, limit: Limit, told: Forecast | undefined): Markup | string {
  const { committed, created_at: since } = limit;
  const from = told?.starts_at ?? null;
  if (committed === null || from === null || Date.parse(from) >= Date.parse(since)) return "";
  return html`<p class="note">Counts since it was set, ${when(since, visit.now)}.</p>`;
}

/** Null where nothing can be told: of what is only counted, and at the very beginning of a window. */
function paceText(visit: Visit, told: Forecast | undefined): Markup | null {
  if (told === undefined) return null;
  const { forecast, exhausted_at: usedUp, resets_at: resets } = told;
  if (usedUp !== null) {
    // What never resets is used up some day, and nothing is wrong with that.
    const tone = resets === null ? "" : "bad";
    return html`<span class="${tone}">used up ${when(usedUp, visit.now)}</span>`;
  }
  return forecast === null ? null : html`${amount(forecast)} at the end`;
}

function createForm(visit: Visit, form: Form | null): Markup {
  const was = (name: string, otherwise: string) => form?.text(name) || otherwise;
  const fields = html`<div class="fields">
      ${field("Whom it counts", choose("scope", SCOPES, was("scope", "tenant")))}
      ${field("Which one", html`<input name="id" maxlength="256" value="${was("id", "")}" />`, "The key's id, the run, the model or the tool; empty for the others.")}
      ${field("What it counts", choose("unit", UNITS, was("unit", "usd")))}
      ${field("Per", choose("window", WINDOWS, was("window", "day")))}
      ${field("At most", html`<input name="limit" required inputmode="decimal" maxlength="64" value="${was("limit", "")}" />`, "Such as 5 or 0.25.")}
    </div>
    <details ${form === null ? "" : html`open`}>
      <summary>Shadow, time zone, retries of one tool</summary>
      <div class="fields">
        ${field("Mode", choose("mode", MODES, was("mode", "enforce")))}
        ${field("Beyond it", choose("on_exceed", ON_EXCEED, was("on_exceed", "refuse")))}
        ${field("Time zone", html`<input name="time_zone" maxlength="64" value="${was("time_zone", "UTC")}" />`, "In which days begin, such as Europe/Berlin.")}
        ${field("Retries of", html`<input name="resource" maxlength="256" value="${was("resource", "")}" />`, "With retries: a tool, or model:<name>; * counts each apart.")}
      </div>
    </details>`;
  return actForm(visit, "/budgets", { fields, button: "Set the limit" });
}

async function create({ visit, form, ...asked }: Sent): Promise<Outcome> {
  const id = form.text("id");
  const resource = form.text("resource");
  const acted = await visit.api.act({
    method: "POST",
    path: "/limits",
    body: {
      scope: { kind: form.text("scope"), ...(id === "" ? {} : { id }) },
      unit: form.text("unit"),
      window: form.text("window"),
      limit: form.text("limit"),
      mode: form.text("mode"),
      on_exceed: form.text("on_exceed"),
      time_zone: form.text("time_zone"),
      ...(resource === "" ? {} : { resource }),
    },
    once: form.text("once"),
  });
  if (acted.kind === "done") {
    const { id: made, scope } = Made.parse(acted.body);
    // The list is without those of one run: there it would not be seen.
    const to = visit.href(scope.kind === "run" ? `/budgets/${made}` : "/budgets");
    return { kind: "done", to, text: "The limit is set, from now on." };
  }
  const page = await listPage({ visit, ...asked }, { form, problem: acted.message });
  return { kind: "again", status: acted.status, page };
}

const Made = Limit.pick({ id: true, scope: true });

async function limitPage({ visit, param }: Asked, { form, problem }: Given): Promise<Page> {
  const limit = await visit.api.get(Limit, `/limits/${encodeURIComponent(param("limit"))}`);
  const { kind, id } = limit.scope;
  const forecast = (await forecastsOf(visit, kind === "run" ? id : null)).get(limit.id);
  const isRemoved = limit.removed_at !== null;
  const name = limitName(limit);
  const up = html`<a href="${visit.href("/budgets")}">Budgets</a>`;
  const state = isRemoved ? badge("removed") : badge(limit.mode === "shadow" ? "shadow" : "active");
  const body = html`${heading(name, { up, state })} ${problemBox(problem)}
  ${card(
    "Now",
    html`<div class="single">${budgetLine(visit, limit)}</div>
      ${sinceNote(visit, limit, forecast)} ${limitFacts(visit, limit, forecast)}`,
  )}
  ${visit.may("admin") && !isRemoved ? changeCards(visit, limit, form) : ""}`;
  return { title: name, body };
}

function limitFacts(visit: Visit, limit: Limit, forecast: Forecast | undefined): Markup {
  const { committed, reserved, remaining, scope, resets_at: resets } = limit;
  const shown = (value: string | number | null) =>
    value === null ? "counted apart" : amount(value);
  // Of many that are counted apart, none is this limit's own.
  const pace = committed === null ? null : paceText(visit, forecast);
  return facts([
    ["Limit", amount(limit.limit)],
    ["Committed", shown(committed)],
    ["Reserved", shown(reserved)],
    ["Remaining", shown(remaining)],
    ["Resets", whenOrDash(resets, visit.now)],
    ...(pace === null ? [] : [["At this pace", pace] as const]),
    ["Beyond it", limit.on_exceed === "clamp" ? "answers are shortened" : "calls are refused"],
    ["Time zone", limit.time_zone],
    ["Set", when(limit.created_at, visit.now)],
    ...(scope.kind === "run" && scope.id !== null
      ? [["Run", html`<a href="${runHref(visit, scope.id)}">${scope.id}</a>`] as const]
      : []),
    ...(limit.removed_at === null ? [] : [["Removed", when(limit.removed_at, visit.now)] as const]),
  ]);
}

function changeCards(visit: Visit, limit: Limit, form: Form | null): Markup {
  const path = `/budgets/${encodeURIComponent(limit.id)}`;
  const fields = html`<div class="fields">
    ${field("At most", html`<input name="limit" required inputmode="decimal" maxlength="64" value="${form?.text("limit") ?? String(limit.limit)}" />`)}
    ${field("Mode", choose("mode", MODES, form?.text("mode") ?? limit.mode))}
    ${field("Beyond it", choose("on_exceed", ON_EXCEED, form?.text("on_exceed") ?? limit.on_exceed))}
  </div>`;
  return html`${card("Change it", actForm(visit, path, { fields, button: "Change the limit" }))}
  ${confirmed(
    "Remove this limit…",
    "From then on nothing is counted or refused by it. What it recorded stays.",
    actForm(visit, `${path}/remove`, { button: "Remove the limit", tone: "danger" }),
  )}`;
}

async function change({ visit, form, ...asked }: Sent): Promise<Outcome> {
  const id = encodeURIComponent(asked.param("limit"));
  const acted = await visit.api.act({
    method: "PATCH",
    path: `/limits/${id}`,
    body: { limit: form.text("limit"), mode: form.text("mode"), on_exceed: form.text("on_exceed") },
    once: form.text("once"),
  });
  if (acted.kind === "refused") {
    const page = await limitPage({ visit, ...asked }, { form, problem: acted.message });
    return { kind: "again", status: acted.status, page };
  }
  const text = noticeOf(acted.body) ?? "The limit is changed, from now on.";
  return { kind: "done", to: visit.href(`/budgets/${id}`), text };
}

async function remove({ visit, form, ...asked }: Sent): Promise<Outcome> {
  const id = encodeURIComponent(asked.param("limit"));
  const once = form.text("once");
  const acted = await visit.api.act({ method: "DELETE", path: `/limits/${id}`, once });
  if (acted.kind === "done") {
    return { kind: "done", to: visit.href("/budgets"), text: "The limit is removed." };
  }
  const page = await limitPage({ visit, ...asked }, { form, problem: acted.message });
  return { kind: "again", status: acted.status, page };
}

/** What the change means, if unexpected: the API says so. */
function noticeOf(body: unknown): string | null {
  const read = Noticed.safeParse(body);
  return read.success ? read.data.notice : null;
}
