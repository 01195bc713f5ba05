/** Policies: which judge now, what those in shadow would have done, and what others would have decided. */
import { html } from "hono/html";
import type { z } from "zod";

import { Backtest, Bundle, BundleListed, listOf, ShadowReport } from "../answers.ts";
import { count, usd, usdOrDash, when, type Markup } from "../figures.ts";
import { BACKTEST_ROWS, ROWS_SHOWN } from "../limits.ts";
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
  shortId,
  table,
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
import { linked } from "./decisions.ts";
import { keyLink } from "./keys.ts";
import { runHref } from "../run-links.ts";

export function policyPages({ page, act }: Routes): void {
  page("/policies", (asked) => listPage(asked, NOTHING_GIVEN));
  act("/policies", store);
  act("/policies/deactivate", deactivate);
  page("/policies/backtest", (asked) => backtestPage(asked, NOTHING_GIVEN, null));
  act("/policies/backtest", backtest);
  page("/policies/:version", (asked) => bundlePage(asked, NOTHING_GIVEN));
  act("/policies/:version/activate", activate);
}

async function listPage({ visit, query }: Asked, sent: Given): Promise<Page> {
  const given = visit.may("admin") ? sent : { ...sent, form: null };
  const asked = { cursor: query("cursor"), limit: ROWS_SHOWN };
  const [{ data, next }, shadow] = await Promise.all([
    visit.api.get(listOf(BundleListed), "/policies", asked),
    visit.api.get(ShadowReport, "/policies/shadow-report"),
  ]);
  const lead =
    "Rules of your own over every call. A bundle is never changed: another one takes its place.";
  const body = html`${heading("Policies", { lead })} ${problemAbove(given)}
    ${
      data.length === 0
        ? empty(
            html`No policy was ever stored. <code>npx tollgate policies starter</code> prints six to
              begin with${visit.may("admin") ? "; paste them below" : ""}.`,
          )
        : bundlesTable(visit, data)
    }
    ${pager(visit, "/policies", { next })} ${card("In shadow, this month", shadowOf(visit, shadow))}
    <p class="more">
      <a href="${visit.href("/policies/backtest")}">Backtest: what would others have decided?</a>
    </p>
    ${visit.may("admin") ? card("Store a bundle", html`${problemAt(given)} ${storeForm(visit, given.form)}`) : ""}
    ${
      visit.may("admin") && data.some(({ active }) => active)
        ? confirmed(
            "Let no policy judge…",
            "Every call passes that budgets and quotas let pass.",
            actForm(visit, "/policies/deactivate", {
              button: "Switch policies off",
              tone: "danger",
            }),
          )
        : ""
    }`;
  return { title: "Policies", body };
}

type Listed = z.output<typeof BundleListed>;

function bundlesTable(visit: Visit, bundles: readonly Listed[]): Markup {
  return table(
    "Bundles",
    [
      {
        title: "Version",
        cell: ({ version }) =>
          html`<a href="${visit.href(`/policies/${version}`)}">${shortId(version)}</a>`,
      },
      {
        title: "State",
        cell: ({ active }) => (active ? badge("active") : html`<span class="none">stored</span>`),
      },
      { title: "About", cell: ({ description }) => description },
      { title: "Policies", cell: ({ policies }) => policies.join(", ") },
      { title: "Stored", cell: ({ created_at: at }) => when(at, visit.now) },
    ],
    bundles,
  );
}

function shadowOf(visit: Visit, { policies, limits }: ShadowReport): Markup {
  if (policies.length === 0 && limits.length === 0) {
    return empty(
      html`Nothing is in shadow. A policy or limit with <code>mode: shadow</code> records what it
        would have done, and does nothing.`,
    );
  }
  return html`${policies.length === 0 ? "" : shadowPolicies(visit, policies)}
  ${limits.length === 0 ? "" : shadowLimits(visit, limits)}`;
}

function shadowPolicies(visit: Visit, policies: ShadowReport["policies"]): Markup {
  return table(
    "Policies in shadow",
    [
      { title: "Policy", cell: ({ id }) => id },
      { title: "Would", cell: ({ effect }) => worded(effect) },
      { title: "Judged", isNumber: true, cell: ({ judged }) => count(judged) },
      { title: "Matched", isNumber: true, cell: ({ matched }) => count(matched) },
      { title: "Failed", isNumber: true, cell: ({ failed }) => count(failed) },
      { title: "Their cost", isNumber: true, cell: ({ matched_usd: cost }) => usd(cost) },
      {
        title: "Last match",
        cell: ({ last_match: last }) => (last === null ? "–" : linked(visit, last)),
      },
    ],
    policies,
  );
}

function shadowLimits(visit: Visit, limits: ShadowReport["limits"]): Markup {
  return table(
    "Limits in shadow",
    [
      {
        title: "Limit",
        cell: ({ limit_id: id }) =>
          html`<a href="${visit.href(`/budgets/${id}`)}">${shortId(id)}</a>`,
      },
      {
        title: "Counts",
        cell: ({ unit, window }) => `${worded(unit)}${window === "none" ? "" : ` per ${window}`}`,
      },
      { title: "Met", isNumber: true, cell: ({ met }) => count(met) },
      { title: "Would refuse", isNumber: true, cell: ({ refused }) => count(refused) },
      { title: "Their cost", isNumber: true, cell: ({ refused_usd: cost }) => usd(cost) },
      {
        title: "Last",
        cell: ({ last_refused: last }) => (last === null ? "–" : linked(visit, last)),
      },
    ],
    limits,
  );
}

function sourceField(form: Form | null, label: string, isRequired: boolean): Markup {
  return field(
    label,
    html`<textarea
      name="source"
      rows="12"
      spellcheck="false"
      maxlength="131072"
      ${isRequired ? html`required` : ""}
    >
${sourceOf(form)}</textarea>`,
    html`In YAML; <code>docs/policies.md</code> lists the facts.`,
  );
}

/** As it was typed: without the space before its first line, a bundle that is indented as a whole is none. */
function sourceOf(form: Form | null): string {
  return form?.all("source").join("") ?? "";
}

function storeForm(visit: Visit, form: Form | null): Markup {
  const fields = html`${sourceField(form, "Bundle", true)}
    <label class="check"
      ><input
        type="checkbox"
        name="activate"
        value="yes"
        ${form?.text("activate") === "yes" ? html`checked` : ""}
      />
      <span>Let it judge at once</span></label
    >`;
  return actForm(visit, "/policies", { fields, button: "Store the bundle" });
}

async function store({ visit, form, ...asked }: Sent): Promise<Outcome> {
  const again = async (refused: {
    readonly status: number;
    readonly message: string;
  }): Promise<Outcome> => ({
    kind: "again",
    status: refused.status,
    page: await listPage({ visit, ...asked }, { form, problem: refused.message }),
  });
  const once = form.text("once");
  const body = { source: sourceOf(form) };
  const stored = await visit.api.act({ method: "POST", path: "/policies", body, once });
  if (stored.kind === "refused") return again(stored);
  const { version } = BundleVersion.parse(stored.body);
  const to = visit.href(`/policies/${version}`);
  if (form.text("activate") !== "yes")
    return { kind: "done", to, text: "The bundle is stored. It judges nothing yet." };
  const path = `/policies/${version}/activate`;
  const acted = await visit.api.act({ method: "POST", path, body: {} });
  if (acted.kind === "refused") return again(acted);
  return { kind: "done", to, text: "The bundle is stored and judges from now on." };
}

const BundleVersion = Bundle.pick({ version: true });

async function deactivate({ visit, form, ...asked }: Sent): Promise<Outcome> {
  const once = form.text("once");
  const acted = await visit.api.act({
    method: "POST",
    path: "/policies/deactivate",
    body: {},
    once,
  });
  if (acted.kind === "done") {
    return { kind: "done", to: visit.href("/policies"), text: "No policy judges any more." };
  }
  const page = await listPage({ visit, ...asked }, { form: null, problem: acted.message });
  return { kind: "again", status: acted.status, page };
}

async function bundlePage({ visit, param }: Asked, { problem }: Given): Promise<Page> {
  const bundle = await visit.api.get(Bundle, `/policies/${encodeURIComponent(param("version"))}`);
  const { version, active, description } = bundle;
  const up = html`<a href="${visit.href("/policies")}">Policies</a>`;
  const state = active ? badge("active") : badge("stored");
  const activation = actForm(visit, `/policies/${version}/activate`, { button: "Let it judge" });
  const body = html`${heading(html`Bundle ${shortId(version)}`, { up, state, lead: description })}
    ${problemBox(problem)} ${card("Policies", policiesTable(bundle))}
    ${card("Source", html`<pre tabindex="0">${bundle.source}</pre>`)}
    ${card(
      "About it",
      facts([
        ["Version", html`<code>${version}</code>`],
        ["Stored", when(bundle.created_at, visit.now)],
        ["By", keyLink(visit, bundle.created_by)],
      ]),
    )}
    <p class="more">
      <a href="${visit.href("/policies/backtest", { version })}">Backtest this bundle</a>
    </p>
    ${
      active || !visit.may("admin")
        ? ""
        : confirmed(
            "Let this bundle judge…",
            "It takes the place of the active one, at once here and within two seconds everywhere.",
            activation,
          )
    }`;
  return { title: `Bundle ${version.slice(0, 12)}`, body };
}

function policiesTable({ policies }: Bundle): Markup {
  return table(
    "Policies",
    [
      {
        title: "Policy",
        cell: ({ id, name }) => (id === name ? id : html`${name} <small>${id}</small>`),
      },
      { title: "When", cell: ({ when: expression }) => html`<code>${expression}</code>` },
      { title: "Effect", cell: ({ effect }) => badge(effect) },
      { title: "Mode", cell: ({ mode }) => worded(mode) },
    ],
    policies,
  );
}

async function activate({ visit, form, ...asked }: Sent): Promise<Outcome> {
  const version = encodeURIComponent(asked.param("version"));
  const path = `/policies/${version}/activate`;
  const acted = await visit.api.act({ method: "POST", path, body: {}, once: form.text("once") });
  if (acted.kind === "done") {
    return {
      kind: "done",
      to: visit.href(`/policies/${version}`),
      text: "The bundle judges from now on.",
    };
  }
  const page = await bundlePage({ visit, ...asked }, { form, problem: acted.message });
  return { kind: "again", status: acted.status, page };
}

async function backtestPage(
  { visit, query }: Asked,
  { form, problem }: Given,
  report: Backtest | null,
): Promise<Page> {
  const { data } = await visit.api.get(listOf(BundleListed), "/policies", { limit: ROWS_SHOWN });
  const up = html`<a href="${visit.href("/policies")}">Policies</a>`;
  const lead =
    "Judges what was decided once more, by other policies. Nothing is sent, spent or stored.";
  const chosen = form?.text("version") ?? query("version") ?? "";
  const choices: readonly Choice[] = [
    ["", "The text below"],
    ...data.map(({ version, active, description }): Choice => [
      version,
      `${version.slice(0, 12)} ${description}${active ? " (active)" : ""}`,
    ]),
  ];
  const fields = html`<div class="fields">
      ${field("Judge by", choose("version", choices, chosen))}
      ${field("From", html`<input type="date" name="from" value="${form?.text("from") ?? ""}" />`, "Empty: the month so far.")}
      ${field("Before", html`<input type="date" name="to" value="${form?.text("to") ?? ""}" />`)}
      ${field("Of one run", html`<input name="run" maxlength="256" value="${form?.text("run") ?? ""}" />`)}
    </div>
    ${sourceField(form, "Or by this bundle", false)}`;
  const body = html`${heading("Backtest", { up, lead })} ${problemBox(problem)}
  ${report === null ? "" : card("What would have been", reportOf(visit, report))}
  ${card("Try a bundle", actForm(visit, "/policies/backtest", { fields, button: "Judge again" }))}`;
  return { title: "Backtest", body };
}

/** It changes nothing, so that its answer is shown at once and is no page to come back to. */
async function backtest({ visit, form, ...asked }: Sent): Promise<Outcome> {
  const version = form.text("version");
  const body = {
    ...(version === "" ? { source: sourceOf(form) } : { version }),
    ...Object.fromEntries(
      ["from", "to", "run"].flatMap((name) =>
        form.text(name) === "" ? [] : [[name, form.text(name)]],
      ),
    ),
    rows: BACKTEST_ROWS,
  };
  const tried = await visit.api.ask(Backtest, "/policies/backtest", body);
  if (tried.kind === "refused") {
    const page = await backtestPage({ visit, ...asked }, { form, problem: tried.message }, null);
    return { kind: "again", status: tried.status, page };
  }
  const page = await backtestPage({ visit, ...asked }, { form, problem: null }, tried.body);
  return { kind: "again", status: 200, page };
}

function reportOf(visit: Visit, report: Backtest): Markup {
  const { changes, changes_left_off: more, next } = report;
  return html`${facts([
    ["Decisions", count(report.decisions)],
    ["Unchanged", count(report.unchanged)],
    ["Changed", count(report.changed)],
    ["Would be blocked", usd(report.would_block_usd)],
    ["Would be asked about", usd(report.would_ask_usd)],
    ["Of a spend of", usd(report.settled_usd)],
    ["Newly allowed", count(report.newly_allowed)],
    ["Cannot be judged", count(report.unknowable)],
  ])}
  ${next === null ? "" : html`<p class="note">These are the first ${count(BACKTEST_ROWS)} decisions of the period; choose a shorter one to see others, or use <code>npx tollgate policies backtest</code>.</p>`}
  ${changes.length === 0 ? empty("Nothing would have been decided differently.") : changesTable(visit, changes)}
  ${more === 0 ? "" : html`<p class="note">And ${count(more)} more.</p>`}`;
}

function changesTable(visit: Visit, changes: Backtest["changes"]): Markup {
  return table(
    "What would change",
    [
      {
        title: "Decided",
        cell: ({ decision, decided_at: at }) =>
          html`<a href="${visit.href(`/decisions/${decision}`)}">${when(at, visit.now)}</a>`,
      },
      { title: "Run", cell: ({ run }) => html`<a href="${runHref(visit, run)}">${run}</a>` },
      { title: "For", cell: ({ resource }) => resource },
      { title: "Then", cell: ({ before }) => badge(before) },
      { title: "Would be", cell: ({ after }) => badge(after) },
      { title: "Cost", isNumber: true, cell: ({ cost_usd: cost }) => usdOrDash(cost) },
    ],
    changes,
  );
}
