/** One command being run: what was typed, and the API it is typed at. */
import { InvalidArgumentError, type Command } from "commander";

import { isList } from "../../lib/json.ts";
import { ConfigError, unknownVariables, type Env } from "../config.ts";
import { createClient, type Ask, type Client, type Reply } from "./client.ts";
import { member, textOf, writeFields, writeHint, writeTable, type Column } from "./output.ts";
import { calledAs, CliError, EXIT_USAGE, type Terminal } from "./terminal.ts";

export type Session = {
  readonly terminal: Terminal;
  /** `--json`: the API's answer as it came. */
  readonly json: boolean;
  readonly options: Readonly<Record<string, unknown>>;
  /** The positional argument of this place; commander has refused the command if it is missing. */
  readonly argument: (at: number) => string;
  readonly client: () => Client;
  /** Sends within the tenant: in the body of a change, else in the query. */
  readonly ask: (ask: Ask) => Promise<Reply>;
};

/** The pages through which a list is read, and what is typed for the next one. */
export const ROWS_DEFAULT = "100";

/** Gives a command its action. */
export function act(
  command: Command,
  terminal: Terminal,
  work: (session: Session) => Promise<void>,
): Command {
  return command.action(() => {
    refuseVariables(terminal.env);
    return work(sessionOf(command, terminal));
  });
}

/** The same for a command that reads the configuration, and tells of all that is wrong with it. */
export function actOnConfig(
  command: Command,
  terminal: Terminal,
  work: (session: Session) => Promise<void>,
): Command {
  return command.action(() => work(sessionOf(command, terminal)));
}

/** One that nobody knows would be passed over, and the answer be of another tenant or place than was meant. */
function refuseVariables(env: Env): void {
  const problems = [...unknownVariables(env)];
  if (env[TENANT]?.trim() === "") {
    problems.push({ where: TENANT, message: "set but empty: remove it or give it a value" });
  }
  if (problems.length > 0) throw new ConfigError(problems);
}

const TENANT = "TOLLGATE_TENANT";

function sessionOf(command: Command, terminal: Terminal): Session {
  const given: Readonly<Record<string, unknown>> = command.optsWithGlobals();
  const named = option(given, "tenant") ?? terminal.env[TENANT] ?? null;
  const options = named === null ? given : { ...given, tenant: named };
  const json = options["json"] === true;
  let within: Promise<Within> | null = null;
  let isSaid = false;
  let client: Client | null = null;
  const clientOnce = (): Client => {
    client ??= createClient(terminal.env, {
      url: option(options, "url"),
      key: option(options, "key"),
    });
    return client;
  };
  return {
    terminal,
    json,
    options,
    argument: (at) => command.args[at] ?? "",
    client: clientOnce,
    ask: async (ask) => {
      within ??= withinOf(clientOnce(), named, calledAs(terminal.env));
      const { tenant, assumed } = await within;
      if (tenant === null) return clientOnce().ask(ask);
      const inBody = ask.body !== undefined;
      const reply = await clientOnce().ask(
        inBody
          ? { ...ask, assumed, body: { tenant, ...ask.body } }
          : { ...ask, assumed, query: { tenant, ...ask.query } },
      );
      // Behind a pipe nobody reads it, and a program that does is not to be disturbed.
      if (assumed !== null && !isSaid && terminal.isTerminal && !json) {
        writeHint(terminal, `Of the tenant ${textOf(assumed)}: name another with --tenant.`);
        isSaid = true;
      }
      return reply;
    },
  };
}

/** The text of an option, or null when it was not given. */
export function option(options: Readonly<Record<string, unknown>>, name: string): string | null {
  const value = options[name];
  return typeof value === "string" ? value : null;
}

/** A command to be pasted: as this one was called, and where it was sent. */
export function typed({ terminal, options }: Session, words: string): string {
  const names = ["url", "tenant"] as const;
  const where = names.flatMap((name) => {
    const value = option(options, name);
    return value === null ? [] : [`--${name} ${quoted(value)}`];
  });
  return [calledAs(terminal.env), words, ...where].join(" ");
}

/** As shells read it, whatever is in it. */
function quoted(text: string): string {
  return /^[\w./:@-]+$/.test(text) ? text : `'${textOf(text).replaceAll("'", "'\\''")}'`;
}

/** The texts of an option that may be repeated. */
export function repeated(
  options: Readonly<Record<string, unknown>>,
  name: string,
): readonly string[] {
  const value = options[name];
  return isList(value) ? value.filter((item) => typeof item === "string") : [];
}

/** What may be given several times, each time with one more text. */
export function collect(text: string, before: readonly string[] | undefined): readonly string[] {
  return [...(before ?? []), text];
}

type Within = {
  /** Null: the key implies it. */
  readonly tenant: string | null;
  /** Its name, where there are others and nobody named one. */
  readonly assumed: string | null;
};

/**
 * A key implies its tenant. The installation's key does not: then it is the one named, else the only
 * one, else `default`.
 */
async function withinOf(client: Client, stated: string | null, program: string): Promise<Within> {
  if (stated !== null || !client.isAdministrator) return { tenant: stated, assumed: null };
  const { body } = await client.ask({ method: "GET", path: "/api/tenants", scope: "admin" });
  const tenants = rowsOf(body);
  const chosen =
    tenants.length === 1 ? tenants[0] : tenants.find((row) => nameOf(row) === "default");
  if (chosen !== undefined) {
    const assumed = tenants.length === 1 ? null : nameOf(chosen);
    return { tenant: textOf(member(chosen, "id")), assumed };
  }
  if (tenants.length === 0)
    throw new CliError(`There is no tenant yet: ${program} tenants create NAME`);
  const names = tenants.map(nameOf).join(", ");
  throw new CliError(`Which tenant? Name it with --tenant: ${names}.`, EXIT_USAGE);
}

function nameOf(row: unknown): string {
  return textOf(member(row, "name"));
}

export function rowsOf(body: unknown): readonly unknown[] {
  return listOf(body, "data");
}

export function listOf(body: unknown, name: string): readonly unknown[] {
  const list = member(body, name);
  return isList(list) ? list : [];
}

export type ListView = {
  readonly columns: readonly Column[];
  /** Said to a person when there is nothing: what to do first. */
  readonly none: string;
};

/** Shows one page of a list. */
export function showList(session: Session, reply: Reply, view: ListView): void {
  const { terminal } = session;
  if (session.json) return writeJson(session, reply);
  const rows = rowsOf(reply.body);
  if (rows.length > 0 || !terminal.isTerminal) writeTable(terminal, view.columns, rows);
  else writeHint(terminal, view.none);
  hintNext(session, reply);
}

export function hintNext({ terminal }: Session, reply: Reply): void {
  const next = member(reply.body, "next");
  if (typeof next === "string") writeHint(terminal, `There is more: add --cursor ${textOf(next)}`);
}

/** Shows one thing, name by value. */
export function showOne(session: Session, reply: Reply, columns: readonly Column[]): void {
  if (session.json) return writeJson(session, reply);
  writeFields(session.terminal, columns, reply.body);
  const notice = member(reply.body, "notice");
  if (typeof notice === "string") writeHint(session.terminal, textOf(notice));
}

export function writeJson({ terminal }: Session, { text }: Reply): void {
  if (text !== "") terminal.out(text.endsWith("\n") ? text : `${text}\n`);
}

/** Says what was done, where the answer itself has nothing to show. */
export function showDone(session: Session, reply: Reply, sentence: string): void {
  if (session.json) writeJson(session, reply);
  else session.terminal.out(`${sentence}\n`);
}

/** The options of every list. */
export function paged(command: Command): Command {
  return command
    .option("--rows <n>", "rows of one page", wholeNumber, ROWS_DEFAULT)
    .option("--cursor <cursor>", "the page behind this one, as a list says at its end");
}

export function pageQuery({ options }: Session): Readonly<Record<string, string | null>> {
  return { limit: option(options, "rows"), cursor: option(options, "cursor") };
}

export function wholeNumber(text: string): string {
  if (/^[1-9]\d{0,8}$/.test(text)) return text;
  throw new InvalidArgumentError("A whole number is needed.");
}

/** Dollars, or a count. */
export function amount(text: string): string {
  if (!/^\d+(?:\.\d+)?$/.test(text)) {
    throw new InvalidArgumentError("A decimal amount is needed, as 12.50.");
  }
  return bounded(text);
}

/** Dollars, or below zero a credit. */
export function signedAmount(text: string): string {
  if (!/^-?\d+(?:\.\d+)?$/.test(text)) {
    throw new InvalidArgumentError("A decimal amount is needed, as -1.50.");
  }
  return bounded(text);
}

/** As many digits as an amount can have anywhere; which amounts are too much for what it is, the API says. */
function bounded(text: string): string {
  const [whole = "", fraction = ""] = text.replace("-", "").split(".");
  if (fraction.length > DECIMALS_MAX) {
    const message = `This amount is too fine: it has ${fraction.length} decimals, and ${DECIMALS_MAX} are the most (10^-12 USD).`;
    throw new InvalidArgumentError(message);
  }
  if (whole.length > DIGITS_MAX) {
    const message = `This amount is too large: it has ${whole.length} digits before the point, and ${DIGITS_MAX} are the most.`;
    throw new InvalidArgumentError(message);
  }
  return text;
}

const DECIMALS_MAX = 12;
const DIGITS_MAX = 18;
