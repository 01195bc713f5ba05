/**
 * Posts a batch of asks: one statement, one commit (`tollgate_post` in `drizzle/0009_posting.sql`).
 *
 * Either the whole batch commits or none of it does; what each ask met is told per ask. Nothing is
 * decided here: the judgement came before, the arithmetic of meters is PostgreSQL's, under its locks.
 */
import type { EffectAsked, IdempotencyAsked } from "../core/intent.ts";
import { retryFrom, type RetryFacts } from "../core/retry.ts";
import {
  REASONS,
  SCOPE_KINDS,
  UNITS,
  WINDOWS,
  type MeterFigures,
  type Reason,
} from "../core/verdict.ts";
import { assert, Fault } from "../lib/assert.ts";
import { isRecord, textOrNull } from "../lib/json.ts";
import type { Sql } from "./database.ts";
import { arrayLiteral } from "./literal.ts";

/** A limit on an ask's path, as the snapshot knows it; limits of runs are found by the statement itself. */
export type LimitRef = {
  readonly limitId: string;
  readonly subject: string;
  /** Only this part of the limit, in percent, or all of it. */
  readonly share: number | null;
};

/** The claim of an idempotency key; `digest` is the key's HMAC: the key itself is stored nowhere. */
export type KeyClaim = Omit<IdempotencyAsked, "key"> & { readonly digest: string };

/**
 * The question to people that an ask needs answered; `sealed` is the call, for the row `approvalId`, or null
 * where it cannot be shown to anybody.
 */
export type ApprovalAsk = {
  readonly digest: string;
  readonly approvalId: string;
  readonly messageId: string;
  readonly operation: string | null;
  /** The policies that ask: JSON. */
  readonly policies: string;
  readonly quorum: number;
  readonly role: string | null;
  readonly expiresMs: number;
  readonly sealed: Uint8Array | null;
};

/** What few asks have. */
export type Extra = {
  /** How often the client's own library has tried before. */
  readonly sdkRetries: number;
  /** The last attempt of the same step, whose client this process has seen leave. */
  readonly left: string | null;
  /** The number of the attempt that was judged; another one is to be judged anew. */
  readonly expects: number | null;
  readonly idempotency: KeyClaim | null;
  readonly effect: EffectAsked | null;
  readonly approval: ApprovalAsk | null;
};

export type Ask = {
  readonly attemptId: string;
  readonly tenantId: string;
  readonly keyId: string;
  readonly runId: string;
  /** The caller named the run: it gets a row, and its limits and state count. */
  readonly runNamed: boolean;
  readonly stepId: string | null;
  /** See `core/step.ts`; null for what is no step of anything: it has no further attempts. */
  readonly stepDigest: string | null;
  readonly contentDigest: string | null;
  /** By what retry budgets count it apart: a tool, or `model:<name>`. */
  readonly retryResource: string;
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
  readonly extra: Extra | null;
};

export type Posted = {
  /** `again` without a reason: it was judged as another attempt than it is. */
  readonly outcome: "allow" | "block" | "require_approval" | "again";
  readonly reason: Reason | null;
  /** The attempt's number in its step, from 1. */
  readonly attempt: number;
  readonly decidedAt: Date;
  /** Every meter on the path, as it was before this ask. */
  readonly meters: readonly MeterFigures[];
  /** Why it is a further attempt, or whose duplicate it is; null for a first one. */
  readonly retry: RetryFacts | null;
  /** The approval that it asked for, waits for or used up. */
  readonly approvalId: string | null;
};

const ARGUMENTS = Array.from({ length: 29 }, (_, i) => `$${i + 1}`).join(", ");
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
  const { met, path } = pathsOf(asks);
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
      column((ask) => ask.stepDigest),
      column((ask) => ask.contentDigest),
      column((ask) => ask.retryResource),
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
      arrayLiteral(met.map(({ ask }) => ask)),
      arrayLiteral(met.map(({ ref }) => ref.limitId)),
      arrayLiteral(met.map(({ ref }) => ref.subject)),
      arrayLiteral(met.map(({ ref }) => ref.share)),
      arrayLiteral(path.asks),
      arrayLiteral(path.places),
      extrasOf(asks),
    ],
    { prepare: true },
  );
  assert(rows.length === asks.length, "the posting answers every ask once");
  const posted: Posted[] = [];
  const heads: Heads = new Map();
  for (const row of rows) posted[Number(row["ask"]) - 1] = postedFrom(row, heads);
  return posted;
}

/** Each limit on any path once, and which ask meets which of them, by their numbers from 1. */
function pathsOf(asks: readonly Ask[]) {
  const met: { readonly ask: number; readonly ref: LimitRef }[] = [];
  const path: { readonly asks: number[]; readonly places: number[] } = { asks: [], places: [] };
  const places = new Map<string, number>();
  for (const [i, { tenantId, refs }] of asks.entries()) {
    for (const ref of refs) {
      const name = `${tenantId} ${ref.limitId} ${ref.share ?? ""} ${ref.subject}`;
      let place = places.get(name);
      if (place === undefined) {
        place = met.push({ ask: i + 1, ref });
        places.set(name, place);
      }
      path.asks.push(i + 1);
      path.places.push(place);
    }
  }
  return { met, path };
}

/** Null for a batch in which nobody has any, which is most. */
function extrasOf(asks: readonly Ask[]): string | null {
  const extras: object[] = [];
  for (let i = 0; i < asks.length; i += 1) {
    const extra = asks[i]?.extra ?? null;
    if (extra === null) continue;
    const { sdkRetries, left, expects, idempotency, effect, approval } = extra;
    extras.push({
      ask: i + 1,
      sdk_retries: sdkRetries,
      ...(left === null ? {} : { left }),
      ...(expects === null ? {} : { expects }),
      ...(idempotency === null ? {} : { idempotency: keyClaim(idempotency) }),
      ...(effect === null ? {} : { effect: effectClaim(effect) }),
      ...(approval === null ? {} : { approval: approvalAsk(approval) }),
    });
  }
  return extras.length === 0 ? null : JSON.stringify(extras);
}

function keyClaim({ digest, content, acceptsUnknown, keptMs }: KeyClaim): object {
  return { digest, content, accepts_unknown: acceptsUnknown, kept_ms: keptMs };
}

function approvalAsk(ask: ApprovalAsk): object {
  return {
    digest: ask.digest,
    approval: ask.approvalId,
    message: ask.messageId,
    operation: ask.operation,
    policies: ask.policies,
    quorum: ask.quorum,
    role: ask.role,
    expires_ms: ask.expiresMs,
    sealed: ask.sealed === null ? null : Buffer.from(ask.sealed).toString("base64"),
  };
}

function effectClaim(claim: EffectAsked): object {
  const { type, key, effect, content, mayRepeatUnknown, repeats } = claim;
  return { type, key, effect, content, may_repeat_unknown: mayRepeatUnknown, repeats };
}

function postedFrom(row: Readonly<Record<string, unknown>>, heads: Heads): Posted {
  const { outcome, reason, decided_at: decidedAt, meters } = row;
  assert(isOutcome(outcome), "a known outcome");
  assert(decidedAt instanceof Date, "the posting says when");
  return {
    outcome,
    reason: reason === null ? null : reasonFrom(reason),
    attempt: Number(row["attempt"]),
    decidedAt,
    meters: meters === "[]" ? [] : metersFrom(String(meters), heads),
    retry: retryFrom(row["retry"]),
    approvalId: textOrNull(row["approval"]),
  };
}

function isOutcome(value: unknown): value is Posted["outcome"] {
  return (
    value === "allow" || value === "block" || value === "require_approval" || value === "again"
  );
}

function reasonFrom(value: unknown): Reason {
  const reason = REASONS.find((known) => known === value);
  if (reason === undefined) throw new Fault(`unknown reason ${String(value)}`);
  return reason;
}

/** Meters by the text of what they are, which the asks of a batch share. */
type Heads = Map<string, MeterFigures>;

/** What stands before each figure of a meter, which stand last; inside a string of JSON the quotes would be escaped. */
const COMMITTED = ',"committed":"';
const RESERVED = '","reserved":"';
const ASKED = '","asked":"';

/**
 * Reads the JSON that `tollgate_post` writes and `decisions.meters` keeps. What a meter is stands before its
 * figures and is read once: reading all of it again for each ask was a twentieth of what a call cost. What is
 * left out is as in most: enforced, refusing what exceeds it, and never reset.
 */
export function metersFrom(text: string, heads: Heads = new Map()): readonly MeterFigures[] {
  const meters: MeterFigures[] = [];
  let from = text.indexOf("{");
  while (from >= 0) {
    const middle = text.indexOf(COMMITTED, from);
    const reservedAt = text.indexOf(RESERVED, middle);
    const askedAt = text.indexOf(ASKED, reservedAt);
    const end = text.indexOf('"}', askedAt);
    assert(middle >= 0 && reservedAt >= 0 && askedAt >= 0 && end >= 0, "a meter has three figures");
    const head = text.slice(from, middle);
    let known = heads.get(head);
    if (known === undefined) {
      known = meterFrom(JSON.parse(text.slice(from, end + 2)));
      heads.set(head, known);
    }
    meters.push({
      ...known,
      committed: BigInt(text.slice(middle + COMMITTED.length, reservedAt)),
      reserved: BigInt(text.slice(reservedAt + RESERVED.length, askedAt)),
      asked: BigInt(text.slice(askedAt + ASKED.length, end)),
    });
    from = text.indexOf("{", end);
  }
  return meters;
}

function meterFrom(value: unknown): MeterFigures {
  assert(isRecord(value), "a meter is an object");
  const { resets_at: resetsAt } = value;
  return {
    limitId: String(value["limit_id"]),
    scope: member(SCOPE_KINDS, value["scope"]),
    subject: String(value["subject"]),
    unit: member(UNITS, value["unit"]),
    window: member(WINDOWS, value["window"]),
    mode: value["mode"] === "shadow" ? "shadow" : "enforce",
    onExceed: value["on_exceed"] === "clamp" ? "clamp" : "refuse",
    isShare: value["share"] === "run",
    limit: BigInt(String(value["limit"])),
    committed: BigInt(String(value["committed"])),
    reserved: BigInt(String(value["reserved"])),
    asked: BigInt(String(value["asked"])),
    resetsAt: typeof resetsAt === "string" ? new Date(resetsAt) : null,
  };
}

function member<Member extends string>(known: readonly Member[], value: unknown): Member {
  const found = known.find((each) => each === value);
  if (found === undefined) throw new Fault(`unknown value ${String(value)}`);
  return found;
}
