/**
 * A run's whole record as lines of JSON, for whoever keeps it elsewhere: first the policies that judged it,
 * in the text that was active then, then its decisions. It comes in parts. Each part ends with a manifest:
 * how many lines it has, the SHA-256 of their bytes, and where the next part begins.
 */
import { attemptIdOf } from "../core/ids.ts";
import { sha256Hex } from "../lib/hash.ts";
import { isRecord } from "../lib/json.ts";
import type { Database } from "../store/database.ts";
import { type DecisionDetail, listRunDetails } from "../store/decisions.ts";
import { findBundles } from "../store/policies.ts";
import { findRun } from "../store/runs.ts";
import { approvalIn } from "./explained-policies.ts";
import { decisionView } from "./explain.ts";
import { type Page, pageOf } from "./paged.ts";

/** Null where no call and nobody ever named the run. */
export async function exportOf(
  db: Database,
  tenantId: string,
  page: Page & { readonly run: string },
): Promise<string | null> {
  const { run } = page;
  const after = page.after === null ? null : attemptIdOf(page.after);
  const rows = await listRunDetails(db.admin, tenantId, { run, after, rows: page.rows + 1 });
  if (rows.length === 0 && after === null && (await findRun(db.admin, tenantId, run)) === null) {
    return null;
  }
  const { data, next } = pageOf(rows, page, ({ attemptId }) => attemptId);
  const bundles = await bundleLines(db, tenantId, data);
  const decisions: object[] = [];
  for (const row of data) {
    const approval = await approvalIn(db, tenantId, row.approvalId);
    decisions.push({ kind: "decision", ...decisionView(tenantId, row, approval) });
  }
  const lines = [...bundles, ...decisions].map((line) => `${JSON.stringify(line)}\n`);
  const text = lines.join("");
  const manifest = {
    kind: "manifest",
    tenant: tenantId,
    run,
    cursor: page.after,
    decisions: decisions.length,
    lines: lines.length,
    sha256: sha256Hex(text),
    next,
  };
  return `${text}${JSON.stringify(manifest)}\n`;
}

/** Each bundle that judged a decision of this part, once. */
async function bundleLines(
  db: Database,
  tenantId: string,
  rows: readonly DecisionDetail[],
): Promise<readonly object[]> {
  const versions = new Set<string>();
  for (const { record } of rows) {
    const version = isRecord(record) ? record["policy_version"] : null;
    if (typeof version === "string") versions.add(version);
  }
  const lines: object[] = [];
  for (const version of versions) {
    const [bundle] = await findBundles(db.admin, tenantId, version);
    if (bundle === undefined) continue;
    const { content, source, createdAt } = bundle;
    const created_at = createdAt.toISOString();
    lines.push({ kind: "policies", version, content: JSON.parse(content), source, created_at });
  }
  return lines;
}
