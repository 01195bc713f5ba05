/** What waits for a person: the exact call, who asked why, what differs from the last one, and the answer. */
import { html } from "hono/html";

import { Approval, listOf, ShownApproval } from "../answers.ts";
import { diffOf, prettyCall, type DiffLine } from "../diff.ts";
import { usdOrDash, when, whenOrDash, type Markup } from "../figures.ts";
import { ROWS_SHOWN } from "../limits.ts";
import {
  actForm,
  badge,
  card,
  confirmed,
  empty,
  facts,
  field,
  heading,
  pager,
  problemBox,
  shortId,
  table,
  worded,
} from "../page.ts";
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
import { keyLink } from "./keys.ts";
import { runLink } from "../run-links.ts";
import { plural } from "./runs.ts";

export function approvalPages({ page, act }: Routes): void {
  page("/approvals", listPage);
  page("/approvals/:approval", (asked) => approvalPage(asked, NOTHING_GIVEN));
  act("/approvals/:approval/approve", (sent) => answer(sent, "approve"));
  act("/approvals/:approval/deny", (sent) => answer(sent, "deny"));
  act("/approvals/:approval/cancel", (sent) => answer(sent, "cancel"));
}

const STATES = ["pending", "approved", "consumed", "denied", "expired", "lapsed", "cancelled"];

async function listPage({ visit, query }: Asked): Promise<Page> {
  const state = query("state") ?? "pending";
  const asked = {
    state: state === "all" ? null : state,
    cursor: query("cursor"),
    limit: ROWS_SHOWN,
  };
  const { data, next } = await visit.api.get(listOf(Approval), "/approvals", asked);
  const lead = "Calls that a policy does not let pass without a person.";
  const body = html`${heading("Approvals", { lead })}
    <nav class="tabs" aria-label="State">
      ${[...STATES, "all"].map(
        (one) =>
          html`<a
            href="${visit.href("/approvals", { state: one })}"
            ${one === state ? html`aria-current="true"` : ""}
            >${worded(one)}</a
          >`,
      )}
    </nav>
    ${data.length === 0 ? empty(nothing(state)) : approvalsTable(visit, data)}
    ${pager(visit, "/approvals", { next, query: { state } })}`;
  return { title: "Approvals", body };
}

function nothing(state: string): Markup | string {
  return state === "pending"
    ? html`Nothing waits for you. A policy with <code>effect: require_approval</code> asks here.`
    : "There is none of this kind.";
}

function approvalsTable(visit: Visit, approvals: readonly Approval[]): Markup {
  return table(
    "Approvals",
    [
      {
        title: "Call",
        cell: ({ id, resource }) => html`<a href="${approvalHref(visit, id)}">${resource}</a>`,
      },
      { title: "Run", cell: ({ run }) => runLink(visit, run) },
      { title: "State", cell: ({ state }) => badge(state) },
      {
        title: "Why",
        cell: ({ policies }) => policies.map(({ id, reason }) => reason ?? id).join(" "),
      },
      { title: "May cost", isNumber: true, cell: ({ estimate_usd: usd }) => usdOrDash(usd) },
      { title: "Asked", cell: ({ created_at: at }) => when(at, visit.now) },
      {
        title: "Until",
        cell: ({ state, expires_at: at }) => (state === "pending" ? when(at, visit.now) : "–"),
      },
    ],
    approvals,
  );
}

function approvalHref(visit: Visit, id: string): string {
  return visit.href(`/approvals/${encodeURIComponent(id)}`);
}

async function approvalPage({ visit, param }: Asked, given: Given): Promise<Page> {
  const path = `/approvals/${encodeURIComponent(param("approval"))}`;
  const approval = await visit.api.get(ShownApproval, path);
  const last = await lastApproved(visit, approval);
  const { resource, state } = approval;
  const up = html`<a href="${visit.href("/approvals")}">Approvals</a>`;
  const body = html`${heading(resource, { up, state: badge(state), lead: leadOf(visit, approval) })}
  ${problemBox(given.problem)} ${card("Why it is asked", reasonsOf(approval))}
  ${card("The exact call", callOf(approval))}
  ${card("What differs from the last approved one", differenceOf(visit, approval, last))}
  ${state === "pending" ? answerCard(visit, approval, given) : ""}
  ${card("About it", factsOf(visit, approval))} ${card("Answers", votesOf(visit, approval))}
  ${state === "pending" && visit.may("admin", "invoke") ? cancelForm(visit, approval) : ""}`;
  return { title: `Approval of ${resource}`, body };
}

function leadOf(visit: Visit, { run, created_at: at, expires_at: until, state }: Approval): Markup {
  const ends = state === "pending" ? html`, and expires ${when(until, visit.now)}` : "";
  return html`Asked ${when(at, visit.now)} in run ${runLink(visit, run)}${ends}.`;
}

/** The newest that a person approved for the same resource before; its call may be opened no more. */
async function lastApproved(
  visit: Visit,
  { id, resource }: Approval,
): Promise<ShownApproval | null> {
  const found = await Promise.all(
    ["consumed", "approved", "lapsed"].map((state) =>
      visit.api.get(listOf(Approval), "/approvals", { state, resource, cursor: id, limit: 1 }),
    ),
  );
  const [newest] = found
    .flatMap(({ data }) => data)
    .toSorted((a, b) => (a.created_at < b.created_at ? 1 : -1));
  if (newest === undefined) return null;
  return visit.api.get(ShownApproval, `/approvals/${encodeURIComponent(newest.id)}`);
}

function reasonsOf({ policies }: Approval): Markup {
  return html`<ul class="reasons">
    ${policies.map(
      ({ id, reason }) =>
        html`<li>
          <strong>${reason ?? "It asks for approval."}</strong> <small>policy ${id}</small>
        </li>`,
    )}
  </ul>`;
}

function callOf({ call, call_encoding: encoding }: ShownApproval): Markup {
  if (call === null)
    return empty("The call cannot be opened any more: its seal is of a key that is gone.");
  const note =
    encoding === "base64"
      ? html`<p class="note">It is no text; these are its bytes in base64.</p>`
      : "";
  return html`${note}
    <pre class="call" tabindex="0">${encoding === "base64" ? call : prettyCall(call)}</pre>`;
}

function differenceOf(visit: Visit, now: ShownApproval, last: ShownApproval | null): Markup {
  if (last === null) return empty(`No call of ${now.resource} was approved before this one.`);
  const link = html`<a href="${approvalHref(visit, last.id)}">the last one</a>, asked
    ${when(last.created_at, visit.now)}`;
  if (now.call === null || last.call === null) {
    return empty(html`One of the two calls cannot be opened any more: see ${link}.`);
  }
  const lines = diffOf(prettyCall(last.call), prettyCall(now.call));
  if (lines === null) return empty(html`The calls are too long to compare here: see ${link}.`);
  if (lines.every(({ kind }) => kind === "same")) {
    return html`<p>It is the same, byte for byte but for white space, as ${link}.</p>`;
  }
  return html`<p class="note">Against ${link}.</p>
    <pre class="diff" tabindex="0">${lines.map(diffLine)}</pre>`;
}

function diffLine({ kind, text }: DiffLine): Markup {
  const line = `${SIGNS[kind]} ${text}\n`;
  return html`<span class="${kind}">${line}</span>`;
}

const SIGNS = { same: " ", added: "+", removed: "−" } as const;

function factsOf(visit: Visit, approval: ShownApproval): Markup {
  return facts([
    ["May cost", usdOrDash(approval.estimate_usd)],
    ["Asked by key", keyLink(visit, approval.requested_by)],
    [
      "Decision",
      visit.may("report", "admin")
        ? html`<a href="${visit.href(`/decisions/${approval.decision}`)}"
            >${shortId(approval.decision)}</a
          >`
        : shortId(approval.decision),
    ],
    ["Operation", approval.operation ?? "none"],
    ["Step", approval.step ?? "not named"],
    ["Door", approval.door],
    ["Needs", needed(approval)],
    ["Decided", whenOrDash(approval.decided_at, visit.now)],
  ]);
}

function needed({ approvals, quorum, role }: ShownApproval): string {
  const by = role === null ? "" : ` by role ${role}`;
  return `${plural(quorum, "approval")}${by}, has ${approvals}`;
}

function votesOf(visit: Visit, { votes }: ShownApproval): Markup {
  if (votes.length === 0) return empty("Nobody has answered yet.");
  return table(
    "Answers",
    [
      { title: "Key", cell: ({ key }) => keyLink(visit, key) },
      { title: "Answer", cell: ({ approves }) => badge(approves ? "approved" : "denied") },
      { title: "Reason", cell: ({ reason }) => reason },
      { title: "When", cell: ({ voted_at: at }) => when(at, visit.now) },
    ],
    votes,
  );
}

function answerCard(visit: Visit, approval: ShownApproval, { form }: Given): Markup {
  if (visit.self.kind === "installation" || !visit.may("approve")) {
    return card(
      "Your answer",
      empty(
        html`This key answers no approval: sign in with one of the tenant that has the scope
          <code>approve</code>.`,
      ),
    );
  }
  const path = `/approvals/${encodeURIComponent(approval.id)}`;
  const reason = (isRequired: boolean) =>
    html`<input type="hidden" name="digest" value="${approval.digest}" /> ${field(
        isRequired ? "Why not" : "Why, if you like",
        html`<input
          name="reason"
          maxlength="1000"
          autocomplete="off"
          value="${form?.text("reason") ?? ""}"
          ${isRequired ? html`required` : ""}
        />`,
      )}`;
  return card(
    "Your answer",
    html`<p class="note">It counts for exactly this call, once.</p>
      <div class="answers">
        ${actForm(visit, `${path}/approve`, { fields: reason(false), button: "Approve this call", tone: "main" })}
        ${actForm(visit, `${path}/deny`, { fields: reason(true), button: "Deny it", tone: "danger" })}
      </div>`,
  );
}

function cancelForm(visit: Visit, { id }: Approval): Markup {
  return confirmed(
    "Take the question back…",
    "Whoever waits for an answer is told that there will be none.",
    actForm(visit, `/approvals/${encodeURIComponent(id)}/cancel`, {
      button: "Take it back",
      tone: "danger",
    }),
  );
}

const TOLD = {
  approve: "Approved: this call may pass once.",
  deny: "Denied: this call will not pass.",
  cancel: "The question is taken back.",
} as const;

async function answer({ visit, form, ...asked }: Sent, verb: keyof typeof TOLD): Promise<Outcome> {
  const id = encodeURIComponent(asked.param("approval"));
  const reason = form.text("reason");
  const body =
    verb === "cancel" ? {} : { digest: form.text("digest"), ...(reason === "" ? {} : { reason }) };
  const path = `/approvals/${id}/${verb}`;
  const acted = await visit.api.act({ method: "POST", path, body, once: form.text("once") });
  if (acted.kind === "done") {
    return { kind: "done", to: visit.href(`/approvals/${id}`), text: TOLD[verb] };
  }
  const page = await approvalPage({ visit, ...asked }, { form, problem: acted.message });
  return { kind: "again", status: acted.status, page };
}
