/** `runs export`: a run's record as lines of JSON, each part checked by its manifest before it is written. */
import type { Command } from "commander";

import { sha256Hex } from "../../lib/hash.ts";
import { isRecord, parseJson } from "../../lib/json.ts";
import { textOf, writeHint } from "./output.ts";
import * as session from "./session.ts";
import { CliError, type Terminal } from "./terminal.ts";

/** Parts of one export, of up to a thousand decisions each. */
const PARTS_MAX = 10_000;

export function addRunExport(runs: Command, terminal: Terminal): void {
  const exporting = runs
    .command("export")
    .description("print a run's record as lines of JSON, with a manifest after each part")
    .argument("<run>");
  session.act(session.paged(exporting), terminal, async (s) => {
    const path = `/api/runs/${encodeURIComponent(s.argument(0))}/export`;
    const { limit } = session.pageQuery(s);
    let cursor = session.option(s.options, "cursor");
    for (let part = 0; part < PARTS_MAX; part += 1) {
      const query = { limit: limit ?? null, cursor };
      const ask = { method: "GET", path, query, scope: "report", isText: true } as const;
      const { text } = await s.ask(ask);
      const next = checkedNext(text, cursor);
      terminal.out(text);
      if (next === null) return;
      cursor = next;
      writeHint(terminal, `… if it breaks off, go on with --cursor ${textOf(next)}`);
    }
    throw new CliError("This run is too long for one export: go on with --cursor.");
  });
}

/** Where the next part begins, or null; throws where a part is not what its manifest says. */
function checkedNext(text: string, cursor: string | null): string | null {
  const at = text.lastIndexOf("\n", text.length - 2) + 1;
  const manifest = parseJson(text.slice(at))?.value;
  if (isRecord(manifest) && manifest["sha256"] === sha256Hex(text.slice(0, at))) {
    const { next } = manifest;
    return typeof next === "string" ? next : null;
  }
  const from = cursor === null ? "the beginning" : `--cursor ${cursor}`;
  throw new CliError(
    `A part does not fit its manifest, so nothing of it was written: go on from ${from}.`,
  );
}
