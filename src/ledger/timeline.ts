/** A run looked back at without its orchestrator's help: what it asked, was answered, used and holds. */
import { attemptIdOf, decisionIdOf } from "../core/ids.ts";
import { usdOf, usdOrNull } from "../core/money.ts";
import { assert } from "../lib/assert.ts";
import type { Database } from "../store/database.ts";
import { listDecisions, listRunAttempts } from "../store/decisions.ts";
import type { Page } from "../store/events.ts";
import { findSameLimit } from "../store/limits.ts";
import {
  type InFlightRow,
  type RunRecord,
  type RunTotals,
  findRun,
  listInFlight,
  listRuns,
  sumRuns,
} from "../store/runs.ts";
import { countOf, timeOrNull } from "./amounts.ts";
import { attemptView, type AttemptView } from "./explain.ts";
import { callsIn, type CallsView } from "./run-calls.ts";
import { pageOf, type Paged } from "./paged.ts";
import { remainingOf } from "./register.ts";

export type BudgetView = {
  readonly limit_id: string;
  readonly limit_usd: string;
  readonly committed_usd: string;
  readonly reserved_usd: string;
  readonly remaining_usd: string;
};

export type RunSummary = {
  readonly id: string;
  readonly tenant: string;
  /**
   * `stopping` while anything of it or below it is in flight, then `stopped`. `implicit`: a call without a run is its
   * own run, and has no life cycle.
   */
  readonly state: "open" | "stopping" | "stopped" | "closed" | "implicit";
  readonly parent: string | null;
  /** The run that this one executes anew. */
  readonly derived_from: string | null;
  readonly labels: Readonly<Record<string, string>>;
  readonly created_by: string | null;
  readonly created_at: string | null;
  readonly stopped_at: string | null;
};

export type TotalsView = {
  readonly attempts: number;
  readonly blocked: number;
  readonly repeated: number;
  readonly in_flight: number;
  readonly unknown: number;
  /** Attempts whose cost is not known: they are in no sum of money. */
  readonly unpriced: number;
  readonly cost_usd: string;
  /** Σ of what an operator adjusted of it, beside its cost; null: nothing. */
  readonly adjusted_usd: string | null;
  readonly reserved_usd: string;
  readonly tokens: number;
};

export type RunListed = RunSummary & {
  readonly totals: TotalsView;
  /** Of its first and its last decision. */
  readonly first_at: string | null;
  readonly last_at: string | null;
};

export type RunView = RunListed & {
  readonly budget: BudgetView | null;
  readonly attempts: readonly (AttemptView & CallsView)[];
  readonly next: string | null;
};

export type InFlightView = {
  readonly id: string;
  readonly decision: string;
  readonly run: string;
  readonly resource: string;
  readonly status: "admitted" | "unknown";
  readonly reserved_usd: string;
  readonly decided_at: string;
  readonly deadline_at: string;
};

/** Null when no call and nobody ever named the run. */
export async function runOf(
  db: Database,
  tenantId: string,
  page: Page & { readonly run: string },
): Promise<RunView | null> {
  const [run, [totals], budget, calls, rows] = await Promise.all([
    findRun(db.admin, tenantId, page.run),
    sumRuns(db.admin, tenantId, [page.run]),
    budgetOf(db, tenantId, page.run),
    callsIn(db, tenantId, page.run),
    listRunAttempts(db.admin, tenantId, {
      run: page.run,
      after: page.after === null ? null : attemptIdOf(page.after),
      rows: page.rows + 1,
    }),
  ]);
  if (totals === undefined || (run === null && totals.firstAt === null)) return null;
  const attempts = rows.map((row) => ({ ...attemptView(row), ...calls(row) }));
  const { data, next } = pageOf(attempts, page, (attempt) => attempt.id);
  return {
    ...(run === null ? implicitRun(tenantId, page.run, totals) : runSummary(tenantId, run)),
    budget,
    totals: totalsView(totals),
    first_at: timeOrNull(totals.firstAt),
    last_at: timeOrNull(totals.lastAt),
    attempts: data,
    next,
  };
}

export async function runsOf(
  db: Database,
  tenantId: string,
  page: Page & { readonly search: string | null },
): Promise<Paged<RunListed>> {
  const rows = await listRuns(db.admin, tenantId, { ...page, rows: page.rows + 1 });
  const { data, next } = pageOf(rows, page, (run) => run.runId);
  const sums = await sumRuns(
    db.admin,
    tenantId,
    data.map((run) => run.runId),
  );
  return {
    data: data.map((run, index) => {
      const totals = sums[index];
      assert(totals !== undefined, "each run has its sums");
      const seen = { first_at: timeOrNull(totals.firstAt), last_at: timeOrNull(totals.lastAt) };
      return { ...runSummary(tenantId, run), totals: totalsView(totals), ...seen };
    }),
    next,
  };
}

export async function decisionsOf(
  db: Database,
  tenantId: string,
  page: Page & { readonly run: string | null; readonly verdict: AttemptView["verdict"] | null },
): Promise<Paged<AttemptView>> {
  const rows = await listDecisions(db.admin, tenantId, {
    run: page.run,
    verdict: page.verdict,
    after: page.after === null ? null : attemptIdOf(page.after),
    rows: page.rows + 1,
  });
  return pageOf(rows.map(attemptView), page, (attempt) => attempt.decision);
}

/** Attempts of a run, and of the runs below it, that hold something still; at most `rows`. */
export async function inFlightOf(
  db: Database,
  tenantId: string,
  run: { readonly runId: string; readonly rows: number },
): Promise<readonly InFlightView[]> {
  const rows = await listInFlight(db.admin, tenantId, run);
  return rows.map(inFlightView);
}

/** The limit of a run that its own `budget_usd` sets. */
async function budgetOf(db: Database, tenantId: string, runId: string): Promise<BudgetView | null> {
  const limit = await findSameLimit(db.admin, tenantId, {
    scopeKind: "run",
    scopeId: runId,
    resource: "",
    unit: "usd",
    window: "none",
    mode: "enforce",
    timeZone: "UTC",
  });
  if (limit === null) return null;
  const committed = limit.committed ?? "0";
  const reserved = limit.reserved ?? "0";
  return {
    limit_id: limit.limitId,
    limit_usd: usdOf(limit.amount),
    committed_usd: usdOf(committed),
    reserved_usd: usdOf(reserved),
    remaining_usd: usdOf(remainingOf(limit.amount, committed, reserved)),
  };
}

function runSummary(tenantId: string, row: RunRecord): RunSummary {
  return {
    id: row.runId,
    tenant: tenantId,
    state: row.state,
    parent: row.ancestors.at(-1) ?? null,
    derived_from: row.derivedFrom,
    labels: row.labels,
    created_by: row.createdBy,
    created_at: row.createdAt.toISOString(),
    stopped_at: timeOrNull(row.stoppedAt),
  };
}

function implicitRun(tenantId: string, runId: string, totals: RunTotals): RunSummary {
  return {
    id: runId,
    tenant: tenantId,
    state: "implicit",
    parent: null,
    derived_from: null,
    labels: {},
    created_by: null,
    created_at: timeOrNull(totals.firstAt),
    stopped_at: null,
  };
}

function totalsView(totals: RunTotals): TotalsView {
  return {
    attempts: totals.attempts,
    blocked: totals.blocked,
    repeated: totals.repeated,
    in_flight: totals.inFlight,
    unknown: totals.unknown,
    unpriced: totals.unpriced,
    cost_usd: usdOf(totals.costPicousd),
    adjusted_usd: usdOrNull(totals.adjustedPicousd),
    reserved_usd: usdOf(totals.reservedPicousd),
    tokens: countOf(totals.tokens),
  };
}

function inFlightView(row: InFlightRow): InFlightView {
  return {
    id: row.attemptId,
    decision: decisionIdOf(row.attemptId),
    run: row.runId,
    resource: row.resource,
    status: row.state === "open" ? "admitted" : "unknown",
    reserved_usd: usdOf(row.reservedPicousd ?? "0"),
    decided_at: row.decidedAt.toISOString(),
    deadline_at: row.deadlineAt.toISOString(),
  };
}
