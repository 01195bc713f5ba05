/** `report schedules`: reports that webhooks are sent whenever a period has ended. */
import { Option, type Command } from "commander";

import {
  SCHEDULE_FORMATS,
  SCHEDULE_PERIODS,
  SCHEDULED_REPORTS,
} from "../../core/report-schedule.ts";
import { isRecord } from "../../lib/json.ts";
import { member, textOf, type Column } from "./output.ts";
import { addOptions, type OptionTexts, PAYER, RESOURCE, SPEND_GROUP_BY } from "./report-options.ts";
import * as session from "./session.ts";
import type { Session } from "./session.ts";
import type { Terminal } from "./terminal.ts";

const COLUMNS: readonly Column[] = [
  { title: "id", value: "id" },
  { title: "name", value: "name" },
  { title: "report", value: "report" },
  { title: "query", value: (row) => queryText(member(row, "query")) },
  { title: "every", value: "every" },
  { title: "time zone", value: "time_zone" },
  { title: "format", value: "format" },
  { title: "next from", value: "next_from" },
  { title: "to", value: "next_to" },
];

/** The parameters of a report's query by their options; `--key` is the one to ask with. */
const QUERY: OptionTexts = {
  ...SPEND_GROUP_BY,
  cohort: "of cost per outcome: by which of its days one belongs to the period (default: outcome)",
  ...PAYER,
  ...RESOURCE,
};

const PATH = "/api/report-schedules";

export function addReportSchedules(report: Command, terminal: Terminal): void {
  const schedules = report
    .command("schedules")
    .description("reports that webhooks are sent whenever a period has ended");
  const list = session.paged(schedules.command("list").description("list the schedules"));
  session.act(list, terminal, async (s) => {
    const query = session.pageQuery(s);
    const reply = await s.ask({ method: "GET", path: PATH, query, scope: "report" });
    const none = `No schedule yet: ${session.typed(s, 'report schedules create "spend by customer" --report spend --every month')}`;
    session.showList(s, reply, { columns: COLUMNS, none });
  });
  addCreate(schedules, terminal);
  addChange(schedules, terminal);
  const remove = schedules
    .command("remove")
    .description("remove one: nothing more is told of it")
    .argument("<id>", "rsc_…");
  session.act(remove, terminal, async (s) => {
    const path = `${PATH}/${encodeURIComponent(s.argument(0))}`;
    const reply = await s.ask({ method: "DELETE", path, scope: "admin" });
    session.showDone(s, reply, `Removed ${s.argument(0)}.`);
  });
}

function addCreate(schedules: Command, terminal: Terminal): void {
  const create = schedules
    .command("create")
    .description("have a report sent, first of the period that runs now")
    .argument("<name>", "what it is called in each message")
    .addOption(
      new Option("--report <report>", "which one").choices(SCHEDULED_REPORTS).makeOptionMandatory(),
    )
    .addOption(every().makeOptionMandatory())
    .option("--time-zone <zone>", "in which periods begin, as Europe/Berlin (default: UTC)")
    .addOption(format());
  addOptions(create, QUERY);
  session.act(create, terminal, async (s) => {
    const report = session.option(s.options, "report");
    const body = { name: s.argument(0), report, ...termsOf(s) };
    const reply = await s.ask({ method: "POST", path: PATH, body, scope: "admin" });
    session.showOne(s, reply, COLUMNS);
  });
}

function addChange(schedules: Command, terminal: Terminal): void {
  const change = schedules
    .command("change")
    .description("change one; what its report is asked by is said anew as a whole")
    .argument("<id>", "rsc_…")
    .option("--name <name>", "another name")
    .addOption(every())
    .option("--time-zone <zone>", "in which periods begin")
    .addOption(format());
  addOptions(change, QUERY);
  session.act(change, terminal, async (s) => {
    const path = `${PATH}/${encodeURIComponent(s.argument(0))}`;
    const body = { name: session.option(s.options, "name"), ...termsOf(s) };
    const reply = await s.ask({ method: "PATCH", path, body, scope: "admin" });
    session.showOne(s, reply, COLUMNS);
  });
}

function every(): Option {
  return new Option("--every <period>", "how long a period is").choices(SCHEDULE_PERIODS);
}

function format(): Option {
  return new Option("--format <format>", "of the report that goes with a message").choices(
    SCHEDULE_FORMATS,
  );
}

/** What was said of periods, format and query; a query of which nothing was said is absent. */
function termsOf(s: Session): Readonly<Record<string, unknown>> {
  const query = Object.fromEntries(
    Object.keys(QUERY).flatMap((name) => {
      const camel = name.replaceAll(/-(\w)/gu, (_, letter: string) => letter.toUpperCase());
      const value = session.option(s.options, camel);
      const parameter = name === "of-key" ? "key" : name.replaceAll("-", "_");
      return value === null ? [] : [[parameter, value] as const];
    }),
  );
  return {
    every: session.option(s.options, "every"),
    time_zone: session.option(s.options, "timeZone"),
    format: session.option(s.options, "format"),
    query: Object.keys(query).length === 0 ? null : query,
  };
}

function queryText(query: unknown): string {
  if (!isRecord(query)) return "";
  return Object.entries(query)
    .map(([name, value]) => `${name}=${textOf(value)}`)
    .join(" ");
}
