/**
 * Every permit ends here, exactly once: as a settlement, or marked unknown with its money held.
 *
 * Nobody waits for a settlement, so they are gathered. One that cannot be written (the database is
 * away) is tried again until it can; if this process dies first, its lease runs out and the sweep marks
 * the reservation unknown. So an ending may be late or presumed, but never lost and never applied twice.
 */
import { setTimeout as sleep } from "node:timers/promises";

import { charge, NOTHING, presumed, type Charge } from "../core/charge.ts";
import { SETTLE_GATHER_MS, SETTLEMENTS_WAITING_MAX, SWEEP_ROWS_MAX } from "../core/limits.ts";
import type { Price } from "../core/price.ts";
import { mayReason } from "../core/reasoning.ts";
import type { Usage } from "../core/usage.ts";
import { CONTENT_FILTER } from "../dialects/openai/reading.ts";
import { encodingFor, type Countable } from "../dialects/openai/tokens.ts";
import { unreachable } from "../lib/assert.ts";
import type { AttemptRef } from "../store/attempts.ts";
import { STATEMENT_TIMEOUT_MS } from "../store/database.ts";
import { isContentError, isLockTimeout } from "../store/errors.ts";
import {
  giveBack,
  markLeft,
  markUnknown,
  settle,
  type Presumable,
  type Settled,
  type Settlement,
} from "../store/settlement.ts";
import type { Reading } from "../dialects/dialect.ts";
import type { Permit } from "./admit.ts";
import type { Contention } from "./contention.ts";
import { costsItsTime, type Ending } from "./ending.ts";
import { withDeadline } from "./deadline.ts";
import { createLanes } from "./lanes.ts";
import type { Ports } from "./ports.ts";
import { presumption, settlementFor, unposted } from "./settlement-for.ts";
import type { Trust } from "./trust.ts";

/** Of a permit, what its ending needs. */
export type Ended = Pick<Permit, "tenantId" | "attemptId" | "estimate" | "intent">;

export type Settler = {
  /** Ends a permit. Resolves when its ending has committed; nobody need wait for that. */
  readonly end: (permit: Ended, ending: Ending, charge: Charge) => Promise<unknown>;
  /** Ends an attempt that its caller made. Resolves when that has committed. */
  readonly report: (settlement: Settlement) => Promise<Settled>;
  /** Marks an attempt whose caller cannot say how it ended; its money stays held. */
  readonly unknown: (attempt: AttemptRef) => Promise<void>;
  /** Records that the client of an attempt has left, while the attempt goes on. */
  readonly left: (attempt: AttemptRef) => Promise<void>;
  /** Charges unknown outcomes in full, after their grace. */
  readonly presume: (attempts: readonly Presumable[]) => Promise<void>;
  /**
   * Frees what asks may hold whose posting failed with nobody knowing whether it committed: none of them
   * was dispatched. Never throws: what cannot be freed here is left to its deadline.
   */
  readonly release: (tenantId: string, attemptIds: readonly string[]) => Promise<void>;
  readonly waiting: () => number;
  readonly drained: () => Promise<void>;
};

const RETRY_MS_FIRST = 50;
const RETRY_MS_MAX = 2_000;

/** After this long a statement that was not answered has committed, or been ended by its server. */
const STATEMENT_MS_MAX = STATEMENT_TIMEOUT_MS + 1_000;

const BATCHING = {
  itemsMax: 512,
  inFlightMax: 1,
  waitingMax: SETTLEMENTS_WAITING_MAX,
  waitMsMax: Number.POSITIVE_INFINITY,
  standingMs: Number.POSITIVE_INFINITY,
  crowdedMs: Number.POSITIVE_INFINITY,
  gatherMs: SETTLE_GATHER_MS,
  // One at a time, so there is none to keep company.
  companyMin: 1,
  companyMs: 0,
  tenantOf: ({ tenantId }: AttemptRef) => tenantId,
  isContentError,
  isLockTimeout,
  apartInFlightMax: 1,
} as const;

/** `postingMsMax`: how long a posting that failed may still be running at the database. */
export function createSettler(
  ports: Ports,
  contention: Contention,
  trust: Trust,
  postingMsMax: number = STATEMENT_MS_MAX,
): Settler {
  const { monotonicMs } = ports;
  const mayWait = () => !ports.isClosing();
  const settlements = createLanes<Settlement, Settled>({
    ...BATCHING,
    mayWait,
    commit: (batch) => whenPossible(ports, batch.length, () => settle(ports.db.gate, batch)),
    monotonicMs,
  });
  const unknowns = createLanes<AttemptRef, "marked">({
    ...BATCHING,
    mayWait,
    commit: async (batch) => {
      const mark = () => markUnknown(ports.db.gate, batch);
      trust.unknown(await whenPossible(ports, batch.length, mark));
      await giveBackOnce(ports);
      return batch.map(() => "marked");
    },
    monotonicMs,
  });
  const lefts = createLanes<AttemptRef, "marked">({
    ...BATCHING,
    gatherMs: 0,
    mayWait,
    commit: async (batch) => {
      await whenPossible(ports, batch.length, () => markLeft(ports.db.gate, batch));
      return batch.map(() => "marked");
    },
    monotonicMs,
  });
  const write = async (settlement: Settlement): Promise<Settled> => {
    const settled = await settlements.submit(settlement);
    trust.settled(settlement.basis, settled);
    if (settled.overagePicousd > 0n) {
      const { attemptId, tenantId } = settlement;
      const overage = String(settled.overagePicousd);
      ports.log.error(
        { attemptId, tenantId, overage },
        "an attempt cost more than it had reserved",
      );
    }
    contention.settled(settlement.tenantId);
    return settled;
  };
  const leaveUnknown = async (attempt: AttemptRef): Promise<void> => {
    await unknowns.submit(attempt);
    contention.settled(attempt.tenantId);
  };
  return {
    // Not async: what waits for its settlement holds on to the settlement, and not to the permit and answer.
    end: (permit, ending, charged) => {
      if (ending.kind !== "unknown") return write(settlementFor(permit, ending, charged));
      // What costs nothing has no cost to be unknown: there is nothing to hold, nor to presume. A tool may have
      // had its effect all the same.
      if (permit.estimate.basis === "free" && permit.intent.billing !== "stated") {
        return write({ ...settlementFor(permit, ending, NOTHING), ending: "failed" });
      }
      return leaveUnknown({ tenantId: permit.tenantId, attemptId: permit.attemptId });
    },
    report: write,
    unknown: leaveUnknown,
    left: async (attempt) => {
      await lefts.submit(attempt);
    },
    presume: async (attempts) => {
      const written = await Promise.allSettled(
        attempts.map((attempt) => write(presumption(attempt))),
      );
      for (const [i, each] of written.entries()) {
        if (each.status === "fulfilled") continue;
        // One that its meters cannot take must not keep the others from their end.
        const { tenantId, attemptId } = attempts[i] ?? {};
        ports.log.error({ error: each.reason, tenantId, attemptId }, "could not be presumed");
      }
    },
    release: async (tenantId, attemptIds) => {
      try {
        const missing = await releaseAll(write, tenantId, attemptIds);
        if (missing.length === 0) return;
        // Its posting may be running still, and would reserve after this found nothing.
        await sleep(postingMsMax, undefined, { ref: false });
        await releaseAll(write, tenantId, missing);
      } catch (error) {
        ports.log.error({ error, tenantId, attemptIds }, "asks not posted could not be released");
      }
    },
    waiting: () => settlements.waiting() + unknowns.waiting(),
    drained: async () => {
      await Promise.all([settlements.drained(), unknowns.drained(), lefts.drained()]);
    },
  };
}

/**
 * Repeats until the database takes the batch or refuses its content; a repeat of what committed is
 * harmless. A batch that met a locked row is told so at once: its tenants go on apart.
 */
async function whenPossible<Result>(
  ports: Ports,
  attempts: number,
  commit: () => Promise<Result>,
): Promise<Result> {
  for (let waitMs = RETRY_MS_FIRST; ; waitMs = Math.min(waitMs * 2, RETRY_MS_MAX)) {
    try {
      // The driver forgets a statement whose connection is lost in the wrong moment, and never answers it.
      return await withDeadline(commit(), STATEMENT_MS_MAX);
    } catch (error) {
      if (isContentError(error) || isLockTimeout(error) || ports.isClosing()) throw error;
      ports.log.warn({ error, attempts }, "settling failed, trying again");
      await sleep(waitMs);
    }
  }
}

/** One try: what it does not reach, the sweep gives back. */
async function giveBackOnce(ports: Ports): Promise<void> {
  try {
    await giveBack(ports.db.gate, SWEEP_ROWS_MAX);
  } catch (error) {
    ports.log.warn({ error }, "room in flight was not given back, the sweep will");
  }
}

/** Answers those that hold nothing and have not ended: as far as the ledger knows, there are none such. */
async function releaseAll(
  write: (settlement: Settlement) => Promise<Settled>,
  tenantId: string,
  attemptIds: readonly string[],
): Promise<readonly string[]> {
  const outcomes = await Promise.all(
    attemptIds.map((attemptId) => write(unposted(tenantId, attemptId))),
  );
  return attemptIds.filter((_, i) => outcomes[i]?.outcome === "missing");
}

/** What the ending costs. A promise only where tokens are to be counted, which may take a worker. */
export function chargeFor(
  ports: Ports,
  permit: Permit,
  ending: Ending,
  countable: () => Countable,
): Charge | Promise<Charge> {
  const { estimate, upstream } = permit;
  switch (ending.kind) {
    case "released":
      return NOTHING;
    case "unknown":
      return presumed(estimate, {}, permit.price);
    case "failed":
      if (isNo(ending) && !costsItsTime(permit, ending.reading, ending.status)) return NOTHING;
      break;
    case "succeeded":
    case "aborted":
      break;
    default:
      return unreachable(ending);
  }
  const { reading } = ending;
  const price = priceOfAnswer(permit, reading.model);
  const { usage, serviceTier } = reading;
  // The timer that ends a call comes a little late; what was reserved is its time until then.
  const milliseconds = Math.min(Math.ceil(ending.durationMs), upstream.timeoutMs);
  const serviceTierAsked = permit.intent.demand.serviceTier;
  const seen = { usage, serviceTier, serviceTierAsked, milliseconds, price };
  if (isNo(ending)) return charge(estimate, { ...seen, counted: {} });
  const needsCount = usage === null && estimate.basis !== "free";
  if (!needsCount || !isCountable(permit, reading, ending.status)) {
    return charge(estimate, { ...seen, counted: null });
  }
  return countBoth(ports, permit, ending.text(), countable()).then((counted) =>
    charge(estimate, { ...seen, counted }),
  );
}

/** An answer that says no: nothing was generated, unless it tells usage all the same. */
function isNo({
  kind,
  reading,
  status,
}: Exclude<Ending, { kind: "released" | "unknown" }>): boolean {
  return kind === "failed" && reading.usage === null && (status ?? 0) >= 400;
}

/**
 * Tokens of both sides by our own count: of what was asked, and of what was delivered. Null where either could
 * not be counted: what a machine is too busy to count is no estimate.
 */
async function countBoth(
  ports: Ports,
  permit: Permit,
  text: string,
  { texts, overhead }: Countable,
): Promise<Usage | null> {
  const encoding = encodingFor(permit.model ?? "");
  const [input, output] = await Promise.all([
    ports.countTokens(texts, encoding),
    ports.countTokens([text], encoding),
  ]);
  if (input === null || output === null) return null;
  return { input: input + overhead, output };
}

/**
 * Whether counting text tells what an answer without usage cost. It does not where part of it is no text
 * (images, sound), was thought and never delivered, could not be read, or is still to come (202): then the
 * reservation is charged. A redirect is no answer that could have been read.
 */
function isCountable(
  { intent, model }: Permit,
  { isUnread, error }: Reading,
  status: number | null,
): boolean {
  const { images, audioInput, audioOutput } = intent.demand;
  const isText =
    TEXT_OPERATIONS.has(intent.operation) && images === 0 && !audioInput && !audioOutput;
  const isRead = isUnread !== true && error?.code !== CONTENT_FILTER && status !== 202;
  return isText && (isRead || isRedirect(status)) && !mayReason(model ?? "");
}

function isRedirect(status: number | null): boolean {
  return status !== null && status >= 300 && status < 400;
}

const TEXT_OPERATIONS: ReadonlySet<string> = new Set([
  "chat",
  "responses",
  "text_completion",
  "embeddings",
]);

/**
 * The dated model that answered chooses the price; one without a price falls back to the model asked. A machine
 * that is paid by the hour is paid as it was reserved, whatever its model is called.
 */
function priceOfAnswer(
  { model: asked, price, priceOf }: Permit,
  model: string | null,
): Price | null {
  if (model === null || model === asked || price === null || price.hourly !== null) return price;
  const own = priceOf(model);
  return own === null || own.hourly !== null ? price : own;
}
