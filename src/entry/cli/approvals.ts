/** `approvals`: what waits for a person, what exactly it is, and the answers. */
import { InvalidArgumentError, Option, type Command } from "commander";

import { APPROVAL_STATES } from "../../core/approval.ts";
import { isList, parseJson } from "../../lib/json.ts";
import type { Reply } from "./client.ts";
import { member, textOf, writeFields, writeHint, writeTable, type Column } from "./output.ts";
import * as session from "./session.ts";
import type { Session } from "./session.ts";
import type { Terminal } from "./terminal.ts";

const LIST_COLUMNS: readonly Column[] = [
  { title: "id", value: "id" },
  { title: "state", value: (row) => stateText(row) },
  { title: "asked by", value: "requested_by" },
  { title: "run", value: "run" },
  { title: "what", value: (row) => whatText(row) },
  { title: "cost at most", value: "estimate_usd", align: "right" },
  { title: "policies", value: (row) => policyNames(row) },
  { title: "until", value: "expires_at" },
];

const FIELDS: readonly Column[] = [
  { title: "approval", value: "id" },
  { title: "state", value: (row) => stateText(row) },
  { title: "asked by", value: "requested_by" },
  { title: "run", value: "run" },
  { title: "step", value: "step" },
  { title: "operation", value: "operation" },
  { title: "what", value: (row) => whatText(row) },
  { title: "cost at most", value: "estimate_usd" },
  { title: "role", value: "role" },
  { title: "decision", value: "decision" },
  { title: "asked", value: "created_at" },
  { title: "until", value: "expires_at" },
  { title: "decided", value: "decided_at" },
  { title: "used by", value: "consumed_by" },
  { title: "digest", value: "digest" },
];

const POLICY_COLUMNS: readonly Column[] = [
  { title: "policy", value: "id" },
  { title: "asks because", value: "reason" },
  { title: "version", value: "version" },
];

const VOTE_COLUMNS: readonly Column[] = [
  { title: "at", value: "voted_at" },
  { title: "key", value: "key" },
  { title: "answer", value: (row) => (member(row, "approves") === true ? "approved" : "denied") },
  { title: "reason", value: "reason" },
];

export function addApprovals(program: Command, terminal: Terminal): void {
  const approvals = program
    .command("approvals")
    .description("approvals: calls that wait for a person");
  addList(approvals, terminal);
  const show = approvals
    .command("show")
    .description("show exactly the call that is asked about, and who has answered")
    .argument("<id>", "apr_…");
  session.act(show, terminal, async (s) => {
    showApproval(s, await s.ask({ method: "GET", path: pathOf(s), scope: "approve" }));
  });
  addAnswers(approvals, terminal);
}

function addList(approvals: Command, terminal: Terminal): void {
  const list = approvals
    .command("list")
    .description("list them, newest first")
    .addOption(new Option("--state <state>", "only those").choices(APPROVAL_STATES));
  session.act(session.paged(list), terminal, async (s) => {
    const query = { ...session.pageQuery(s), state: session.option(s.options, "state") };
    const reply = await s.ask({ method: "GET", path: "/api/approvals", query, scope: "approve" });
    session.showList(s, reply, { columns: LIST_COLUMNS, none: "Nothing was asked." });
  });
}

function addAnswers(approvals: Command, terminal: Terminal): void {
  const answering = (how: "approve" | "deny") =>
    approvals
      .command(how)
      .argument("<id>", "apr_…")
      .requiredOption("--digest <digest>", "of the call as `approvals show` shows it", digest);
  const approve = answering("approve").description("approve exactly this call, once");
  session.act(approve.option("--reason <text>", "why"), terminal, (s) => answer(s, "approve"));
  const deny = answering("deny").description("deny it, for good");
  session.act(deny.requiredOption("--reason <text>", "why"), terminal, (s) => answer(s, "deny"));
  const cancel = approvals
    .command("cancel")
    .description("take the question back")
    .argument("<id>", "apr_…");
  session.act(cancel, terminal, async (s) => {
    const path = `${pathOf(s)}/cancel`;
    const reply = await s.ask({ method: "POST", path, body: {}, scope: "admin" });
    session.showDone(s, reply, `Cancelled ${s.argument(0)}.`);
  });
}

async function answer(s: Session, how: "approve" | "deny"): Promise<void> {
  const body = {
    digest: session.option(s.options, "digest"),
    reason: session.option(s.options, "reason"),
  };
  const path = `${pathOf(s)}/${how}`;
  const reply = await s.ask({ method: "POST", path, body, scope: "approve" });
  const state = member(reply.body, "state");
  const done =
    state === "pending"
      ? `Counted: ${votesText(reply.body)} have approved.`
      : `${s.argument(0)} is ${textOf(state)}.`;
  session.showDone(s, reply, done);
}

function showApproval(s: Session, reply: Reply): void {
  if (s.json) return session.writeJson(s, reply);
  const { terminal } = s;
  const { body } = reply;
  writeFields(terminal, FIELDS, body);
  terminal.out("\n");
  writeTable(terminal, POLICY_COLUMNS, rows(body, "policies"));
  const votes = rows(body, "votes");
  if (votes.length > 0) {
    terminal.out("\n");
    writeTable(terminal, VOTE_COLUMNS, votes);
  }
  terminal.out(`\nThe call:\n${callText(body)}\n`);
  if (member(body, "state") !== "pending") return;
  const words = `${s.argument(0)} --digest ${textOf(member(body, "digest"))}`;
  writeHint(terminal, `\n${session.typed(s, `approvals approve ${words}`)}`);
  writeHint(terminal, session.typed(s, `approvals deny ${words} --reason "…"`));
}

/** Set out over lines only where that shows the same: JSON that says a member twice would lose one. */
function callText(body: unknown): string {
  const call = member(body, "call");
  if (typeof call !== "string") return "(it cannot be opened any more)";
  const parsed = member(body, "call_encoding") === "utf-8" ? parseJson(call) : null;
  const isSame = parsed !== null && JSON.stringify(parsed.value) === call;
  const text = isSame ? JSON.stringify(parsed.value, null, 2) : call;
  return text
    .split("\n")
    .map((line) => (line === "" ? "" : textOf(line)))
    .join("\n");
}

function stateText(row: unknown): string {
  const state = textOf(member(row, "state"));
  const isShared = member(row, "quorum") !== 1 && state === "pending";
  return isShared ? `${state} (${votesText(row)})` : state;
}

function votesText(row: unknown): string {
  return `${textOf(member(row, "approvals"))} of ${textOf(member(row, "quorum"))}`;
}

function whatText(row: unknown): string {
  return `${textOf(member(row, "door"))} ${textOf(member(row, "resource"))}`;
}

function policyNames(row: unknown): string {
  return textOf(rows(row, "policies").map((policy) => textOf(member(policy, "id"))));
}

function rows(body: unknown, name: string): readonly unknown[] {
  const list = member(body, name);
  return isList(list) ? list : [];
}

function pathOf(s: Session): string {
  return `/api/approvals/${encodeURIComponent(s.argument(0))}`;
}

function digest(text: string): string {
  if (/^[0-9a-f]{64}$/.test(text)) return text;
  throw new InvalidArgumentError("The whole digest is needed, as `approvals show` shows it.");
}
