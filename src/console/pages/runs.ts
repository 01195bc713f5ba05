/** Runs, and one run's timeline: what it asked step by step, how often, how long, for how much. */
import { html } from "hono/html";

import { listOf, Outcome, Run, RunListed, type AttemptInRun } from "../answers.ts";
import { spanBar } from "../charts.ts";
import {
  count,
  durationText,
  exactTime,
  picosOf,
  usd,
  usdOrDash,
  usdText,
  when,
  whenOrDash,
  type Markup,
} from "../figures.ts";
import { ROWS_SHOWN } from "../limits.ts";
import {
  actForm,
  badge,
  card,
  confirmed,
  empty,
  facts,
  heading,
  pager,
  problemBox,
  table,
  worded,
} from "../page.ts";
import {
  NOTHING_GIVEN,
  type Asked,
  type Given,
  type Page,
  type Routes,
  type Visit,
} from "../visit.ts";
import { runHref } from "../run-links.ts";
import { limitsOfRun } from "./run-limits.ts";

export function runPages({ page, act }: Routes): void {
  page("/runs", listPage);
  page("/runs/:run", async (asked) => runPage(asked, NOTHING_GIVEN));
  act("/runs/:run/stop", async ({ form, ...asked }) => {
    const run = asked.param("run");
    const acted = await asked.visit.api.act({
      method: "POST",
      path: `/runs/${encodeURIComponent(run)}/stop`,
      body: {},
      once: form.text("once"),
    });
    if (acted.kind === "refused") {
      const given = { form, problem: acted.message };
      return { kind: "again", status: acted.status, page: await runPage(asked, given) };
    }
    const to = asked.visit.href(`/runs/${encodeURIComponent(run)}`);
    return { kind: "done", to, text: "The run is stopped: nothing further is admitted." };
  });
}

async function listPage({ visit, query }: Asked): Promise<Page> {
  const search = query("search");
  const asked = { search, cursor: query("cursor"), limit: ROWS_SHOWN };
  const { data, next } = await visit.api.get(listOf(RunListed), "/runs", asked);
  const nothing =
    search === null
      ? html`No run was named yet. A call that carries the header <code>Tollgate-Run</code> makes
          one.`
      : html`No named run has <q>${search}</q> in its name. A call that named none is a run of its
          own: <a href="${visit.href(`/runs/${encodeURIComponent(search)}`)}">open ${search}</a>.`;
  const body = html`${heading("Runs", { lead: "Those that were named, newest first." })}
  ${searchForm(visit, "/runs", { label: "Search runs by name", search })}
  ${data.length === 0 ? empty(nothing) : runsTable(visit, data)}
  ${pager(visit, "/runs", { next, query: { search } })}`;
  return { title: "Runs", body };
}

export function searchForm(
  visit: Visit,
  path: string,
  { label, search }: { readonly label: string; readonly search: string | null },
): Markup {
  const tenant = new URL(visit.href(path), "http://here").searchParams.get("tenant");
  return html`<form class="search" role="search" action="/console${path}">
    ${tenant === null ? "" : html`<input type="hidden" name="tenant" value="${tenant}" />`}
    <label
      ><span class="unseen">${label}</span
      ><input
        type="search"
        name="search"
        value="${search ?? ""}"
        placeholder="${label}"
        maxlength="256"
    /></label>
    <button type="submit" class="quiet">Search</button>
  </form>`;
}

export function runsTable(visit: Visit, runs: readonly RunListed[]): Markup {
  return table(
    "Runs",
    [
      { title: "Run", cell: ({ id }) => html`<a href="${runHref(visit, id)}">${id}</a>` },
      { title: "State", cell: ({ state }) => badge(state) },
      { title: "Attempts", isNumber: true, cell: ({ totals }) => count(totals.attempts) },
      { title: "Refused", isNumber: true, cell: ({ totals }) => countOrNone(totals.blocked) },
      { title: "Cost", isNumber: true, cell: ({ totals }) => usd(totals.cost_usd) },
      { title: "Held", isNumber: true, cell: ({ totals }) => usdOrNone(totals.reserved_usd) },
      { title: "Last call", cell: ({ last_at: at }) => whenOrDash(at, visit.now) },
    ],
    runs,
  );
}

/** Zeros in a column hide the figures among them. */
export function countOrNone(value: number): Markup | string {
  return value === 0 ? html`<span class="none">0</span>` : count(value);
}

export function usdOrNone(decimal: string): Markup {
  return picosOf(decimal) === 0n ? html`<span class="none">$0</span>` : usd(decimal);
}

async function runPage({ visit, param, query }: Asked, { problem }: Given): Promise<Page> {
  const id = param("run");
  const asked = { cursor: query("cursor"), limit: ROWS_SHOWN };
  const [run, outcomes, limits] = await Promise.all([
    visit.api.get(Run, `/runs/${encodeURIComponent(id)}`, asked),
    visit.api.get(listOf(Outcome), "/outcomes", { run: id, limit: ROWS_SHOWN }),
    limitsOfRun(visit, id),
  ]);
  const up = html`<a href="${visit.href("/runs")}">Runs</a>`;
  const body = html`${heading(id, { up, state: badge(run.state), lead: summary(run) })}
  ${problemBox(problem)} ${runFacts(visit, run, outcomes.data)} ${limits}
  ${card("Timeline", timeline(visit, run))}
  ${
    run.next === null
      ? ""
      : html`<p class="pager">
          <a href="${visit.href(`/runs/${encodeURIComponent(id)}`, { cursor: run.next })}"
            >Later attempts</a
          >
        </p>`
  }
  ${run.state === "open" && visit.may("admin") ? stopForm(visit, id) : ""}`;
  return { title: id, body };
}

function summary({ totals, first_at: first, last_at: last }: Run): string {
  const again = totals.repeated === 0 ? "" : `, ${count(totals.repeated)} repeated`;
  const tried = `${plural(totals.attempts, "attempt")}, ${count(totals.blocked)} refused${again}`;
  if (first === null || last === null) return tried;
  const took = durationText(Date.parse(last) - Date.parse(first));
  return `${tried}, within ${took}.`;
}

export function plural(number: number, word: string): string {
  return `${count(number)} ${word}${number === 1 ? "" : "s"}`;
}

function runFacts(visit: Visit, run: Run, outcomes: readonly Outcome[]): Markup {
  const { totals, parent, derived_from: origin, labels } = run;
  const holding = outcomes.filter(({ superseded_by: by }) => by === null);
  return facts([
    ["Cost", usd(totals.cost_usd)],
    ...(totals.adjusted_usd === null ? [] : [["Adjusted", usd(totals.adjusted_usd)] as const]),
    [
      holding.length === 1 ? "Outcome" : "Outcomes",
      holding.length === 0
        ? "none told"
        : html`${holding.map(({ type, key, status }) => html`${type} ${key} ${badge(status)} `)}`,
    ],
    ["Held now", usd(totals.reserved_usd)],
    ["Tokens", count(totals.tokens)],
    ["In flight", count(totals.in_flight)],
    ...(totals.unknown === 0 ? [] : [["Unknown outcome", count(totals.unknown)] as const]),
    ...(totals.unpriced === 0 ? [] : [["Without a price", count(totals.unpriced)] as const]),
    ["First call", whenOrDash(run.first_at, visit.now)],
    ["Last call", whenOrDash(run.last_at, visit.now)],
    ...(run.stopped_at === null ? [] : [["Stopped", when(run.stopped_at, visit.now)] as const]),
    ...(parent === null
      ? []
      : [["Below", html`<a href="${runHref(visit, parent)}">${parent}</a>`] as const]),
    ...(origin === null
      ? []
      : [["Executes anew", html`<a href="${runHref(visit, origin)}">${origin}</a>`] as const]),
    ...Object.entries(labels).map(([name, value]) => [name, value] as const),
  ]);
}

type Step = { readonly name: string | null; readonly attempts: AttemptInRun[] };

/** By step, in the order in which the steps began; an attempt without one stands for itself. */
function stepsOf(attempts: readonly AttemptInRun[]): readonly Step[] {
  const steps: Step[] = [];
  const known = new Map<string, Step>();
  for (const attempt of attempts) {
    const step = attempt.step === null ? undefined : known.get(attempt.step);
    if (step !== undefined) step.attempts.push(attempt);
    else {
      const begun = { name: attempt.step, attempts: [attempt] };
      steps.push(begun);
      if (attempt.step !== null) known.set(attempt.step, begun);
    }
  }
  return steps;
}

function timeline(visit: Visit, { attempts }: Run): Markup {
  const [first] = attempts;
  if (first === undefined) return empty("Nothing was asked in this run yet.");
  const begin = Date.parse(first.decided_at);
  const end = attempts.reduce((last, attempt) => Math.max(last, endOf(attempt, visit.now)), begin);
  const axis = { begin, whole: end - begin };
  return html`<p class="note">
      From ${exactTime(new Date(begin))}, ${durationText(axis.whole)} in all. A step's attempts
      stand below it.
    </p>
    <ol class="timeline">
      ${stepsOf(attempts).map((step) => stepItem(visit, step, axis))}
    </ol>`;
}

type Axis = { readonly begin: number; readonly whole: number };

function endOf({ ended_at: ended, decided_at: decided, status }: AttemptInRun, now: Date): number {
  if (ended !== null) return Date.parse(ended);
  return status === "admitted" ? now.getTime() : Date.parse(decided);
}

function stepItem(visit: Visit, { name, attempts }: Step, axis: Axis): Markup {
  const cost = attempts.reduce((sum, { cost_usd: one }) => sum + picosOf(one ?? "0.00"), 0n);
  const items = html`<ol>
    ${attempts.map((attempt) => attemptItem(visit, attempt, axis))}
  </ol>`;
  if (name === null) return html`<li class="step">${items}</li>`;
  return html`<li class="step">
    <p class="step-name">
      <strong>${name}</strong>
      <span>${triedText(attempts)}, ${usdText(cost)}</span>
    </p>
    ${items}
  </li>`;
}

/** What was refused or repeated is no attempt, and stands among them. */
function triedText(rows: readonly AttemptInRun[]): string {
  const refused = rows.filter(({ status }) => REFUSED.has(status)).length;
  const repeated = rows.filter(({ status }) => status === "repeated").length;
  return [
    plural(rows.length - refused - repeated, "attempt"),
    ...(refused === 0 ? [] : [`${count(refused)} refused`]),
    ...(repeated === 0 ? [] : [`${count(repeated)} repeated`]),
  ].join(", ");
}

const REFUSED: ReadonlySet<string> = new Set(["blocked", "awaiting_approval"]);

function attemptItem(visit: Visit, attempt: AttemptInRun, axis: Axis): Markup {
  const { decided_at: decided, status, resource, reason } = attempt;
  const begin = Date.parse(decided);
  const end = endOf(attempt, visit.now);
  return html`<li class="attempt ${status}">
    <div class="what">
      <a href="${visit.href(`/decisions/${attempt.decision}`)}">${resource}</a> ${badge(status)}
    </div>
    <div class="which">
      ${reason === null ? "" : html`<span class="reason">${worded(reason)}</span>, `}${told(attempt)}
      ${callsOf(visit, attempt)}
    </div>
    <div class="timing">
      <span title="${exactTime(new Date(begin))}">+${durationText(begin - axis.begin)}</span>
      ${spanBar(begin - axis.begin, end - axis.begin, axis.whole)}
      <span>${end > begin ? durationText(end - begin) : ""}</span>
    </div>
    <div class="cost">${costOf(attempt)}</div>
  </li>`;
}

/** What its model asked of tools, and who asked for it: what joins the attempts of a run. */
function callsOf(visit: Visit, { proposals, proposed_by: by }: AttemptInRun): Markup | string {
  if (proposals === null)
    return html`<p class="call">Its tool calls are not matched: the run has too many.</p>`;
  if (by !== null) {
    return html`<p class="call">
      ${attemptLink(visit, by.attempt, "asked for by a model")}${callId(by.call)}
    </p>`;
  }
  return html`${proposals.map(
    ({ id, name, attempt }) =>
      html`<p class="call">
        asks for <strong>${name}</strong>${callId(id)}:
        ${attempt === null ? "not taken up" : attemptLink(visit, attempt, "taken up")}
      </p>`,
  )}`;
}

function attemptLink(visit: Visit, attempt: string, text: string): Markup {
  return html`<a href="${visit.href(`/decisions/${attempt}`)}">${text}</a>`;
}

function callId(id: string | null): Markup | string {
  return id === null ? "" : html` <small>${id}</small>`;
}

/** How it was known to be a further attempt. */
const CAUSES: Readonly<Record<string, string>> = {
  step: "the same step again",
  fingerprint: "the same content again",
  sdk: "retried by its library",
  loop: "the same content under a new step",
  duplicate: "a duplicate",
};

function told({ attempt, retry, basis, upstream, model, resource }: AttemptInRun): string {
  const parts = [`attempt ${attempt}`];
  if (retry !== null) {
    const cause = CAUSES[retry.because] ?? worded(retry.because);
    const before =
      retry.prior_status === null ? "" : ` after one that ${endedHow(retry.prior_status)}`;
    parts.push(`${cause}${before}`);
  }
  // A tool says its server in its own name.
  if (upstream !== null && model !== null && `${upstream}/${model}` !== resource)
    parts.push(`by ${upstream}/${model}`);
  if (basis !== null && BASES.has(basis)) parts.push(`cost ${basis}`);
  return parts.join(", ");
}

/** Where a cost is not simply use times price. */
const BASES: ReadonlySet<string> = new Set(["presumed", "estimated"]);

function endedHow(status: string): string {
  if (status === "running" || status === "admitted") return "had not ended";
  return status === "unknown" ? "ended in a way nobody knows" : worded(status);
}

/** What it cost; of one that has not ended what it holds, of one that was refused what it could have cost. */
function costOf(attempt: AttemptInRun): Markup {
  if (attempt.cost_usd !== null) return usd(attempt.cost_usd);
  if (attempt.ended_at !== null) return html`<span class="none">no price known</span>`;
  if (attempt.status === "admitted" || attempt.status === "unknown") {
    return html`<span class="none">holds</span> ${usd(attempt.reserved_usd)}`;
  }
  if (attempt.estimate_usd === null) return usdOrDash(null);
  return html`<span class="none">could cost</span> ${usd(attempt.estimate_usd)}`;
}

function stopForm(visit: Visit, id: string): Markup {
  return confirmed(
    "Stop this run…",
    "No further attempt is admitted, here and in the runs below it. It cannot be opened again.",
    actForm(visit, `/runs/${encodeURIComponent(id)}/stop`, {
      button: "Stop the run",
      tone: "danger",
    }),
  );
}
