/** `ledger check`: whether all sums of the ledger are the same sum, tenant by tenant. */
import type { Command } from "commander";

import { isList } from "../../lib/json.ts";
import type { Reply } from "./client.ts";
import { member, textOf, writeFields, writeHint, writeTable, type Column } from "./output.ts";
import * as session from "./session.ts";
import type { Session } from "./session.ts";
import { CliError, type Terminal } from "./terminal.ts";

/** Pages of tenants, of up to a thousand each. */
const PAGES_MAX = 1_000;

const FIELDS: readonly Column[] = [
  { title: "tenant", value: "tenant" },
  { title: "as of", value: "as_of" },
  { title: "settled", value: "settled_usd" },
  { title: "adjusted", value: "adjusted_usd" },
  { title: "not rolled up yet", value: "behind_usd" },
  { title: "meters", value: "meters" },
  { title: "meters differing", value: "meters_differing" },
];

const LINES: readonly Column[] = [
  { title: "sum of", value: "name" },
  { title: "is", value: "usd", align: "right" },
  { title: "differs by", value: "difference_usd", align: "right" },
];

export function addLedger(program: Command, terminal: Terminal): void {
  const ledger = program.command("ledger").description("the ledger itself");
  const check = ledger
    .command("check")
    .description("add the ledger up in every way there is; exit code 1 where a sum differs")
    .option("--all-tenants", "one tenant after the other, for the administration key");
  session.act(check, terminal, async (s) => {
    const differing: string[] = [];
    for await (const reply of checks(s)) {
      if (s.json) session.writeJson(s, reply);
      else showOne(s, reply);
      const sentences = member(reply.body, "sentences");
      for (const sentence of isList(sentences) ? sentences : []) {
        differing.push(`${textOf(member(reply.body, "tenant"))}: ${textOf(sentence)}`);
      }
    }
    if (differing.length > 0) throw new CliError(differing.join("\n"));
  });
}

async function* checks(s: Session): AsyncGenerator<Reply> {
  const ask = { method: "GET", path: "/api/ledger/check", scope: "report" } as const;
  if (s.options["allTenants"] !== true) {
    yield await s.ask(ask);
    return;
  }
  let cursor: string | null = null;
  let checked = 0;
  for (let page = 0; page < PAGES_MAX; page += 1) {
    const query = { limit: session.ROWS_DEFAULT, cursor };
    const { body }: Reply = await s
      .client()
      .ask({ method: "GET", path: "/api/tenants", query, scope: "admin" });
    for (const tenant of session.rowsOf(body)) {
      checked += 1;
      writeHint(s.terminal, `${checked}: ${textOf(member(tenant, "name"))} …`);
      yield await s.client().ask({ ...ask, query: { tenant: textOf(member(tenant, "id")) } });
    }
    const next = member(body, "next");
    if (typeof next !== "string") return;
    cursor = next;
  }
  throw new CliError("There are more tenants than one check takes: check them by name.");
}

function showOne({ terminal }: Session, { body }: Reply): void {
  writeFields(terminal, FIELDS, body);
  const lines = member(body, "lines");
  if (isList(lines)) writeTable(terminal, LINES, lines);
  terminal.out(member(body, "holds") === true ? "It adds up.\n\n" : "It does not add up.\n\n");
}
