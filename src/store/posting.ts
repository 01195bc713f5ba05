/**
 * Posts a batch of asks: one statement, one commit (`tollgate_post` in `drizzle/0002_gate.sql`).
 *
 * Either the whole batch commits or none of it does; what each ask met is told per ask. Nothing is
 * decided here: the judgement came before, the arithmetic of meters is PostgreSQL's, under its locks.
 */
import { isRecord } from "../lib/json.ts";
import { assert, Fault } from "../lib/assert.ts";
import {
  REASONS,
  type MeterFigures,
  type Reason,
  type ScopeKind,
  type Unit,
  WINDOWS,
} from "../core/verdict.ts";
import type { Sql } from "./database.ts";
import { arrayLiteral } from "./literal.ts";

/** A limit on an ask's path, as the snapshot knows it; limits of runs are found by the statement itself. */
export type LimitRef = { readonly limitId: string; readonly subject: string };

export type Ask = {
  readonly attemptId: string;
  readonly tenantId: string;
  readonly keyId: string;
  readonly runId: string;
  /** The caller named the run: it gets a row, and its limits and state count. */
  readonly runNamed: boolean;
  readonly stepId: string | null;
  readonly door: string;
  readonly operation: string;
  readonly resource: string;
  readonly upstream: string | null;
  readonly model: string | null;
  /** The judgement was no: recorded, with no meter touched and no run or meter made. */
  readonly judgedReason: Reason | null;
  /** To reserve; null when the price is unknown and the tenant tolerates that. */
  readonly costPicousd: bigint | null;
  readonly tokens: number;
  readonly priceVersion: string | null;
  /** Not final: lacking room only for reservations in flight, or at a clamping meter, is not recorded. */
  readonly final: boolean;
  readonly deadlineMs: number;
  /** All other facts as one line of JSON. */
  readonly record: string;
  readonly refs: readonly LimitRef[];
};

export type Posted = {
  readonly outcome: "allow" | "block" | "again";
  readonly reason: Reason | null;
  /** The attempt's number in its step, from 1. */
  readonly attempt: number;
  readonly decidedAt: Date;
  /** Every meter on the path, as it was before this ask. */
  readonly meters: readonly MeterFigures[];
};

const ARGUMENTS = Array.from({ length: 22 }, (_, i) => `$${i + 1}`).join(", ");
const STATEMENT = `select * from tollgate_post(${ARGUMENTS})`;
const DRY_STATEMENT = `select * from tollgate_post_dry(${ARGUMENTS})`;

export async function post(sql: Sql, replicaId: string, asks: readonly Ask[]): Promise<Posted[]> {
  return await run(sql, STATEMENT, { replicaId, asks });
}

/** The same posting, undone within its statement: what would be answered now, with nothing left behind. */
export async function postDry(sql: Sql, replicaId: string, ask: Ask): Promise<Posted> {
  const [posted] = await run(sql, DRY_STATEMENT, { replicaId, asks: [ask] });
  assert(posted !== undefined, "the posting answers every ask once");
  return posted;
}

type Batch = { readonly replicaId: string; readonly asks: readonly Ask[] };

async function run(sql: Sql, statement: string, { replicaId, asks }: Batch): Promise<Posted[]> {
  const column = (read: (ask: Ask) => string | number | bigint | boolean | null) =>
    arrayLiteral(asks.map(read));
  const refs = asks.flatMap((ask, i) => ask.refs.map((ref) => ({ ask: i + 1, ...ref })));
  const rows = await sql.unsafe(
    statement,
    [
      replicaId,
      column((ask) => ask.attemptId),
      column((ask) => ask.tenantId),
      column((ask) => ask.keyId),
      column((ask) => ask.runId),
      column((ask) => ask.runNamed),
      column((ask) => ask.stepId),
      column((ask) => ask.door),
      column((ask) => ask.operation),
      column((ask) => ask.resource),
      column((ask) => ask.upstream),
      column((ask) => ask.model),
      column((ask) => ask.judgedReason),
      column((ask) => ask.costPicousd),
      column((ask) => ask.tokens),
      column((ask) => ask.priceVersion),
      column((ask) => ask.final),
      column((ask) => ask.deadlineMs),
      asks.map((ask) => ask.record).join("\n"),
      arrayLiteral(refs.map((ref) => ref.ask)),
      arrayLiteral(refs.map((ref) => ref.limitId)),
      arrayLiteral(refs.map((ref) => ref.subject)),
    ],
    { prepare: true },
  );
  assert(rows.length === asks.length, "the posting answers every ask once");
  const posted: Posted[] = [];
  const heads: Heads = new Map();
  for (const row of rows) posted[Number(row["ask"]) - 1] = postedFrom(row, heads);
  return posted;
}

function postedFrom(row: Readonly<Record<string, unknown>>, heads: Heads): Posted {
  const { outcome, reason, decided_at: decidedAt, meters } = row;
  assert(outcome === "allow" || outcome === "block" || outcome === "again", "a known outcome");
  assert(decidedAt instanceof Date, "the posting says when");
  return {
    outcome,
    reason: reason === null ? null : reasonFrom(reason),
    attempt: Number(row["attempt"]),
    decidedAt,
    meters: meters === "[]" ? [] : metersFrom(String(meters), heads),
  };
}

function reasonFrom(value: unknown): Reason {
  const reason = REASONS.find((known) => known === value);
  if (reason === undefined) throw new Fault(`unknown reason ${String(value)}`);
  return reason;
}

/** Meters by the text of what they are, which the asks of a batch share. */
type Heads = Map<string, MeterFigures>;

/** Where the figures of a meter begin; inside a string of JSON its quotes would be escaped. */
const FIGURES = ',"committed":"';

/**
 * Reads the JSON that `tollgate_post` writes and `decisions.meters` keeps. What a meter is stands before its
 * figures and is read once: reading all of it again for each ask was a twentieth of what a call cost.
 */
export function metersFrom(text: string, heads: Heads = new Map()): readonly MeterFigures[] {
  const meters: MeterFigures[] = [];
  let from = text.indexOf("{");
  while (from >= 0) {
    const middle = text.indexOf(FIGURES, from);
    const end = text.indexOf("}", middle);
    assert(middle >= 0 && end >= 0, "a meter has figures");
    const head = text.slice(from, middle);
    const [committed, reserved, asked] = figuresOf(text.slice(middle, end));
    const known = heads.get(head) ?? meterFrom(JSON.parse(text.slice(from, end + 1)));
    heads.set(head, known);
    meters.push({ ...known, committed, reserved, asked });
    from = text.indexOf("{", end);
  }
  return meters;
}

function figuresOf(text: string): readonly [bigint, bigint, bigint] {
  const [, , , committed, , , , reserved, , , , asked] = text.split('"');
  assert(asked !== undefined, "a meter has three figures");
  return [BigInt(committed ?? 0), BigInt(reserved ?? 0), BigInt(asked)];
}

function meterFrom(value: unknown): MeterFigures {
  assert(isRecord(value), "a meter is an object");
  const { resets_at: resetsAt } = value;
  return {
    limitId: String(value["limit_id"]),
    scope: member<ScopeKind>(SCOPES, value["scope"]),
    subject: String(value["subject"]),
    unit: member<Unit>(UNITS, value["unit"]),
    window: member(WINDOWS, value["window"]),
    mode: value["mode"] === "shadow" ? "shadow" : "enforce",
    onExceed: value["on_exceed"] === "clamp" ? "clamp" : "refuse",
    limit: BigInt(String(value["limit"])),
    committed: BigInt(String(value["committed"])),
    reserved: BigInt(String(value["reserved"])),
    asked: BigInt(String(value["asked"])),
    resetsAt: typeof resetsAt === "string" ? new Date(resetsAt) : null,
  };
}

const SCOPES = ["tenant", "key", "run", "model", "each_run", "each_customer"] as const;
const UNITS = ["usd", "tokens", "requests", "in_flight"] as const;

function member<Member extends string>(known: readonly Member[], value: unknown): Member {
  const found = known.find((each) => each === value);
  if (found === undefined) throw new Fault(`unknown value ${String(value)}`);
  return found;
}
