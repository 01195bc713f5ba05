/** Importing outcomes: each row is accepted, repeated or not matched, and none is left out of the report. */
import { z } from "@hono/zod-openapi";

import type { InputCode } from "../core/errors.ts";
import { OUTCOME_IMPORT_BYTES_MAX, OUTCOME_ROWS_MAX } from "../core/limits-finance.ts";
import type { RecordedOutcome } from "../gate/outcomes.ts";
import { assert } from "../lib/assert.ts";
import { define, NONE, type Api } from "./api.ts";
import { CSV, NDJSON, OUTCOME_COLUMNS, readOutcomeRows, type OutcomeRow } from "./outcome-rows.ts";
import { Tenanted } from "./schemas.ts";

const Result = z.object({
  line: z.int().openapi({ description: "Where the row begins in the body; the first line is 1." }),
  result: z.enum(["accepted", "repeated", "not_matched"]),
  outcome: z.string().nullable(),
  code: z.string().nullable(),
  param: z.string().nullable(),
  reason: z.string().nullable(),
});

const Imported = z
  .object({
    dry_run: z.boolean(),
    rows: z.int(),
    accepted: z.int(),
    repeated: z.int(),
    not_matched: z.int(),
    results: z.array(Result).readonly(),
  })
  .openapi("ImportedOutcomes");

export function outcomeImportRoute(api: Api): void {
  define(
    api,
    {
      method: "post",
      path: "/outcomes/import",
      summary: "Import outcomes, and learn of each row what became of it",
      description:
        `NDJSON, or CSV whose first line names its columns: ${OUTCOME_COLUMNS.join(", ")}. At most ` +
        `${OUTCOME_ROWS_MAX} rows. Rows that do not match end nothing; the same rows again are repeats. With ` +
        "`dry_run` nothing is written.",
      scopes: ["invoke", "admin"],
      tenancy: "one",
      params: NONE,
      query: z.strictObject({ ...Tenanted, dry_run: z.enum(["true", "false"]).optional() }),
      body: z.strictObject({ media: z.string(), text: z.string() }),
      takes: [NDJSON, CSV],
      bodyBytesMax: OUTCOME_IMPORT_BYTES_MAX,
      status: 200,
      answer: Imported,
    },
    async ({ bindings: { gateway }, actor, tenantId, query, body }) => {
      const rows = readOutcomeRows(body.media, body.text);
      const told = rows.flatMap(({ read }) => (read.kind === "read" ? [read.value] : []));
      const dry = query.dry_run === "true";
      const recorded = await gateway.outcomes.recordAll(actor, tenantId, { told, dry });
      const results = resultsOf(rows, recorded);
      const count = (kind: string) => results.filter(({ result }) => result === kind).length;
      return {
        dry_run: dry,
        rows: rows.length,
        accepted: count("accepted"),
        repeated: count("repeated"),
        not_matched: count("not_matched"),
        results: dry ? results.map((result) => ({ ...result, outcome: null })) : results,
      };
    },
  );
}

type Result = z.input<typeof Result>;

/** What was read was recorded in the order of the rows. */
function resultsOf(
  rows: readonly OutcomeRow[],
  recorded: readonly RecordedOutcome[],
): readonly Result[] {
  let next = 0;
  return rows.map(({ line, read }) => {
    if (read.kind === "flawed") return unmatched(line, read.error);
    const done = recorded[next];
    assert(done !== undefined, "each row that could be read was told");
    next += 1;
    if (done.kind === "refused") return unmatched(line, done);
    const result = done.kind === "recorded" ? "accepted" : "repeated";
    return { line, result, outcome: done.outcomeId, code: null, param: null, reason: null };
  });
}

function unmatched(line: number, flaw: Flaw): Result {
  const { code, param, message } = flaw;
  return { line, result: "not_matched", outcome: null, code, param, reason: message };
}

type Flaw = { readonly code: InputCode; readonly param: string | null; readonly message: string };
