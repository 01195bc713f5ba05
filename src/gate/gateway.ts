/** All that a door may call: one path from an intent to an ending. */
import type { Administrator, Caller } from "../core/caller.ts";
import { InputError } from "../core/errors.ts";
import type { History } from "../core/facts.ts";
import type { Intent } from "../core/intent.ts";
import {
  APART_IN_FLIGHT_MAX,
  ASK_WAIT_MS_MAX,
  ASKS_CROWDED_MS,
  ASKS_STANDING_MS,
  ASKS_WAITING_MAX,
  BATCH_ASKS_MAX,
  BATCHES_IN_FLIGHT_MAX,
  COMPANY_ASKS_MIN,
  COMPANY_MS_MAX,
  POST_MS_MAX,
} from "../core/limits.ts";
import type { Countable } from "../dialects/openai/tokens.ts";
import { unreachable } from "../lib/assert.ts";
import { appliedVersion, SCHEMA_VERSION } from "../store/applied-version.ts";
import type { Database } from "../store/database.ts";
import { isContentError, isLockTimeout, isRecordedAlready } from "../store/errors.ts";
import { readHistory, type HistoryOf } from "../store/history.ts";
import { endLease, renewLease } from "../store/installation.ts";
import { postDry, type Ask, type Posted } from "../store/posting.ts";
import { createApprovalWaits, type ApprovalWaits } from "./approval-waits.ts";
import { admit, type Admission, type Permit } from "./admit.ts";
import { createAnswers, type Answers } from "./answers.ts";
import { createAuthority, type Authority, type Configuration, type Held } from "./authority.ts";
import type { Batcher } from "./batch.ts";
import type { Captured } from "./capture.ts";
import { createContention } from "./contention.ts";
import { withDeadline } from "./deadline.ts";
import { dispatch, type Dispatch, type Dispatched } from "./dispatch.ts";
import { createFence, type Fence } from "./fence.ts";
import type { Charge } from "../core/charge.ts";
import type { Ending } from "./ending.ts";
import type { Ports, Reply } from "./ports.ts";
import { chargeFor, createSettler, type Ended, type Settler } from "./settle.ts";
import { createOnce, type Once } from "./once.ts";
import { postSurely } from "./post-again.ts";
import { createOutcomes, type Outcomes } from "./outcomes.ts";
import { createSteps, type Steps } from "./steps.ts";
import { sweep, type Swept } from "./sweep.ts";
import { isBlockedOutright } from "./look.ts";
import { createLanes } from "./lanes.ts";
import { createLeavers } from "./leavers.ts";
import { createUnderWay, type AttemptUnderWay, type UnderWay } from "./under-way.ts";
import { createTrust, type Trust, type TrustFigures } from "./trust.ts";
import { Overloaded, Unavailable } from "./unavailable.ts";
import { createServerCalls, type ServerCalls } from "./server-calls.ts";
import type { Connections } from "./servers.ts";
import { createWatch } from "./watch.ts";

export type Settle = (
  permit: Ended & Pick<Permit, "stepDigest" | "answerKeptMs">,
  ending: Ending,
  charge: Charge | Promise<Charge>,
  captured?: Captured | null,
) => Promise<unknown>;

export type Gateway = {
  readonly replicaId: string;
  /** The clock by which it waits: of the port. */
  readonly monotonicMs: Ports["monotonicMs"];
  readonly authority: Authority;
  readonly identify: (credential: string | null) => Caller | Administrator;
  /**
   * Whether a call is turned away now because too many asks wait; it is counted as one that nothing could
   * be decided for. To be asked once for each call, before any work is done for it.
   */
  readonly turnsAway: (tenantId: string) => boolean;
  /**
   * Null when what is known of keys and limits is new enough to judge by; else resolves when it is
   * again, and throws Unavailable when it cannot be. To be awaited before `identify`.
   */
  readonly fresh: () => Promise<void> | null;
  /**
   * Makes what is known here as new as the database, after an act of administration. Never throws: where it cannot be
   * read now it is a second later, like everywhere else, and what the act has committed stands.
   */
  readonly refresh: () => Promise<void>;
  /** Throws InputError when a caller's key was revoked since: its body may have taken minutes to come. */
  readonly confirm: (caller: Caller) => void;
  /**
   * Why no call could be admitted and dispatched now, in a sentence, or null. Asks the database, and
   * throws what it answers, or Unavailable when it does not.
   */
  readonly hindrance: () => Promise<string | null>;
  readonly admit: (caller: Caller, intent: Intent, isGone: () => boolean) => Promise<Admission>;
  /** Whether policies block such a call whatever it has in it. */
  readonly isBlockedOutright: (caller: Caller, intent: Intent) => boolean;
  /** What an admission would answer now, with nothing reserved and nothing recorded. */
  readonly admitDry: (caller: Caller, intent: Intent) => Promise<Admission>;
  readonly dispatch: (request: Dispatch, reply: Reply) => Promise<Dispatched>;
  /** The tool door's servers; null where this runtime connects to none. */
  readonly servers: ServerCalls | null;
  /** What an ending costs; both sides are counted when the upstream told no usage. */
  readonly charge: (
    permit: Permit,
    ending: Ending,
    countable: () => Countable,
  ) => Charge | Promise<Charge>;
  /**
   * Ends a permit; the writing goes on after the answer, and resolves when it has committed. `captured`: its
   * answer, to be kept.
   */
  readonly settle: Settle;
  /** Answers that are kept for those who ask again. */
  readonly answers: Pick<Answers, "find" | "ended">;
  /** Attempts that their callers make themselves. */
  readonly steps: Steps;
  /** What became of runs and operations, as callers say. */
  readonly outcomes: Outcomes;
  /** Acts of administration under an idempotency key. */
  readonly once: Once;
  readonly sweep: () => Promise<Swept>;
  /** What became of an approval, when it is known or `untilMs` of the monotonic clock has come. */
  readonly waitForApproval: ApprovalWaits["wait"];
  readonly trust: () => TrustFigures & {
    readonly exchanges: number;
    readonly asksWaiting: number;
    readonly settlementsWaiting: number;
  };
  /** Streams whose clients left are read no further from now on: the process ends. */
  readonly cutShort: () => void;
  /** Resolves when every ending so far is written. */
  readonly settled: () => Promise<void>;
  /** Ends the lease after what waits to be written. */
  readonly close: () => Promise<void>;
};

/** What a gateway has that not every runtime has: others made it, and end it. */
export type GatewayParts = {
  readonly standing?: Standing;
  /** To MCP servers. */
  readonly connections?: Connections | undefined;
};

/** A replica that others made and keep: its lease and its snapshot outlive the gateway. */
export type Standing = { readonly replicaId: string; readonly held: Held };

export async function createGateway(
  ports: Ports,
  configuration: Configuration,
  { standing, connections }: GatewayParts = {},
): Promise<Gateway> {
  const replicaId = standing?.replicaId ?? `rep_${ports.newId()}`;
  const { now, monotonicMs, newId, seal, db } = ports;
  const fence = createFence(monotonicMs);
  const clocks = { now, monotonicMs, answered: fence.answered };
  const [authority] = await Promise.all([
    createAuthority(db.control, configuration, clocks, standing?.held),
    standing === undefined ? renewLease(db.control, replicaId) : null,
  ]);
  const [contention, trust] = [createContention(), createTrust()];
  let isCutShort = false;
  const settler = createSettler(ports, contention, trust);
  const answers = createAnswers(ports);
  const underWay = createUnderWay(settler, ports.runAfter);
  const [watch, leavers, onLeft] = [createWatch(monotonicMs), createLeavers(), underWay.leave];
  const shared = { watch, fence, leavers, isCutShort: () => isCutShort, onLeft };
  const history = (of: HistoryOf) => historyInTime(db, trust, of);
  const { leftOf } = underWay;
  const parts = { authority, contention, now, monotonicMs, newId, history, seal, leftOf };
  const postings = createPostings(ports, replicaId, fence);
  const submit = (ask: Ask): Promise<Posted> =>
    postings.submit(ask).catch((error: unknown) => {
      trust.unavailable();
      // It was never posted; and what turns calls away by the thousand writes no line for each.
      if (error instanceof Overloaded) throw error;
      // Lost on the way, it may have committed: nothing was dispatched, and its owner says so.
      if (!isContentError(error) || isRecordedAlready(error)) {
        ports.runAfter("release", () => settler.release(ask.tenantId, [ask.attemptId]));
      }
      ports.log.error({ error, attemptId: ask.attemptId }, "an ask could not be posted");
      throw new Unavailable("The gate cannot record its decision now.", { cause: error });
    });

  const admitting = { ...parts, postings: { submit } };
  const fresh = () => (authority.isFresh() ? null : refreshed(authority, trust));

  const settle = createSettle(ports, { settler, answers, underWay });
  const servers = createServerCalls({ ...ports, watch, fence, settle, underWay }, connections);

  return {
    replicaId,
    monotonicMs,
    authority,
    identify: authority.identify,
    turnsAway: (tenantId) => {
      const isCrowded = postings.isCrowded(tenantId);
      if (isCrowded) trust.unavailable();
      return isCrowded;
    },
    fresh,
    refresh: async () => {
      try {
        await withDeadline(authority.refresh(), PROBE_MS_MAX);
      } catch (error) {
        ports.log.warn({ error }, "what an act has changed could not be read yet");
      }
    },
    confirm: (caller) => {
      if (!authority.isCurrent(caller)) throw revoked();
    },
    hindrance: async () => {
      const probe = Promise.all([authority.refresh(), appliedVersion(db.control)]);
      const [, applied] = await withDeadline(probe, PROBE_MS_MAX);
      if (applied < SCHEMA_VERSION) {
        return `the database has schema version ${applied}, and ${SCHEMA_VERSION} is needed: migrate it`;
      }
      if (!authority.isFresh()) return "what it knows of keys and limits is too old to judge by";
      return fence.isOpen() ? null : "the database answers too slowly to dispatch anything";
    },
    admit: async (caller, intent, isGone) => {
      const aging = fresh();
      if (aging !== null) {
        await aging;
        // The key was looked up in what has become too old since: its body took long to come.
        if (!authority.isCurrent(caller)) throw revoked();
      }
      const admission = await admit(admitting, caller, intent, isGone);
      count(trust, admission);
      return admission;
    },
    isBlockedOutright: (caller, intent) => isBlockedOutright(parts, caller, intent),
    admitDry: (caller, intent) => {
      const once = {
        submit: (ask: Ask) => withDeadline(postDry(db.admin, replicaId, ask), POST_MS_MAX),
      };
      return admit({ ...parts, postings: once }, caller, intent, () => false);
    },
    dispatch: (request, reply) => {
      underWay.begin(request.permit);
      return dispatch(ports, shared, request, reply);
    },
    charge: (permit, ending, countable) => chargeFor(ports, permit, ending, countable),
    answers,
    steps: createSteps({ ports, authority, answers, settler }),
    outcomes: createOutcomes(ports),
    once: createOnce(ports, answers, configuration.pepper),
    servers,
    settle,
    sweep: () => sweep(ports, settler, trust),
    waitForApproval: createApprovalWaits(ports).wait,
    trust: () => ({
      ...trust.read(),
      exchanges: shared.watch.size(),
      asksWaiting: postings.waiting(),
      settlementsWaiting: settler.waiting(),
    }),
    cutShort: () => {
      isCutShort = true;
    },
    settled: async () => {
      await underWay.idle();
      await settler.drained();
    },
    close: async () => {
      await postings.drained();
      await settler.drained();
      if (standing === undefined) await endLease(ports.db.control, replicaId);
    },
  };
}

/** What every door admits and refuses; who left before anything was decided is neither. */
function count(trust: Trust, admission: Admission): void {
  switch (admission.kind) {
    case "admitted":
    case "tool_admitted":
    case "granted":
      return trust.admitted();
    case "refused":
      return trust.refused(admission.refusal.reason);
    case "gone":
      return;
    default:
      unreachable(admission);
  }
}

function createSettle(
  { runAfter }: Pick<Ports, "runAfter">,
  parts: { readonly settler: Settler; readonly answers: Answers; readonly underWay: UnderWay },
): Settle {
  const { settler, answers, underWay } = parts;
  // It holds no more than ids while it waits: the permit and the answer of each call that was not settled
  // yet were most of what a collection of the young generation had to copy.
  const over = async (attempt: AttemptUnderWay, written: Promise<unknown>): Promise<void> => {
    try {
      await written;
    } finally {
      underWay.end(attempt);
    }
  };

  return (permit, ending, charged, captured = null) => {
    const { tenantId, attemptId, stepDigest } = permit;
    if (ending.kind !== "succeeded") underWay.fail(permit);
    const end = (charge: Charge) => settler.end(permit, ending, charge);
    const settled = () => (charged instanceof Promise ? charged.then(end) : end(charged));
    const written = captured === null ? settled() : keepAnswer(answers, permit, captured, settled);
    runAfter("settle", () => over({ tenantId, attemptId, stepDigest }, written));
    return written;
  };
}

/**
 * The answer first: who finds the attempt succeeded finds it, too. Whatever becomes of it, the attempt is
 * settled.
 */
async function keepAnswer(
  answers: Answers,
  permit: Pick<Permit, "tenantId" | "attemptId" | "answerKeptMs">,
  captured: Captured,
  settle: () => Promise<unknown>,
): Promise<void> {
  const { answerKeptMs: keptMs } = permit;
  try {
    if (keptMs !== null) await answers.keep({ ...permit, keptMs }, captured);
  } finally {
    await settle();
  }
}

function createPostings(ports: Ports, replicaId: string, fence: Fence): Batcher<Ask, Posted> {
  const { monotonicMs } = ports;
  const parts = { sql: ports.db.gate, replicaId, fence, monotonicMs, msMax: POST_MS_MAX };
  return createLanes<Ask, Posted>({
    commit: (asks) => withDeadline(postSurely(parts, asks), POST_MS_MAX),
    isLockTimeout,
    mayWait: () => true,
    apartInFlightMax: APART_IN_FLIGHT_MAX,
    itemsMax: BATCH_ASKS_MAX,
    inFlightMax: BATCHES_IN_FLIGHT_MAX,
    waitingMax: ASKS_WAITING_MAX,
    waitMsMax: ASK_WAIT_MS_MAX,
    standingMs: ASKS_STANDING_MS,
    crowdedMs: ASKS_CROWDED_MS,
    gatherMs: 0,
    companyMin: COMPANY_ASKS_MIN,
    companyMs: COMPANY_MS_MAX,
    tenantOf: (ask) => ask.tenantId,
    isContentError,
    monotonicMs,
  });
}

/** Not on the gate's own connections: a run may be long, and others' postings must not wait for it. */
async function historyInTime(db: Database, trust: Trust, of: HistoryOf): Promise<History> {
  try {
    return await withDeadline(readHistory(db.admin, of), POST_MS_MAX);
  } catch (error) {
    trust.unavailable();
    const told =
      "Tollgate cannot look at what went before this call at the moment, so nothing passes. Try again shortly.";
    throw new Unavailable("what went before could not be read", { cause: error, told });
  }
}

/** A probe is asked again in seconds; an act waits no longer for what the next second brings anyway. */
const PROBE_MS_MAX = 2_000;

/** An answer to a question asked before the process was stopped is too old, too: then it is asked once more. */
async function refreshed(authority: Authority, trust: Trust): Promise<void> {
  try {
    for (let turn = 0; turn < 2 && !authority.isFresh(); turn += 1) {
      await withDeadline(authority.refresh(), POST_MS_MAX);
    }
  } catch (error) {
    trust.unavailable();
    throw new Unavailable("The gate cannot learn which keys and limits hold now.", {
      cause: error,
    });
  }
  if (authority.isFresh()) return;
  trust.unavailable();
  throw new Unavailable("The database answers too slowly to know which keys and limits hold now.");
}

function revoked(): InputError {
  const message = "This API key was revoked, or expired, while its request was being read.";
  return new InputError("invalid_api_key", null, message);
}
