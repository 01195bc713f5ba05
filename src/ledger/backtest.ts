/**
 * Many decisions judged again: by what they were judged by, which must change nothing, or by a candidate,
 * which shows what it would have changed. One call takes a bounded part of a period and says where the
 * next begins, so that no request runs for long and whoever asks sees it go on.
 */
import { attemptIdOf, decisionIdOf } from "../core/ids.ts";
import type { CompiledBundle } from "../core/policy-bundle.ts";
import type { Database } from "../store/database.ts";
import { InputError } from "../core/errors.ts";
import {
  BACKTEST_CHANGES_MAX,
  BACKTEST_PAGE_ROWS,
  BACKTEST_ROWS_MAX,
  BACKTEST_TURN_MS,
} from "../core/limits-policy.ts";
import { usdOf, usdOrNull } from "../core/money.ts";
import { findJudged, type JudgedRow, listJudged } from "../store/judged.ts";
import {
  type Candidate,
  type Judgement,
  type Known,
  rejudge,
  type Rejudged,
  versionsFor,
} from "./replay.ts";

export type Part = {
  readonly from: Date;
  readonly to: Date;
  readonly run: string | null;
  /** The `next` of the part before. */
  readonly after: string | null;
  /** Decisions at most; null: as many as one call takes. */
  readonly rows: number | null;
};

export type JudgementView = Omit<Judgement, "estimate_picousd"> & {
  readonly estimate_usd: string | null;
};

export type ReplayView = {
  readonly decision: string;
  /** Null where it cannot be known. */
  readonly equal: boolean | null;
  readonly differs: readonly string[];
  readonly why: string | null;
  readonly recorded: JudgementView | null;
  readonly now: JudgementView | null;
};

export type ChangeView = {
  readonly decision: string;
  readonly decided_at: string;
  readonly run: string;
  readonly resource: string;
  readonly before: Told;
  readonly after: Told;
  readonly reason: string | null;
  /** What it cost; null where it cost nothing, is not settled, or has no known price. */
  readonly cost_usd: string | null;
};

type Told = "allow" | "block" | "require_approval" | "reroute" | "other terms";

export type BacktestView = {
  readonly decisions: number;
  readonly unchanged: number;
  readonly changed: number;
  readonly changes: readonly ChangeView[];
  /** Changes that are counted and not listed. */
  readonly changes_left_off: number;
  readonly unknowable: number;
  /** Why, and how often. */
  readonly unknowable_because: Readonly<Record<string, number>>;
  /** What all of them cost; of calls that would not have passed so, which would have been saved at least. */
  readonly settled_usd: string;
  readonly would_block_usd: string;
  readonly would_ask_usd: string;
  /** Calls that would have passed, or passed on other terms: what they would have cost, nobody can know. */
  readonly newly_allowed: number;
  readonly other_terms: number;
  readonly next: string | null;
};

/** Reasons for which something cannot be known, told apart; more is a list that nobody reads. */
const REASONS_LISTED_MAX = 100;

/** One decision, by what was recorded; null where there is none of that id. */
export async function replayOf(
  db: Database,
  tenantId: string,
  { id, candidate }: { readonly id: string; readonly candidate: Candidate },
): Promise<ReplayView | null> {
  const row = await findJudged(db.admin, tenantId, attemptIdOf(id));
  if (row === null) return null;
  const known: Known = { prices: new Map(), bundles: new Map() };
  const versions = await versionsFor(db.admin, { tenantId, rows: [row], known });
  return replayView(row, rejudge(tenantId, row, { versions, candidate }));
}

export type BacktestTerms = { readonly part: Part; readonly candidate: CompiledBundle | null };

export type Backtest = (tenantId: string, terms: BacktestTerms) => Promise<BacktestView>;

/**
 * One at a time for each tenant in this process: judging again takes the loop's turns from everybody's calls,
 * and whoever asks for ten periods at once would take ten of them to another's one.
 */
export function createBacktest(db: Database): Backtest {
  const running = new Set<string>();
  return async (tenantId, terms) => {
    if (running.has(tenantId)) {
      const message =
        "Another backtest or replay of this tenant is running: ask again when it has ended.";
      throw new InputError("conflict", null, message);
    }
    running.add(tenantId);
    try {
      return await backtestOf(db, tenantId, terms);
    } finally {
      running.delete(tenantId);
    }
  };
}

export async function backtestOf(
  db: Database,
  tenantId: string,
  { part, candidate }: BacktestTerms,
): Promise<BacktestView> {
  const known: Known = { prices: new Map(), bundles: new Map() };
  const sum = emptySum();
  const most = Math.min(part.rows ?? BACKTEST_ROWS_MAX, BACKTEST_ROWS_MAX);
  let after = part.after === null ? null : attemptIdOf(part.after);
  let next: string | null = null;
  while (sum.decisions < most) {
    const rows = Math.min(BACKTEST_PAGE_ROWS, most - sum.decisions);
    const page = await listJudged(db.admin, tenantId, { ...part, after, rows });
    const versions = await versionsFor(db.admin, { tenantId, rows: page, known });
    let turnMs = performance.now();
    for (const row of page) {
      add(sum, row, rejudge(tenantId, row, { versions, candidate }));
      if (performance.now() - turnMs < BACKTEST_TURN_MS) continue;
      // By time and not by rows: one decision takes 0.1 ms or 15, as its bundle is dear.
      await new Promise((done) => setImmediate(done));
      turnMs = performance.now();
    }
    const last = page.at(-1);
    // A page that is not full was the last one.
    next = page.length < rows || last === undefined ? null : decisionIdOf(last.attemptId);
    if (next === null || last === undefined) break;
    after = last.attemptId;
  }
  return viewOf(sum, next);
}

type Sum = {
  decisions: number;
  changed: number;
  readonly changes: ChangeView[];
  unknowable: number;
  readonly because: Map<string, number>;
  settled: bigint;
  wouldBlock: bigint;
  wouldAsk: bigint;
  newlyAllowed: number;
  otherTerms: number;
};

function emptySum(): Sum {
  return {
    decisions: 0,
    changed: 0,
    changes: [],
    unknowable: 0,
    because: new Map(),
    settled: 0n,
    wouldBlock: 0n,
    wouldAsk: 0n,
    newlyAllowed: 0,
    otherTerms: 0,
  };
}

function add(sum: Sum, row: JudgedRow, rejudged: Rejudged): void {
  const cost = BigInt(row.costPicousd ?? "0");
  sum.decisions += 1;
  sum.settled += cost;
  if (rejudged.kind === "unknowable") {
    sum.unknowable += 1;
    const isListed = sum.because.has(rejudged.why) || sum.because.size < REASONS_LISTED_MAX;
    const why = isListed ? rejudged.why : "other reasons";
    sum.because.set(why, (sum.because.get(why) ?? 0) + 1);
    return;
  }
  const change = changeOf(row, rejudged);
  if (change === null) return;
  sum.changed += 1;
  if (sum.changes.length < BACKTEST_CHANGES_MAX) sum.changes.push(change);
  switch (change.after) {
    case "block":
      sum.wouldBlock += cost;
      break;
    case "require_approval":
      sum.wouldAsk += cost;
      break;
    case "allow":
      sum.newlyAllowed += 1;
      break;
    case "reroute":
    case "other terms":
      sum.otherTerms += 1;
      break;
  }
}

/**
 * What was decided in the end against what would have been. A call that a meter refused would have met it
 * again wherever the judgement lets it pass.
 */
function changeOf(
  row: JudgedRow,
  { recorded, now }: Extract<Rejudged, { kind: "rejudged" }>,
): ChangeView | null {
  const [before, after] = [toldOf(recorded), toldOf(now)];
  const isSame =
    before === after &&
    recorded.reason === now.reason &&
    recorded.output_tokens_sent === now.output_tokens_sent &&
    recorded.redact.join() === now.redact.join();
  const refusedByMeter =
    row.reason !== null && recorded.verdict === "pass" && !recorded.needs_approval;
  if (isSame || (refusedByMeter && now.verdict === "pass")) return null;
  return {
    decision: decisionIdOf(row.attemptId),
    decided_at: row.decidedAt.toISOString(),
    run: row.runId,
    resource: row.resource,
    before,
    after: before === after && after === "allow" ? "other terms" : after,
    reason: now.reason,
    cost_usd: usdOrNull(row.costPicousd),
  };
}

function toldOf(judgement: Judgement): Told {
  if (judgement.verdict === "block") return "block";
  if (judgement.model !== null) return "reroute";
  return judgement.needs_approval ? "require_approval" : "allow";
}

function viewOf(sum: Sum, next: string | null): BacktestView {
  return {
    decisions: sum.decisions,
    unchanged: sum.decisions - sum.changed - sum.unknowable,
    changed: sum.changed,
    changes: sum.changes,
    changes_left_off: sum.changed - sum.changes.length,
    unknowable: sum.unknowable,
    unknowable_because: Object.fromEntries(sum.because),
    settled_usd: usdOf(sum.settled),
    would_block_usd: usdOf(sum.wouldBlock),
    would_ask_usd: usdOf(sum.wouldAsk),
    newly_allowed: sum.newlyAllowed,
    other_terms: sum.otherTerms,
    next,
  };
}

function replayView(row: JudgedRow, rejudged: Rejudged): ReplayView {
  const decision = decisionIdOf(row.attemptId);
  if (rejudged.kind === "unknowable") {
    const { why } = rejudged;
    return { decision, equal: null, differs: [], why, recorded: null, now: null };
  }
  const { recorded, now, differs } = rejudged;
  return {
    decision,
    equal: differs.length === 0,
    differs,
    why: null,
    recorded: judgementView(recorded),
    now: judgementView(now),
  };
}

function judgementView({ estimate_picousd: estimate, ...rest }: Judgement): JudgementView {
  return { ...rest, estimate_usd: usdOrNull(estimate) };
}
