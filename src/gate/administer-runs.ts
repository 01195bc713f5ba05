import { InputError } from "../core/errors.ts";
import { withPrefix } from "../core/ids.ts";
import { RUN_DEPTH_MAX } from "../core/limits.ts";
import { usdOf } from "../core/money.ts";
import { changeRun, insertEvent, type Queryable } from "../store/events.ts";
import { findSameLimit, insertLimit, updateLimit } from "../store/limits.ts";
import {
  findRun,
  hasDecisions,
  insertRun,
  stopRun as stop,
  updateRunLabels,
} from "../store/runs.ts";
import { amountOf, noticeOf, refuseManyOfRun } from "./administer-limits.ts";
import {
  type Actor,
  type AdministrationPorts,
  type Changed,
  isAdmin,
  nameOf,
  notFound,
  requireScope,
  type RunTerms,
} from "./acts.ts";

type Run = { readonly tenantId: string; readonly runId: string };

/**
 * Makes a run, or changes one to what is said; saying it again changes nothing. Its parent is fixed
 * once it has a row, which its first call also gives it: what was spent could not move afterwards.
 */
export async function putRun(
  ports: AdministrationPorts,
  actor: Actor,
  terms: RunTerms,
): Promise<Changed & { readonly created: boolean }> {
  requireScope(actor, terms.tenantId, ["invoke", "admin"]);
  const budget = terms.budgetUsd === null ? null : amountOf("usd", terms.budgetUsd, "budget_usd");
  const put = await changeRun(ports.db, terms, async (tx) => {
    const tell = teller(ports, tx, { actor, run: terms });
    const created = await insertNewRun(tx, actor, terms);
    if (created) await tell("run.created", createdBody(terms));
    else await changeExistingRun(tx, terms, tell);
    const notice = budget === null ? null : await setBudget(ports, tx, { actor, terms, budget });
    return { created, notice };
  });
  return put;
}

export async function stopRun(ports: AdministrationPorts, actor: Actor, run: Run): Promise<void> {
  requireScope(actor, run.tenantId, ["admin"]);
  await changeRun(ports.db, run, async (tx) => {
    const { tenantId, runId } = run;
    if ((await findRun(tx, tenantId, runId)) === null) {
      if (!(await hasDecisions(tx, tenantId, runId))) throw notFound("run", "run");
      // A call's own run gets a row, so that nobody can carry it on by naming it.
      const own = { tenantId, runId, ancestors: [], labels: {}, derivedFrom: null };
      const row = { ...own, createdBy: nameOf(actor) };
      await insertRun(tx, row);
    }
    if (await stop(tx, tenantId, runId)) {
      await teller(ports, tx, { actor, run })("run.stopped", {});
    }
  });
}

function createdBody({ parent, derivedFrom, labels }: RunTerms): object {
  return { parent, derived_from: derivedFrom, labels: labels ?? {} };
}

/** False when it has a row already. */
async function insertNewRun(tx: Queryable, actor: Actor, terms: RunTerms): Promise<boolean> {
  const { tenantId, runId } = terms;
  if ((await findRun(tx, tenantId, runId)) !== null) return false;
  const ancestors = terms.parent === null ? [] : await ancestorsOf(tx, terms, terms.parent);
  return insertRun(tx, {
    tenantId,
    runId,
    ancestors,
    labels: terms.labels ?? {},
    derivedFrom: await originOf(tx, terms),
    createdBy: nameOf(actor),
  });
}

/** A run is executed anew as another one: the first keeps what it did and cost. */
async function originOf(
  tx: Queryable,
  { tenantId, runId, derivedFrom }: RunTerms,
): Promise<string | null> {
  if (derivedFrom === null) return null;
  if (derivedFrom === runId) {
    throw new InputError("invalid_value", "derived_from", "A run is not derived from itself.");
  }
  const isKnown =
    (await findRun(tx, tenantId, derivedFrom)) !== null ||
    (await hasDecisions(tx, tenantId, derivedFrom));
  if (!isKnown) throw notFound("run", "derived_from");
  return derivedFrom;
}

/** A parent has its row before its child and never a parent afterwards, so no chain can close. */
async function ancestorsOf(tx: Queryable, run: Run, parent: string): Promise<readonly string[]> {
  if (parent === run.runId) {
    throw new InputError("invalid_value", "parent", "A run is not its own parent.");
  }
  const above = await findRun(tx, run.tenantId, parent);
  if (above === null) throw notFound("run", "parent");
  if (above.state !== "open") {
    const message = "The parent run was stopped: nothing below it would be admitted.";
    throw new InputError("conflict", "parent", message);
  }
  const ancestors = [...above.ancestors, parent];
  if (ancestors.length > RUN_DEPTH_MAX) {
    const message = `At most ${RUN_DEPTH_MAX} runs stand above a run.`;
    throw new InputError("invalid_value", "parent", message);
  }
  return ancestors;
}

async function changeExistingRun(
  tx: Queryable,
  terms: RunTerms,
  tell: (kind: string, body: object) => Promise<void>,
): Promise<void> {
  const run = await findRun(tx, terms.tenantId, terms.runId);
  if (run === null) throw notFound("run", "run");
  if (terms.parent !== null && terms.parent !== run.ancestors.at(-1)) {
    const message = "A run's parent is fixed when it is created, which its first call does too.";
    throw new InputError("conflict", "parent", message);
  }
  if (terms.derivedFrom !== null && terms.derivedFrom !== run.derivedFrom) {
    const message =
      "What a run is derived from is fixed when it is created, which its first call does too.";
    throw new InputError("conflict", "derived_from", message);
  }
  if (terms.labels === null || isSameLabels(terms.labels, run.labels)) return;
  await updateRunLabels(tx, terms, terms.labels);
  await tell("run.changed", { before: { labels: run.labels }, after: { labels: terms.labels } });
}

/** A budget of a run is a limit in dollars on it, without a window. Only an administrator raises one. */
async function setBudget(
  ports: AdministrationPorts,
  tx: Queryable,
  ask: { readonly actor: Actor; readonly terms: RunTerms; readonly budget: string },
): Promise<string | null> {
  const { actor, terms, budget } = ask;
  const { tenantId, runId } = terms;
  const tell = teller(ports, tx, { actor, run: terms });
  const limit = {
    scopeKind: "run",
    scopeId: runId,
    resource: "",
    unit: "usd",
    window: "none",
    mode: "enforce",
    timeZone: "UTC",
  } as const;
  const before = await findSameLimit(tx, tenantId, limit);
  if (before === null) {
    const limitId = withPrefix("limit", ports.newId());
    await insertLimit(tx, { tenantId, limitId, ...limit, amount: budget, onExceed: "refuse" });
    await refuseManyOfRun(tx, { tenantId, runId, param: "budget_usd" });
    await tell("run.budget_set", { limit: limitId, before: null, after: budget });
    return null;
  }
  if (BigInt(budget) > BigInt(before.amount) && !isAdmin(actor)) {
    const now = usdOf(before.amount);
    const message = `Only a key with the scope \`admin\` raises a budget: this run's is $${now}.`;
    throw new InputError("forbidden", "budget_usd", message);
  }
  if (budget !== before.amount) {
    await updateLimit(
      tx,
      { tenantId, limitId: before.limitId },
      { amount: budget, mode: before.mode, onExceed: before.onExceed },
    );
    await tell("run.budget_set", { limit: before.limitId, before: before.amount, after: budget });
  }
  return noticeOf(before, budget);
}

function teller(
  ports: AdministrationPorts,
  tx: Queryable,
  ask: { readonly actor: Actor; readonly run: Run },
): (kind: string, body: object) => Promise<void> {
  return (kind, body) =>
    insertEvent(tx, {
      tenantId: ask.run.tenantId,
      eventId: withPrefix("event", ports.newId()),
      kind,
      actor: nameOf(ask.actor),
      subject: ask.run.runId,
      body,
    });
}

function isSameLabels(
  a: Readonly<Record<string, string>>,
  b: Readonly<Record<string, string>>,
): boolean {
  const names = Object.keys(a);
  return (
    names.length === Object.keys(b).length &&
    names.every((name) => Object.hasOwn(b, name) && a[name] === b[name])
  );
}
