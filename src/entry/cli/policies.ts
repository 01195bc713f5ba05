/** `policies`: the tenant's own rules, as files that are checked, stored, compared and activated. */
import { readFileSync } from "node:fs";
import { text as readStream } from "node:stream/consumers";

import type { Command } from "commander";

import { isVersionStart } from "../../core/policy.ts";
import { readBundle } from "../../core/policy-source.ts";
import { isList } from "../../lib/json.ts";
import { addBacktest } from "./backtest.ts";
import {
  member,
  paint,
  textOf,
  writeFields,
  writeHint,
  writeTable,
  type Column,
} from "./output.ts";
import * as session from "./session.ts";
import type { Session } from "./session.ts";
import { STARTER_POLICIES } from "./starter-policies.ts";
import { calledAs, CliError, EXIT_ERROR, type Terminal } from "./terminal.ts";

const BUNDLE_COLUMNS: readonly Column[] = [
  { title: "version", value: (row) => textOf(member(row, "version")).slice(0, SHOWN) },
  { title: "active", value: (row) => (member(row, "active") === true ? "active" : "") },
  { title: "policies", value: "policies" },
  { title: "stored by", value: "created_by" },
  { title: "stored", value: "created_at" },
  { title: "description", value: "description" },
];

const SHOW_COLUMNS: readonly Column[] = [
  { title: "version", value: "version" },
  { title: "active", value: "active" },
  { title: "description", value: "description" },
  { title: "stored by", value: "created_by" },
  { title: "stored", value: "created_at" },
];

const POLICY_COLUMNS: readonly Column[] = [
  { title: "id", value: "id" },
  { title: "effect", value: "effect" },
  { title: "mode", value: "mode" },
  { title: "when", value: "when" },
];

const CHANGE_COLUMNS: readonly Column[] = [
  { title: "policy", value: "id" },
  { title: "change", value: "change" },
  { title: "members", value: "members" },
];

/** As much of a version as headers tell. */
const SHOWN = 16;

const FILE = "a bundle in YAML or JSON; - reads standard input";

export function addPolicies(program: Command, terminal: Terminal): void {
  const policies = program
    .command("policies")
    .description("policies: rules over every call, versioned and explained");
  addFiles(policies, terminal);
  addActivation(policies, terminal);
  addLooking(policies, terminal);
  addBacktest(policies, terminal, readFile);
}

function addFiles(policies: Command, terminal: Terminal): void {
  const starter = policies
    .command("starter")
    .description(
      `print a bundle to begin with: ${calledAs(terminal.env)} policies starter > policies.yaml`,
    );
  session.act(starter, terminal, async () => terminal.out(STARTER_POLICIES));
  const check = policies
    .command("check")
    .description("check a bundle without a server: every mistake, with line and column")
    .argument("<file>", FILE);
  session.act(check, terminal, async (s) => checkFile(s, await readFile(s.argument(0)), true));
  const apply = policies
    .command("apply")
    .description("store a bundle; it judges nothing until it is activated")
    .argument("<file>", FILE)
    .option("--activate", "and activate it");
  session.act(apply, terminal, async (s) => {
    const source = await readFile(s.argument(0));
    checkFile(s, source, false);
    const body = { source };
    const reply = await s.ask({ method: "POST", path: "/api/policies", body, scope: "admin" });
    const version = textOf(member(reply.body, "version"));
    const stored = member(reply.body, "created") === true ? "Stored" : "Stored already:";
    if (s.options["activate"] !== true) {
      session.showDone(
        s,
        reply,
        `${stored} ${version}. Activate it: ${session.typed(s, `policies activate ${version.slice(0, SHOWN)}`)}`,
      );
      return;
    }
    await activate(s, version);
  });
}

function addActivation(policies: Command, terminal: Terminal): void {
  const activating = policies
    .command("activate")
    .description("have a bundle judge from now on")
    .argument("<version>", "pol_…, or its beginning");
  session.act(activating, terminal, async (s) => activate(s, s.argument(0)));
  const deactivate = policies
    .command("deactivate")
    .description("have no policy judge from now on; all bundles stay stored");
  session.act(deactivate, terminal, async (s) => {
    const path = "/api/policies/deactivate";
    const reply = await s.ask({ method: "POST", path, body: {}, scope: "admin" });
    session.showDone(s, reply, "No policy judges any more.");
  });
}

async function activate(s: Session, version: string): Promise<void> {
  const path = `/api/policies/${encodeURIComponent(version)}/activate`;
  const reply = await s.ask({ method: "POST", path, body: {}, scope: "admin" });
  const before = member(reply.body, "before");
  const instead = typeof before === "string" ? `, instead of ${before.slice(0, SHOWN)}` : "";
  session.showDone(s, reply, `Active: ${textOf(member(reply.body, "after"))}${instead}.`);
}

function addLooking(policies: Command, terminal: Terminal): void {
  const list = policies.command("list").description("list the bundles that were ever stored");
  session.act(session.paged(list), terminal, async (s) => {
    const query = session.pageQuery(s);
    const reply = await s.ask({ method: "GET", path: "/api/policies", query, scope: "report" });
    const none = `No policies yet: ${calledAs(terminal.env)} policies starter > policies.yaml`;
    session.showList(s, reply, { columns: BUNDLE_COLUMNS, none });
  });
  const show = policies
    .command("show")
    .description("show a bundle, as it was written")
    .argument("[version]", "pol_…, or its beginning (default: the active one)");
  session.act(show, terminal, async (s) => {
    const version = s.argument(0) === "" ? "active" : s.argument(0);
    const path = `/api/policies/${encodeURIComponent(version)}`;
    const reply = await s.ask({ method: "GET", path, scope: "report" });
    if (s.json) return session.writeJson(s, reply);
    writeFields(terminal, SHOW_COLUMNS, reply.body);
    terminal.out("\n");
    const rows = member(reply.body, "policies");
    writeTable(terminal, POLICY_COLUMNS, isList(rows) ? rows : []);
    terminal.out(`\n${linesOf(member(reply.body, "source"))}`);
  });
  const diff = policies
    .command("diff")
    .description("compare two bundles, policy by policy")
    .argument("<from>", "pol_…, or active")
    .argument("<to>", "pol_…, or active");
  session.act(diff, terminal, async (s) => {
    const query = { from: s.argument(0), to: s.argument(1) };
    const path = "/api/policies/diff";
    const reply = await s.ask({ method: "GET", path, query, scope: "report" });
    if (s.json) return session.writeJson(s, reply);
    const changes = member(reply.body, "changes");
    if (!isList(changes) || changes.length === 0) return writeHint(terminal, "They judge alike.");
    writeTable(terminal, CHANGE_COLUMNS, changes);
    for (const change of changes) showMembers(terminal, change);
  });
}

/** The members that differ, one line each for before and after. */
function showMembers(terminal: Terminal, change: unknown): void {
  const members = member(change, "members");
  for (const name of isList(members) ? members : []) {
    const id = textOf(member(change, "id"));
    terminal.out(`\n${id}.${textOf(name)}\n`);
    terminal.out(`- ${textOf(member(change, `before.${textOf(name)}`))}\n`);
    terminal.out(`+ ${textOf(member(change, `after.${textOf(name)}`))}\n`);
  }
}

/** A text of several lines, each of them shown as one: escape sequences in it must not reach the terminal. */
function linesOf(source: unknown): string {
  if (typeof source !== "string") return "";
  const lines = source.trimEnd().split("\n");
  return lines.map((line) => (line === "" ? "\n" : `${textOf(line)}\n`)).join("");
}

/** Says all that is wrong, each with its place; throws when there is anything. */
function checkFile(s: Session, source: string, isAsked: boolean): void {
  const { terminal } = s;
  const reading = readBundle(source);
  if (reading.kind === "sound") {
    const { version, bundle } = reading;
    const ids = bundle.policies.map(({ id }) => id);
    if (!isAsked) return;
    if (s.json) {
      terminal.out(`${JSON.stringify({ valid: true, version, policies: ids, problems: [] })}\n`);
      return;
    }
    const count = `${ids.length} ${ids.length === 1 ? "policy" : "policies"}`;
    terminal.out(`${paint(terminal, "green", "sound")}  ${version} · ${count}\n`);
    return;
  }
  const { problems } = reading;
  if (s.json) {
    const answer = { valid: false, version: null, policies: [], problems };
    terminal.out(`${JSON.stringify(answer)}\n`);
  } else {
    for (const { line, column, message } of problems) {
      terminal.err(`${s.argument(0)}:${line}:${column}: ${textOf(message)}\n`);
    }
  }
  const mistakes = problems.length === 1 ? "1 mistake" : `${problems.length} mistakes`;
  throw new CliError(`${mistakes} found.`, EXIT_ERROR);
}

async function readFile(path: string): Promise<string> {
  if (path === "-") return await readStream(process.stdin);
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    const code = error instanceof Error && "code" in error ? String(error.code) : "unreadable";
    const version = isVersionStart(path) ? " A version is no file: use policies show." : "";
    throw new CliError(`Cannot read ${path} (${code}).${version}`);
  }
}
