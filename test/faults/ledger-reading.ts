import type { Sql } from "../../src/store/database.ts";
import type {
  Decision,
  Figures,
  Ledger,
  LimitRow,
  MeterRow,
  Reservation,
  Settled,
} from "./history.ts";

/** Reads the tables that the promises are about, whole and at one moment, by queries of its own. */
export async function readLedger(sql: Sql): Promise<Ledger> {
  return await sql.begin("isolation level repeatable read read only", async (tx) => {
    const decisions = await tx`
      select tenant_id, attempt_id, record #>> '{context,customer}' as tag, verdict, reason,
             record #>> '{message}' as message, decided_at, estimate_picousd::text as estimate,
             price_version, meters::text as meters
      from decisions`;
    const settlements = await tx`
      select attempt_id, line, ending, basis, coalesce(cost_picousd, 0)::text as cost,
             overage_picousd::text as overage, tokens::text, price_version, to_json(meter_ids::text[]) as ids,
             to_json(meter_units) as units
      from settlements order by attempt_id, line`;
    const reservations = await tx`
      select attempt_id, state, to_json(meter_ids::text[]) as ids, to_json(amounts::text[]) as amounts
      from reservations`;
    const meters = await tx`
      select meter_id::text, tenant_id, limit_id, subject, window_start, committed::text, reserved::text
      from meters`;
    const limits = await tx`
      select limit_id, tenant_id, unit, window_kind, amount::text, mode from limits
      where removed_at is null`;
    return {
      decisions: decisions.map(decisionFrom),
      settlements: settlements.map(settledFrom),
      reservations: reservations.map(reservationFrom),
      meters: meters.map(meterFrom),
      limits: limits.map(limitFrom),
    };
  });
}

type Row = Readonly<Record<string, unknown>>;

const big = (value: unknown): bigint => BigInt(String(value));
const text = (value: unknown): string => String(value);
const textOrNull = (value: unknown): string | null => (value === null ? null : text(value));
const bigs = (value: unknown): bigint[] => (value as string[]).map(BigInt);

function decisionFrom(row: Row): Decision {
  return {
    tenant: text(row["tenant_id"]),
    attemptId: text(row["attempt_id"]),
    tag: textOrNull(row["tag"]),
    verdict: text(row["verdict"]),
    reason: textOrNull(row["reason"]),
    // What was refused before any meter was asked says so in words of its own.
    judgedAlone: row["message"] !== null,
    decidedAt: row["decided_at"] as Date,
    estimate: row["estimate"] === null ? null : big(row["estimate"]),
    priceVersion: textOrNull(row["price_version"]),
    meters: (JSON.parse(text(row["meters"])) as Row[]).map(figuresFrom),
  };
}

function figuresFrom(meter: Row): Figures {
  return {
    limitId: text(meter["limit_id"]),
    subject: text(meter["subject"]),
    unit: text(meter["unit"]),
    // As most limits are where nothing is said.
    enforced: (meter["mode"] ?? "enforce") === "enforce",
    isShare: meter["share"] === "run",
    limit: big(meter["limit"]),
    committed: big(meter["committed"]),
    reserved: big(meter["reserved"]),
    asked: big(meter["asked"]),
  };
}

function settledFrom(row: Row): Settled {
  return {
    attemptId: text(row["attempt_id"]),
    line: Number(row["line"]),
    ending: text(row["ending"]),
    basis: text(row["basis"]),
    cost: big(row["cost"]),
    overage: big(row["overage"]),
    tokens: big(row["tokens"]),
    priceVersion: textOrNull(row["price_version"]),
    meterIds: bigs(row["ids"]),
    units: row["units"] as string[],
  };
}

function reservationFrom(row: Row): Reservation {
  return {
    attemptId: text(row["attempt_id"]),
    state: text(row["state"]),
    meterIds: bigs(row["ids"]),
    amounts: bigs(row["amounts"]),
  };
}

function meterFrom(row: Row): MeterRow {
  return {
    meterId: big(row["meter_id"]),
    tenant: text(row["tenant_id"]),
    limitId: text(row["limit_id"]),
    subject: text(row["subject"]),
    windowStart: row["window_start"] as Date,
    committed: big(row["committed"]),
    reserved: big(row["reserved"]),
  };
}

function limitFrom(row: Row): LimitRow {
  return {
    limitId: text(row["limit_id"]),
    tenant: text(row["tenant_id"]),
    unit: text(row["unit"]),
    window: text(row["window_kind"]),
    amount: big(row["amount"]),
    enforced: row["mode"] === "enforce",
  };
}
