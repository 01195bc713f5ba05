/** Tools: how each stands, what its server says that it is, where that changed, and the approval of exactly that. */
import { html } from "hono/html";

import { listOf } from "../answers.ts";
import { prettyCall, visible } from "../diff.ts";
import { count, usdOrDash, when, type Markup } from "../figures.ts";
import { ROWS_SHOWN } from "../limits.ts";
import {
  actForm,
  badge,
  card,
  choose,
  empty,
  facts,
  field,
  heading,
  pager,
  problemBox,
  table,
  worded,
  type Choice,
} from "../page.ts";
import { Tool, TOOL_STATES, ToolDefinitions } from "../tool-answers.ts";
import {
  NOTHING_GIVEN,
  type Asked,
  type Given,
  type Outcome,
  type Page,
  type Routes,
  type Sent,
  type Visit,
} from "../visit.ts";

export function toolPages({ page, act }: Routes): void {
  page("/tools", listPage);
  page("/tools/:tool", (asked) => toolPage(asked, NOTHING_GIVEN));
  act("/tools/:tool/approve", approve);
}

const STATES = ["all", ...TOOL_STATES] as const;

async function listPage({ visit, query }: Asked): Promise<Page> {
  const state = STATES.find((known) => known === query("state")) ?? "all";
  const cursor = query("cursor");
  const asked = { state: state === "all" ? null : state, cursor, limit: ROWS_SHOWN };
  const isFirst = state === "all" && cursor === null;
  const [{ data, next }, changed] = await Promise.all([
    visit.api.get(listOf(Tool), "/tools", asked),
    isFirst ? quarantined(visit) : [],
  ]);
  const lead =
    "What agents may call, and what it does. A tool that its server describes anew is not called until somebody has looked.";
  const body = html`${heading("Tools", { lead })}
    <nav class="tabs" aria-label="State">
      ${STATES.map(
        (one) =>
          html`<a
            href="${visit.href("/tools", { state: one })}"
            ${one === state ? html`aria-current="true"` : ""}
            >${worded(one)}</a
          >`,
      )}
    </nav>
    ${changed.length === 0 ? "" : card("Changed since they were approved", toolsTable(visit, changed))}
    ${data.length === 0 ? empty(nothing(state)) : toolsTable(visit, data)}
    ${pager(visit, "/tools", { next, query: { state } })}`;
  return { title: "Tools", body };
}

/** First of all, whatever their names. */
async function quarantined(visit: Visit): Promise<readonly Tool[]> {
  const asked = { state: "quarantined", limit: ROWS_SHOWN };
  return (await visit.api.get(listOf(Tool), "/tools", asked)).data;
}

function nothing(state: string): Markup | string {
  if (state !== "all") return `No tool is ${worded(state)}.`;
  return html`No tool is declared, and no server lists one: each is effectful and without a price.
    <code>npx tollgate tools set NAME --effect pure</code> declares one.`;
}

function toolsTable(visit: Visit, tools: readonly Tool[]): Markup {
  return table(
    "Tools",
    [
      { title: "Tool", cell: ({ name }) => html`<a href="${toolHref(visit, name)}">${name}</a>` },
      { title: "State", cell: ({ state }) => badge(state) },
      { title: "Effect", cell: ({ effect }) => effect ?? "–" },
      { title: "Price", isNumber: true, cell: ({ price_usd: price }) => usdOrDash(price) },
      { title: "Approval", cell: (tool) => approvalText(tool) },
      {
        title: "Listed since",
        cell: ({ listed }) => (listed === null ? "–" : when(listed.since, visit.now)),
      },
    ],
    tools,
  );
}

function toolPath(name: string): string {
  return `/tools/${encodeURIComponent(name)}`;
}

function toolHref(visit: Visit, name: string): string {
  return visit.href(toolPath(name));
}

const LEADS: Readonly<Record<Tool["state"], string>> = {
  callable: "Its server lists it as it was approved.",
  quarantined: "Its server lists it as something else than was approved, so it is not called.",
  observed: "Its server lists it, nobody has approved it yet, and it may be called all the same.",
  undeclared: "Its server lists it, and nobody has approved it yet.",
  not_listed: "Its server does not list it any more, or is configured no more.",
  own: "Callers run it themselves: no server says what it is.",
};

async function toolPage({ visit, param }: Asked, given: Given): Promise<Page> {
  const path = toolPath(param("tool"));
  const tool = await visit.api.get(Tool, path);
  const isOfServer = tool.listed !== null || tool.definition !== null;
  const seen = isOfServer ? await visit.api.get(ToolDefinitions, `${path}/definitions`) : null;
  const up = html`<a href="${visit.href("/tools")}">Tools</a>`;
  const head = { up, state: badge(tool.state), lead: LEADS[tool.state] };
  const body = html`${heading(tool.name, head)} ${problemBox(given.problem)}
  ${seen === null ? "" : differenceCard(seen)} ${seen === null ? "" : definitionCard(visit, seen)}
  ${seen === null ? "" : approveCard(visit, { tool, seen, given })}
  ${card("What is declared", declared(visit, tool))}
  ${seen === null ? "" : card("Every definition that was seen", seenTable(visit, seen))}`;
  return { title: `Tool ${tool.name}`, body };
}

function differenceCard({ difference }: ToolDefinitions): Markup | string {
  if (difference === null || difference.lines.length === 0) return "";
  const { lines, more } = difference;
  const body = html`<pre class="diff" tabindex="0">${lines.flatMap(differenceLines)}</pre>
    ${more === 0 ? "" : html`<p class="note">And ${count(more)} more places.</p>`}`;
  return card("What changed since it was approved", body);
}

function differenceLines({ path, before, after }: DifferenceLine): readonly Markup[] {
  const line = (kind: string, text: string) =>
    html`<span class="${kind}">${`${visible(text)}\n`}</span>`;
  return [
    line("place", path),
    ...(before === null ? [] : [line("removed", `− ${before}`)]),
    ...(after === null ? [] : [line("added", `+ ${after}`)]),
  ];
}

type DifferenceLine = NonNullable<ToolDefinitions["difference"]>["lines"][number];

/** What its server says now; where it lists the tool no more, what was approved. */
function definitionCard(visit: Visit, { data }: ToolDefinitions): Markup | string {
  const shown =
    data.find(({ is_current: isCurrent }) => isCurrent) ??
    data.find(({ is_approved: isApproved }) => isApproved);
  if (shown === undefined) return "";
  const note = shown.is_current
    ? "All that its server says of it now. What it says of itself, annotations included, lowers no risk."
    : "As it was approved.";
  const body = html`<p class="note">${note} First seen ${when(shown.first_seen_at, visit.now)}.</p>
    <pre class="call" tabindex="0">${prettyCall(JSON.stringify(shown.content))}</pre>`;
  return card("Its definition", body);
}

const EFFECTS: readonly Choice[] = [
  ["effectful", "Effectful: it happens twice"],
  ["keyed", "Keyed: its receiver knows a repeat"],
  ["idempotent", "Idempotent: twice is once"],
  ["pure", "Pure: it changes nothing"],
];

type Approvable = { readonly tool: Tool; readonly seen: ToolDefinitions; readonly given: Given };

function approveCard(visit: Visit, { tool, seen, given: { form } }: Approvable): Markup | string {
  const { approved, current } = seen;
  if (!visit.may("admin") || current === null) return "";
  const isApproved = current === approved;
  const effect = form?.text("effect") ?? tool.effect ?? "effectful";
  const price = form?.text("price") ?? tool.price_usd ?? "";
  const fields = html`<input type="hidden" name="definition" value="${current}" />
    <div class="fields">
      ${field("Running it twice", choose("effect", EFFECTS, effect), "What its server says of that decides nothing.")}
      ${field("Price of a call, in dollars", html`<input name="price" inputmode="decimal" maxlength="32" value="${price}" />`, "Empty: none is declared.")}
    </div>`;
  const path = `${toolPath(tool.name)}/approve`;
  const which = isApproved ? "" : "Exactly what is shown above is approved. ";
  const button = isApproved ? "Declare it so" : "Approve this definition";
  return card(
    isApproved ? "Change its effect or price" : "Approve it",
    html`<p class="note">${which}The rest of what is declared stays as it is.</p>
      ${actForm(visit, path, { fields, button })}`,
  );
}

async function approve({ visit, form, ...asked }: Sent): Promise<Outcome> {
  const path = toolPath(asked.param("tool"));
  const tool = await visit.api.get(Tool, path);
  const price = form.text("price");
  const { approval, output, operation, trusted } = tool;
  const body = {
    effect: form.text("effect"),
    definition: form.text("definition"),
    ...(price === "" ? {} : { price_usd: price }),
    ...(operation === null ? {} : { operation }),
    ...(approval === null ? {} : { approval: withoutNulls(approval) }),
    output: withoutNulls(output),
    trusted,
  };
  const acted = await visit.api.act({ method: "PUT", path, body, once: form.text("once") });
  if (acted.kind === "refused") {
    const page = await toolPage({ visit, ...asked }, { form, problem: acted.message });
    return { kind: "again", status: acted.status, page };
  }
  const isCallable = Tool.parse(acted.body).state === "callable";
  const text = isCallable
    ? "It is approved as it was shown, and may be called."
    : "What was shown is approved, but its server lists something else by now: look at the difference.";
  return { kind: "done", to: visit.href(path), text };
}

/** The API takes absent members, and answers null for them. */
function withoutNulls(value: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(value).filter(([, inner]) => inner !== null));
}

function declared(visit: Visit, tool: Tool): Markup {
  const { effect, operation, output, trusted, created_at: at } = tool;
  if (effect === null || at === null) {
    return empty("Nobody has declared anything of it: it is effectful and without a price.");
  }
  const bounds = [
    output.bytes_max === null ? null : `${count(output.bytes_max)} bytes`,
    output.rows_max === null ? null : `${count(output.rows_max)} rows`,
  ].filter((text) => text !== null);
  return facts([
    ["Running it twice", effect],
    ["Price of a call", usdOrDash(tool.price_usd)],
    [
      "Operation",
      operation === null
        ? "none"
        : `${operation.type} at ${operation.pointers.join(", ")} (${operation.mode})`,
    ],
    ["Approval of each call", approvalText(tool)],
    ["A result has at most", bounds.length === 0 ? "–" : bounds.join(", ")],
    ["Does not pass with", output.block.length === 0 ? "–" : output.block.join(", ")],
    ["Is replaced in it", output.redact.length === 0 ? "–" : output.redact.join(", ")],
    ["Its source", trusted ? "trusted" : "not trusted: what it answers taints its run"],
    ["Declared", when(at, visit.now)],
  ]);
}

function approvalText({ approval }: Tool): string {
  if (approval === null) return "–";
  const people = approval.quorum === 1 ? "one person" : `${approval.quorum} people`;
  return approval.role === null ? people : `${people} of the role ${approval.role}`;
}

function seenTable(visit: Visit, { data, more }: ToolDefinitions): Markup {
  return html`${table(
    "Definitions",
    [
      {
        title: "Definition",
        cell: ({ sha256 }) => html`<code title="${sha256}">${sha256.slice(0, 12)}…</code>`,
      },
      { title: "First seen", cell: ({ first_seen_at: at }) => when(at, visit.now) },
      {
        title: "It is",
        cell: ({ is_current: isCurrent, is_approved: isApproved }) =>
          [isApproved ? "approved" : "", isCurrent ? "listed now" : ""].filter(Boolean).join(", "),
      },
    ],
    data,
  )}
  ${more === 0 ? "" : html`<p class="note">And ${count(more)} older ones.</p>`}`;
}
