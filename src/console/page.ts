/** The frame around every page, and the pieces that pages are made of. */
import { html } from "hono/html";

import type { Query } from "./api.ts";
import type { Markup } from "./figures.ts";
import type { Flash, Given, Page, Scope, Visit } from "./visit.ts";

type Item = {
  readonly path: string;
  readonly label: string;
  /** Any of these; none: every key. */
  readonly scopes: readonly Scope[];
};

const ITEMS: readonly Item[] = [
  { path: "", label: "Overview", scopes: ["report", "admin"] },
  { path: "/outcomes", label: "Outcomes", scopes: ["report", "admin"] },
  { path: "/runs", label: "Runs", scopes: ["report", "admin"] },
  { path: "/decisions", label: "Decisions", scopes: ["report", "admin"] },
  { path: "/budgets", label: "Budgets", scopes: ["report", "admin"] },
  { path: "/approvals", label: "Approvals", scopes: ["approve", "admin"] },
  { path: "/policies", label: "Policies", scopes: ["report", "admin"] },
  { path: "/tools", label: "Tools", scopes: ["report", "admin"] },
  { path: "/keys", label: "Keys", scopes: ["admin"] },
  { path: "/prices", label: "Prices", scopes: [] },
  { path: "/webhooks", label: "Webhooks", scopes: ["admin"] },
];

/** The pages that this key may see. */
export function itemsFor(visit: Visit): readonly Item[] {
  return ITEMS.filter(({ scopes }) => scopes.length === 0 || visit.may(...scopes));
}

export type Frame = {
  /** Null: nobody is signed in. */
  readonly visit: Visit | null;
  readonly flash: Flash | null;
  /** Of the style sheet, with its version. */
  readonly styleHref: string;
};

export function frame({ visit, flash, styleHref }: Frame, { title, body }: Page): Markup {
  const tenant = visit?.tenant?.name;
  return html`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <meta name="color-scheme" content="light dark" />
        <title>${[title, tenant, "Tollgate"].filter(Boolean).join(" · ")}</title>
        <link rel="icon" type="image/svg+xml" href="/console/icon.svg" />
        <link rel="stylesheet" href="${styleHref}" />
      </head>
      <body class="${visit === null ? "outside" : "inside"}">
        <a class="skip" href="#main">Skip to the content</a>
        ${visit === null ? "" : topBar(visit)} ${visit === null ? "" : navigation(visit)}
        <main id="main" tabindex="-1">${flash === null ? "" : flashBox(flash)} ${body}</main>
      </body>
    </html>`;
}

export const MARK = html`<svg class="mark" viewBox="0 0 24 24" aria-hidden="true">
  <path d="M4 21V4M4 7h15l-2.5 4H4" />
  <circle cx="4" cy="21" r="1.6" />
</svg>`;

function topBar(visit: Visit): Markup {
  const { tenant, self } = visit;
  const chosen = tenant === null ? "Choose a tenant" : tenant.name;
  return html`<header class="top">
    <a class="brand" href="${visit.href("")}">${MARK}<span>Tollgate</span></a>
    <div class="who">
      ${
        self.kind === "installation"
          ? html`<a class="tenant" href="/console/tenants" title="Change the tenant"
              ><span class="unseen">Tenant: </span>${chosen}</a
            >`
          : html`<span class="tenant"><span class="unseen">Tenant: </span>${chosen}</span>`
      }
      <form method="post" action="/console/sign-out">
        <input type="hidden" name="csrf" value="${visit.csrf}" />
        <button class="quiet" type="submit">Sign out</button>
      </form>
    </div>
  </header>`;
}

function navigation(visit: Visit): Markup {
  return html`<nav class="side" aria-label="Console">
    <ul>
      ${itemsFor(visit).map(
        ({ path, label }) =>
          html`<li><a href="${visit.href(path)}" ${current(visit, path)}>${label}</a></li>`,
      )}
    </ul>
  </nav>`;
}

function current({ path: here }: Visit, path: string): Markup | string {
  const whole = `/console${path}`;
  if (here === whole) return html`aria-current="page"`;
  return path !== "" && here.startsWith(`${whole}/`) ? html`aria-current="true"` : "";
}

function flashBox({ text, secret }: Flash): Markup {
  return html`<div class="flash" role="status">
    <p>${text}</p>
    ${
      secret === null
        ? ""
        : html`<label
            >Copy it now: it is not shown again.
            <input class="secret" readonly value="${secret}" autocomplete="off"
          /></label>`
    }
  </div>`;
}

/** The head of a page: where it is below, its name, and a line about it. */
export function heading(
  title: Markup | string,
  { lead, up, state }: { lead?: Markup | string; up?: Markup; state?: Markup } = {},
): Markup {
  return html`<header class="head">
    ${up === undefined ? "" : html`<p class="up">${up}</p>`}
    <h1>${title} ${state ?? ""}</h1>
    ${lead === undefined ? "" : html`<p class="lead">${lead}</p>`}
  </header>`;
}

export function card(title: Markup | string, body: Markup | readonly Markup[]): Markup {
  return html`<section class="card">
    <h2>${title}</h2>
    ${body}
  </section>`;
}

/** What could not be shown, and the way back. */
export function mistakePage(status: number, message: string): Page {
  const title =
    status === 404 ? "Not found" : status === 403 ? "Not allowed" : "This could not be done";
  const body = html`${heading(title, { lead: message })}
    <p><a href="/console">To the overview</a></p>`;
  return { title, body };
}

/** Nothing is there yet: what to do next. */
export function empty(text: Markup | string): Markup {
  return html`<p class="empty">${text}</p>`;
}

export function problemBox(problem: string | null): Markup | string {
  return problem === null ? "" : html`<div class="problem" role="alert"><p>${problem}</p></div>`;
}

/** At the head of a page, where none of its forms is shown again. */
export function problemAbove({ form, problem }: Given): Markup | string {
  return form === null ? problemBox(problem) : "";
}

/**
 * At the form that is shown again: it may stand below a hundred rows, and who sent it would look for it from
 * the top. What has the focus is scrolled to, and read out.
 */
export function problemAt({ form, problem }: Given): Markup | string {
  if (form === null || problem === null) return "";
  return html`<div class="problem at" role="alert" tabindex="-1" autofocus><p>${problem}</p></div>`;
}

export type Column<Row> = {
  readonly title: string;
  readonly cell: (row: Row) => Markup | string;
  readonly isNumber?: true;
};

/** A table that a phone shows as a list of cards: each cell carries the title of its column. */
export function table<Row>(
  caption: string,
  columns: readonly Column<Row>[],
  rows: readonly Row[],
): Markup {
  return html`<table class="list" role="table">
    <caption class="unseen">
      ${caption}
    </caption>
    <thead role="rowgroup">
      <tr role="row">
        ${columns.map(
          ({ title, isNumber }) =>
            html`<th role="columnheader" scope="col" class="${isNumber ? "number" : ""}">
              ${title === "" ? html`<span class="unseen">What to do</span>` : title}
            </th>`,
        )}
      </tr>
    </thead>
    <tbody role="rowgroup">
      ${rows.map(
        (row) =>
          html`<tr role="row">
            ${columns.map((column) => tableCell(column, row))}
          </tr>`,
      )}
    </tbody>
  </table>`;
}

function tableCell<Row>({ title, cell, isNumber }: Column<Row>, row: Row): Markup {
  const shown = cell(row);
  const name = [isNumber ? "number" : "", shown === "" ? "blank" : ""].join(" ").trim();
  return html`<td role="cell" data-title="${title}" class="${name}">${shown}</td>`;
}

/** The way to the rows behind these; nothing where there are none. */
export function pager(
  visit: Visit,
  path: string,
  { next, query = {} }: { readonly next: string | null; readonly query?: Query },
): Markup | string {
  if (next === null) return "";
  return html`<p class="pager">
    <a href="${visit.href(path, { ...query, cursor: next })}" rel="next">Next page</a>
  </p>`;
}

export type Fact = readonly [name: string, value: Markup | string | number];

export function facts(list: readonly Fact[]): Markup {
  return html`<dl class="facts">
    ${list.map(
      ([name, value]) =>
        html`<div>
          <dt>${name}</dt>
          <dd>${value}</dd>
        </div>`,
    )}
  </dl>`;
}

export type Tone = "good" | "bad" | "warn" | "calm" | "busy";

const TONES: Readonly<Record<string, Tone>> = {
  succeeded: "good",
  success: "good",
  allow: "good",
  approved: "good",
  active: "good",
  delivered: "good",
  open: "calm",
  consumed: "good",
  callable: "good",
  quarantined: "bad",
  observed: "warn",
  undeclared: "warn",
  not_listed: "warn",
  failed: "bad",
  failure: "bad",
  blocked: "bad",
  block: "bad",
  denied: "bad",
  dead: "bad",
  revoked: "bad",
  aborted: "warn",
  unknown: "warn",
  partial: "warn",
  reversed: "warn",
  stopping: "warn",
  pending: "warn",
  require_approval: "warn",
  awaiting_approval: "warn",
  expired: "warn",
  lapsed: "warn",
  matched: "warn",
  admitted: "busy",
};

/** A word of the API's closed lists, in its colour: `run_budget_exceeded` reads `run budget exceeded`. */
export function badge(word: string): Markup {
  return html`<span class="badge ${TONES[word] ?? "calm"}">${worded(word)}</span>`;
}

export function worded(word: string): string {
  return word.replaceAll("_", " ");
}

/** A form that acts, once, and only for this session. */
export function actForm(
  visit: Visit,
  path: string,
  { fields, button, tone }: { fields?: Markup; button: string; tone?: "danger" | "quiet" | "main" },
): Markup {
  return html`<form method="post" action="${visit.href(path)}" class="act">
    <input type="hidden" name="csrf" value="${visit.csrf}" />
    <input type="hidden" name="once" value="${visit.newOnce()}" />
    ${fields ?? ""}
    <button type="submit" class="${tone ?? "main"}">${button}</button>
  </form>`;
}

/** What cannot be undone is asked for twice. */
export function confirmed(summary: string, why: string, form: Markup): Markup {
  return html`<details class="confirm">
    <summary>${summary}</summary>
    <div>
      <p>${why}</p>
      ${form}
    </div>
  </details>`;
}

export type Choice = readonly [value: string, label: string];

export function field(label: string, control: Markup, hint: Markup | string | null = null): Markup {
  return html`<label class="field"
    ><span>${label}</span>${control}${hint === null ? "" : html`<small>${hint}</small>`}</label
  >`;
}

export function choose(name: string, choices: readonly Choice[], chosen: string): Markup {
  return html`<select name="${name}">
    ${choices.map(
      ([value, label]) =>
        html`<option value="${value}" ${value === chosen ? html`selected` : ""}>${label}</option>`,
    )}
  </select>`;
}

/** An id that fits a line: its kind and its end, which tells it from its neighbours. All of it is the title. */
export function shortId(id: string): Markup {
  const match = /^([a-z]{3,4})_\w{12,}(\w{6})$/.exec(id);
  if (match === null) return html`<code>${id}</code>`;
  return html`<code title="${id}">${match[1]}…${match[2]}</code>`;
}
