/** `tenants`, `keys`, `limits`: what an administrator sets up. */
import { Argument, InvalidArgumentError, Option, type Command } from "commander";

import { SCOPES } from "../../core/caller.ts";
import { SCOPE_KINDS, UNITS, WINDOWS } from "../../core/verdict.ts";
import { isList } from "../../lib/json.ts";
import { collectLabel, labelsOf } from "./look.ts";
import { member, paint, textOf, writeHint, type Column } from "./output.ts";
import * as session from "./session.ts";
import type { Session } from "./session.ts";
import type { Reply } from "./client.ts";
import { CliError, EXIT_USAGE, type Terminal } from "./terminal.ts";

const MODES = ["strict", "tolerant"];

const TENANT_COLUMNS: readonly Column[] = [
  { title: "id", value: "id" },
  { title: "name", value: "name" },
  { title: "mode", value: "mode" },
  { title: "attempts", value: (row) => guardText(row, "derived_attempts_max", "") },
  { title: "run share", value: (row) => guardText(row, "run_share_percent", " %") },
  { title: "approval", value: (row) => guardText(row, "usd_per_approval", " USD") },
  { title: "alerts", value: (row) => alertsText(row) },
  { title: "created", value: "created_at" },
];

const KEY_COLUMNS: readonly Column[] = [
  { title: "id", value: "id" },
  { title: "name", value: "name" },
  { title: "scopes", value: "scopes" },
  { title: "labels", value: "labels" },
  { title: "tools", value: (row) => toolsText(row) },
  { title: "state", value: (row) => keyState(row) },
  { title: "expires", value: "expires_at" },
  { title: "created", value: "created_at" },
];

const LIMIT_COLUMNS: readonly Column[] = [
  { title: "id", value: "id" },
  { title: "scope", value: (row) => scopeText(row) },
  { title: "resource", value: "resource" },
  { title: "unit", value: "unit" },
  { title: "window", value: "window" },
  { title: "limit", value: "limit", align: "right" },
  { title: "committed", value: "committed", align: "right" },
  { title: "reserved", value: "reserved", align: "right" },
  { title: "remaining", value: "remaining", align: "right" },
  { title: "resets", value: "resets_at" },
  { title: "mode", value: "mode" },
  { title: "on exceed", value: "on_exceed" },
];

export function addTenants(program: Command, terminal: Terminal): void {
  const tenants = program
    .command("tenants")
    .description("tenants: each owns its keys and its data");
  const list = session.paged(tenants.command("list").description("list the tenants"));
  session.act(list, terminal, async (s) => {
    const query = session.pageQuery(s);
    const reply = await s
      .client()
      .ask({ method: "GET", path: "/api/tenants", query, scope: "admin" });
    const none = `No tenant yet: ${session.typed(s, "tenants create NAME")}`;
    session.showList(s, reply, { columns: TENANT_COLUMNS, none });
  });
  const create = tenants
    .command("create")
    .description("create a tenant")
    .argument("<name>", "its name")
    .addOption(new Option("--mode <mode>", "strict refuses what cannot be priced").choices(MODES));
  session.act(create, terminal, async (s) => {
    const body = { name: s.argument(0), mode: session.option(s.options, "mode") };
    const reply = await s
      .client()
      .ask({ method: "POST", path: "/api/tenants", body, scope: "admin" });
    session.showOne(s, reply, TENANT_COLUMNS);
  });
  const show = tenants
    .command("show")
    .description("show a tenant")
    .argument("<tenant>", "its id or name");
  session.act(show, terminal, async (s) => {
    const path = `/api/tenants/${encodeURIComponent(s.argument(0))}`;
    session.showOne(
      s,
      await s.client().ask({ method: "GET", path, scope: "admin" }),
      TENANT_COLUMNS,
    );
  });
  const setMode = tenants
    .command("set-mode")
    .description("strict refuses what cannot be priced and bounded, tolerant lets it pass unpriced")
    .argument("<tenant>", "its id or name")
    .addArgument(new Argument("<mode>").choices(MODES));
  session.act(setMode, terminal, async (s) => {
    const path = `/api/tenants/${encodeURIComponent(s.argument(0))}`;
    const body = { mode: s.argument(1) };
    const reply = await s.client().ask({ method: "PATCH", path, body, scope: "admin" });
    session.showOne(s, reply, TENANT_COLUMNS);
  });
  addGuards(tenants, terminal);
  addApprovalPrice(tenants, terminal);
  addAlerts(tenants, terminal);
}

/** A number, or `off`. */
function guard(text: string): number | "off" {
  if (text === "off") return text;
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 1) {
    throw new InvalidArgumentError("a whole number from 1, or `off`");
  }
  return value;
}

function guardText(row: unknown, name: string, unit: string): string {
  const value = member(row, name);
  return value === null ? "off" : `${textOf(value)}${unit}`;
}

function addGuards(tenants: Command, terminal: Terminal): void {
  const setGuards = tenants
    .command("set-guards")
    .description("guards against retry storms: attempts of one request, and a run's part of a day")
    .argument("<tenant>", "its id or name")
    .option("--attempts <n>", "attempts of a request whose step nobody named, or `off`", guard)
    .option("--run-share <percent>", "of a daily limit for one named run, or `off`", guard);
  session.act(setGuards, terminal, async (s) => {
    const path = `/api/tenants/${encodeURIComponent(s.argument(0))}`;
    const { attempts, runShare } = s.options;
    const guards = Object.entries({ derived_attempts_max: attempts, run_share_percent: runShare });
    // The API's word for off is null.
    const body = Object.fromEntries(guards.filter(([, value]) => value !== "off"));
    const nulls = guards.flatMap(([name, value]) => (value === "off" ? [name] : []));
    const reply = await s.client().ask({ method: "PATCH", path, body, nulls, scope: "admin" });
    session.showOne(s, reply, TENANT_COLUMNS);
  });
}

function addApprovalPrice(tenants: Command, terminal: Terminal): void {
  const setPrice = tenants
    .command("set-approval-price")
    .description("what a question to people costs its run once it is answered")
    .argument("<tenant>", "its id or name")
    .argument("<usd>", "of each answered question, or `off`");
  session.act(setPrice, terminal, async (s) => {
    const path = `/api/tenants/${encodeURIComponent(s.argument(0))}`;
    const isOff = s.argument(1) === "off";
    const body = isOff ? {} : { usd_per_approval: s.argument(1) };
    const nulls = isOff ? ["usd_per_approval"] : [];
    const reply = await s.client().ask({ method: "PATCH", path, body, nulls, scope: "admin" });
    session.showOne(s, reply, TENANT_COLUMNS);
  });
}

function addAlerts(tenants: Command, terminal: Terminal): void {
  const setAlerts = tenants
    .command("set-alerts")
    .description("at which parts of a budget webhooks are told, in percent")
    .argument("<tenant>", "its id or name")
    .argument("<percents...>", "as 50 80 100, or `off`");
  session.act(setAlerts, terminal, async (s) => {
    const path = `/api/tenants/${encodeURIComponent(s.argument(0))}`;
    const given = setAlerts.args.slice(1);
    const isOff = given.length === 1 && given[0] === "off";
    const body = { alert_percents: isOff ? [] : given.map(percent) };
    const reply = await s.client().ask({ method: "PATCH", path, body, scope: "admin" });
    session.showOne(s, reply, TENANT_COLUMNS);
  });
}

function percent(text: string): number {
  if (/^[1-9]\d{0,2}$/u.test(text)) return Number(text);
  throw new CliError(`A whole number from 1 to 100 is needed, and not ${text}.`, EXIT_USAGE);
}

function alertsText(row: unknown): string {
  const percents = session.listOf(row, "alert_percents");
  return percents.length === 0 ? "off" : `${percents.map(textOf).join(", ")} %`;
}

export function addKeys(program: Command, terminal: Terminal): void {
  const keys = program.command("keys").description("keys: the credentials of a tenant");
  const list = session.paged(
    keys.command("list").description("list the keys; none is shown again"),
  );
  session.act(list, terminal, async (s) => {
    const query = session.pageQuery(s);
    const reply = await s.ask({ method: "GET", path: "/api/keys", query, scope: "admin" });
    session.showList(s, reply, {
      columns: KEY_COLUMNS,
      none: `No key yet: ${session.typed(s, "keys create NAME")}`,
    });
  });
  const create = keys
    .command("create")
    .description("create a key and show it, once")
    .argument("<name>", "what it is for")
    .addOption(new Option("--scope <scope...>", "what it may do (default: invoke)").choices(SCOPES))
    .option("--label <name=value>", "as role=lead; may be repeated", collectLabel)
    .option(
      "--tool <glob>",
      "which tools of servers it may call, as 'files/*' (default: all); may be repeated",
      session.collect,
    )
    .option(
      "--expires <when>",
      "2027-01-31, 2027-01-31T12:00:00Z, or a while from now: 12h, 30d",
      expiry,
    );
  session.act(create, terminal, async (s) => {
    const scopes = session.repeated(s.options, "scope");
    const tools = session.repeated(s.options, "tool");
    const body = {
      name: s.argument(0),
      scopes: scopes.length === 0 ? ["invoke"] : scopes,
      labels: labelsOf(session.repeated(s.options, "label")),
      tools: tools.length === 0 ? null : tools,
      expires_at: session.option(s.options, "expires"),
    };
    showKey(s, await s.ask({ method: "POST", path: "/api/keys", body, scope: "admin" }));
  });
  const revoke = keys.command("revoke").description("end a key, within two seconds everywhere");
  session.act(revoke.argument("<id>", "key_…"), terminal, async (s) => {
    const path = `/api/keys/${encodeURIComponent(s.argument(0))}`;
    const reply = await s.ask({ method: "DELETE", path, scope: "admin" });
    session.showDone(s, reply, `Revoked ${s.argument(0)}.`);
  });
  const rotate = keys
    .command("rotate")
    .description("make its successor; the old one works until revoked");
  rotate.argument("<id>", "key_…").option("--expires <when>", "when the successor ends", expiry);
  session.act(rotate, terminal, async (s) => {
    const path = `/api/keys/${encodeURIComponent(s.argument(0))}/rotate`;
    const body = { expires_at: session.option(s.options, "expires") };
    showKey(s, await s.ask({ method: "POST", path, body, scope: "admin" }));
  });
}

export function addLimits(program: Command, terminal: Terminal): void {
  const limits = program.command("limits").description("limits: budgets, quotas, calls in flight");
  const list = limits
    .command("list")
    .description("list the limits, with what they hold in the window that is now")
    .option("--run <run>", "those of one run")
    .option("--subject <name>", "the figures of one of many: a run, a customer");
  session.act(session.paged(list), terminal, async (s) => {
    const one = {
      run: session.option(s.options, "run"),
      subject: session.option(s.options, "subject"),
    };
    const query = { ...session.pageQuery(s), ...one };
    const reply = await s.ask({ method: "GET", path: "/api/limits", query, scope: "report" });
    const none = `No limit yet: nothing bounds what is spent. ${session.typed(s, "limits create --unit usd --limit 10")}`;
    session.showList(s, reply, { columns: LIMIT_COLUMNS, none });
  });
  const create = limits.command("create").description("create a limit");
  session.act(limitOptions(create), terminal, async (s) => {
    const body = {
      scope: scopeOf(s),
      resource: session.option(s.options, "resource"),
      unit: session.option(s.options, "unit"),
      window: session.option(s.options, "window"),
      limit: session.option(s.options, "limit"),
      mode: session.option(s.options, "mode"),
      on_exceed: session.option(s.options, "onExceed"),
      time_zone: session.option(s.options, "timeZone"),
    };
    const reply = await s.ask({ method: "POST", path: "/api/limits", body, scope: "admin" });
    session.showOne(s, reply, LIMIT_COLUMNS);
  });
  const change = limits
    .command("change")
    .description("change a limit; the change is recorded")
    .argument("<id>", "lim_…")
    .option("--limit <amount>", "dollars (12.50) or a count", session.amount)
    .addOption(new Option("--mode <mode>", "shadow only records").choices(["enforce", "shadow"]))
    .addOption(new Option("--on-exceed <what>").choices(["refuse", "clamp"]));
  session.act(change, terminal, async (s) => {
    const path = `/api/limits/${encodeURIComponent(s.argument(0))}`;
    const body = {
      limit: session.option(s.options, "limit"),
      mode: session.option(s.options, "mode"),
      on_exceed: session.option(s.options, "onExceed"),
    };
    const reply = await s.ask({ method: "PATCH", path, body, scope: "admin" });
    session.showOne(s, reply, LIMIT_COLUMNS);
  });
  const remove = limits
    .command("remove")
    .description("remove a limit; what it counted stays recorded");
  session.act(remove.argument("<id>", "lim_…"), terminal, async (s) => {
    const path = `/api/limits/${encodeURIComponent(s.argument(0))}`;
    const reply = await s.ask({ method: "DELETE", path, scope: "admin" });
    session.showDone(s, reply, `Removed ${s.argument(0)}.`);
  });
}

function limitOptions(command: Command): Command {
  const kinds = new Option("--scope <kind>", "whom it counts")
    .choices(SCOPE_KINDS)
    .default("tenant");
  const windows = new Option("--window <window>", "when it starts anew")
    .choices(WINDOWS)
    .default("none");
  return command
    .addOption(kinds)
    .option("--id <id>", "which key, run, model or tool, as pay/wire")
    .addOption(new Option("--unit <unit>", "what it counts").choices(UNITS).makeOptionMandatory())
    .requiredOption("--limit <amount>", "dollars (12.50) or a count", session.amount)
    .option("--resource <name>", "with attempts: whose retries, a tool, model:NAME or * for each")
    .addOption(windows)
    .addOption(new Option("--mode <mode>", "shadow only records").choices(["enforce", "shadow"]))
    .addOption(
      new Option("--on-exceed <what>", "clamp shortens the answer instead").choices([
        "refuse",
        "clamp",
      ]),
    )
    .option("--time-zone <zone>", "of days, weeks and months, as Europe/Berlin (default: UTC)");
}

function scopeOf({ options }: Session): Readonly<Record<string, string>> {
  const kind = session.option(options, "scope") ?? "tenant";
  const id = session.option(options, "id");
  return id === null ? { kind } : { kind, id };
}

/** The only time that the key can be read. */
function showKey(s: Session, reply: Reply): void {
  if (s.json) return session.writeJson(s, reply);
  const { terminal } = s;
  terminal.out(`${paint(terminal, "bold", textOf(member(reply.body, "key")))}\n`);
  writeHint(
    terminal,
    `${textOf(member(reply.body, "id"))}: keep the key now, it is not shown again.`,
  );
}

/** No glob at all is no tool, which is not what a dash says. */
function toolsText(row: unknown): string {
  const tools = member(row, "tools");
  if (tools === null) return "all";
  return isList(tools) && tools.length === 0 ? "none" : textOf(tools);
}

function keyState(row: unknown): string {
  if (typeof member(row, "revoked_at") === "string") return "revoked";
  return member(row, "active") === false ? "expired" : "active";
}

function scopeText(row: unknown): string {
  const id = member(row, "scope.id");
  const kind = textOf(member(row, "scope.kind"));
  return id === null || id === undefined ? kind : `${kind} ${textOf(id)}`;
}

/** `30d` and `12h` count from now, on this machine's clock; anything else is a date. */
function expiry(text: string): string {
  const while_ = /^(\d{1,5})([hd])$/.exec(text);
  if (while_ !== null) {
    const hours = Number(while_[1]) * (while_[2] === "d" ? 24 : 1);
    return new Date(Date.now() + hours * 3_600_000).toISOString();
  }
  const isDate = /^\d{4}-\d{2}-\d{2}(?:T[\d:.]+(?:Z|[+-]\d{2}:\d{2}))?$/.test(text);
  const date = new Date(text);
  if (isDate && !Number.isNaN(date.getTime())) return date.toISOString();
  throw new InvalidArgumentError("A date is needed, as 2027-01-31, or a while, as 30d.");
}
