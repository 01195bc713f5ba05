import { InputError } from "../core/errors.ts";
import { withPrefix } from "../core/ids.ts";
import {
  LIMITS_PER_RUN_MAX,
  METERS_BESIDE_RUNS_MAX,
  METERS_PER_ASK_MAX,
  RUN_DEPTH_MAX,
} from "../core/limits.ts";
import { dollars, picousdFromUsd } from "../core/money.ts";
import { longestPath, mostMeters } from "../core/most-meters.ts";
import { routeModel } from "../core/route.ts";
import { isTimeZone } from "../core/time-zone.ts";
import type { ScopeKind, Unit } from "../core/verdict.ts";
import { insertEvent, lockRun, type Queryable } from "../store/events.ts";
import { findKey } from "../store/keys.ts";
import {
  countRunLimits,
  findLimit,
  findSameLimit,
  groupLimits,
  insertLimit,
  type LimitRecord,
  type LimitTerms,
  removeLimit as remove,
  updateLimit,
} from "../store/limits.ts";
import {
  type Actor,
  type AdministrationPorts,
  type Changed,
  type LimitChange,
  nameOf,
  type NewLimitTerms,
  notFound,
  requireScope,
  changeAndRefresh,
} from "./acts.ts";

export async function createLimit(
  ports: AdministrationPorts,
  actor: Actor,
  given: NewLimitTerms,
): Promise<{ readonly limitId: string }> {
  const { tenantId } = given;
  requireScope(actor, tenantId, ["admin"]);
  const terms = termsOf(given);
  const limitId = withPrefix("limit", ports.newId());
  await changeAndRefresh(ports, async (tx) => {
    if (terms.scopeKind === "run") await lockRun(tx, tenantId, terms.scopeId);
    if (terms.scopeKind === "key" && !(await findKey(tx, tenantId, terms.scopeId))?.active) {
      throw notFound("key", "scope.id");
    }
    const same = await findSameLimit(tx, tenantId, terms);
    if (same !== null) {
      const message = `Limit ${same.limitId} counts the same already: change that one.`;
      throw new InputError("conflict", null, message);
    }
    await insertLimit(tx, { tenantId, limitId, ...terms });
    if (terms.scopeKind === "run") {
      await refuseManyOfRun(tx, { tenantId, runId: terms.scopeId, param: "scope" });
    } else await refuseLongPath(ports, tx, tenantId);
    await insertEvent(tx, {
      tenantId,
      eventId: withPrefix("event", ports.newId()),
      kind: "limit.created",
      actor: nameOf(actor),
      subject: limitId,
      body: { after: terms },
    });
  });
  return { limitId };
}

export async function changeLimit(
  ports: AdministrationPorts,
  actor: Actor,
  change: LimitChange,
): Promise<Changed> {
  requireScope(actor, change.tenantId, ["admin"]);
  const notice = await changeAndRefresh(ports, async (tx) => {
    const before = await activeLimit(tx, change);
    const after = {
      amount:
        change.amount === null ? before.amount : amountOf(before.unit, change.amount, "limit"),
      mode: change.mode ?? before.mode,
      onExceed: change.onExceed ?? before.onExceed,
    };
    refuseClampOfCounts(before.unit, after.onExceed);
    if (isSame(before, after)) return null;
    await updateLimit(tx, change, after);
    await insertEvent(tx, {
      tenantId: change.tenantId,
      eventId: withPrefix("event", ports.newId()),
      kind: "limit.changed",
      actor: nameOf(actor),
      subject: change.limitId,
      body: { before: changeable(before), after },
    });
    return noticeOf(before, after.amount);
  });
  return { notice };
}

export async function removeLimit(
  ports: AdministrationPorts,
  actor: Actor,
  limit: { readonly tenantId: string; readonly limitId: string },
): Promise<void> {
  requireScope(actor, limit.tenantId, ["admin"]);
  await changeAndRefresh(ports, async (tx) => {
    const before = await activeLimit(tx, limit);
    await remove(tx, limit.tenantId, limit.limitId);
    await insertEvent(tx, {
      tenantId: limit.tenantId,
      eventId: withPrefix("event", ports.newId()),
      kind: "limit.removed",
      actor: nameOf(actor),
      subject: limit.limitId,
      body: { before: changeable(before) },
    });
  });
}

/** What a lower limit means where more than that is held already; null where it is not. */
export function noticeOf(limit: LimitRecord, amount: string): string | null {
  const committed = BigInt(limit.committed ?? "0");
  const reserved = BigInt(limit.reserved ?? "0");
  if (committed + reserved <= BigInt(amount)) return null;
  const until = committed > BigInt(amount) ? "" : " until enough of what is reserved is released";
  return (
    `${show(limit.unit, committed)} is settled and ${show(limit.unit, reserved)} reserved, which is more ` +
    `than the new limit of ${show(limit.unit, BigInt(amount))}: what is in flight goes on, and nothing ` +
    `more is admitted${until}.`
  );
}

/** Pico-dollars, or the count itself, as decimal digits. Throws InputError naming `param`. */
export function amountOf(unit: Unit, text: string, param: string): string {
  if (unit === "usd") {
    const amount: bigint = picousdFromUsd(text, param);
    if (amount < 0n) throw new InputError("invalid_value", param, "A limit is not negative.");
    return amount.toString();
  }
  if (!/^\d{1,16}$/.test(text) || !Number.isSafeInteger(Number(text))) {
    const message = `A limit on ${unit} is a whole number from 0 to 2^53 - 1.`;
    throw new InputError("invalid_value", param, message);
  }
  return BigInt(text).toString();
}

function termsOf(given: NewLimitTerms): LimitTerms {
  const { unit, window, mode, onExceed, timeZone } = given;
  refuseClampOfCounts(unit, onExceed);
  if (given.resource !== null && unit !== "attempts") {
    const message = "Only `attempts`, the budget of retries, are counted by resource.";
    throw new InputError("invalid_value", "resource", message);
  }
  if (given.resource === "model:") {
    const message = "Name a model behind `model:`, as `model:gpt-5-mini`.";
    throw new InputError("invalid_value", "resource", message);
  }
  if (unit === "in_flight" && window !== "none") {
    const message = "What is in flight now has no window: use `none`.";
    throw new InputError("invalid_value", "window", message);
  }
  if (!isTimeZone(timeZone)) {
    const message = "Not a time zone: use `UTC` or an IANA name such as `Europe/Berlin`.";
    throw new InputError("invalid_value", "time_zone", message);
  }
  return {
    scopeKind: given.scope.kind,
    scopeId: scopeIdOf(given.scope),
    resource: given.resource ?? "",
    unit,
    window,
    amount: amountOf(unit, given.amount, "limit"),
    mode,
    onExceed,
    // A window without an end begins nowhere, so no zone can tell two of them apart.
    timeZone: window === "none" ? "UTC" : timeZone,
  };
}

/** Kinds of limits on one thing: the others count all of a tenant, or each of many apart. */
const NAMED: ReadonlySet<ScopeKind> = new Set(["key", "run", "model", "tool"]);

function scopeIdOf(scope: NewLimitTerms["scope"]): string {
  const needsId = NAMED.has(scope.kind);
  if (needsId && (scope.id === null || scope.id === "")) {
    const message = `A limit on one ${scope.kind} names it.`;
    throw new InputError("missing_required_parameter", "scope.id", message);
  }
  if (!needsId && scope.id !== null) {
    const message = `A limit of kind \`${scope.kind}\` names nobody.`;
    throw new InputError("invalid_value", "scope.id", message);
  }
  return scope.id ?? "";
}

function refuseClampOfCounts(unit: Unit, onExceed: "refuse" | "clamp"): void {
  if (onExceed === "refuse" || unit === "usd" || unit === "tokens") return;
  const message =
    "Only money and tokens can be clamped: a request cannot be made shorter than one.";
  throw new InputError("invalid_value", "on_exceed", message);
}

/** To be asked behind each new limit of a run, its budget included, in its transaction. */
export async function refuseManyOfRun(
  tx: Queryable,
  of: { readonly tenantId: string; readonly runId: string; readonly param: string },
): Promise<void> {
  if ((await countRunLimits(tx, of.tenantId, of.runId)) <= LIMITS_PER_RUN_MAX) return;
  const message = `A run has at most ${LIMITS_PER_RUN_MAX} limits, its budget included: remove one first.`;
  throw new InputError("conflict", of.param, message);
}

/** Every run may have as many limits as a run can, and as many runs above it. */
async function refuseLongPath(
  { configuration }: AdministrationPorts,
  tx: Queryable,
  tenantId: string,
): Promise<void> {
  const { catalogue } = configuration;
  const meant = (name: string) => routeModel(catalogue, name)?.model ?? name;
  const path = longestPath(await groupLimits(tx, tenantId), meant);
  const runs = { runsAbove: RUN_DEPTH_MAX, limitsPerRun: LIMITS_PER_RUN_MAX };
  if (mostMeters({ ...path, ...runs }) <= METERS_PER_ASK_MAX) return;
  const { limits, dailyQuotas } = path;
  const message =
    `One call could then meet ${limits} limits, and its run's share of ${dailyQuotas} daily quotas, which is more than ` +
    `${METERS_BESIDE_RUNS_MAX} together: remove a limit first.`;
  throw new InputError("conflict", "scope", message);
}

async function activeLimit(
  tx: Queryable,
  limit: { readonly tenantId: string; readonly limitId: string },
): Promise<LimitRecord> {
  const found = await findLimit(tx, limit);
  if (found === null || found.removedAt !== null) throw notFound("limit", "limit");
  if (found.scopeKind !== "run") return found;
  await lockRun(tx, limit.tenantId, found.scopeId);
  // Its run's budget may have been changed while the lock was waited for.
  return (await findLimit(tx, limit)) ?? found;
}

type Changeable = Pick<LimitTerms, "amount" | "mode" | "onExceed">;

function changeable({ amount, mode, onExceed }: Changeable): Changeable {
  return { amount, mode, onExceed };
}

function isSame(before: Changeable, after: Changeable): boolean {
  return (
    before.amount === after.amount &&
    before.mode === after.mode &&
    before.onExceed === after.onExceed
  );
}

function show(unit: Unit, amount: bigint): string {
  return unit === "usd" ? dollars(amount) : `${amount} ${unit}`;
}
