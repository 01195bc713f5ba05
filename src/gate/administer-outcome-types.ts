/** Outcome types: what a tenant counts as a result, and what one success is worth. */
import { InputError } from "../core/errors.ts";
import { withPrefix } from "../core/ids.ts";
import { OUTCOME_TYPES_MAX } from "../core/limits-finance.ts";
import { costFromUsd, usdOrNull } from "../core/money.ts";
import { insertEvent, type Queryable } from "../store/events.ts";
import {
  countOutcomeTypes,
  findOutcomeType,
  lockOutcomeTypes,
  putOutcomeType,
  removeOutcomeType,
  type OutcomeType,
} from "../store/outcome-types.ts";
import { transaction } from "../store/transaction.ts";
import { type Actor, type AdministrationPorts, nameOf, notFound, requireScope } from "./acts.ts";

/** What is absent stays as it is; a value of null declares none. */
export type OutcomeTypeTerms = {
  readonly tenantId: string;
  readonly name: string;
  readonly description?: string | undefined;
  /** As it was written. */
  readonly valueUsd?: string | null | undefined;
};

export type OutcomeTypeAdministration = {
  /** Idempotent by name: declares a type, or changes what is said of it. */
  readonly declare: (
    actor: Actor,
    terms: OutcomeTypeTerms,
  ) => Promise<{ readonly created: boolean }>;
  /** Its outcomes stay; no further one is taken. */
  readonly remove: (actor: Actor, tenantId: string, name: string) => Promise<void>;
};

export function createOutcomeTypeAdministration(
  ports: AdministrationPorts,
): OutcomeTypeAdministration {
  return {
    declare: (actor, terms) => declare(ports, actor, terms),
    remove: (actor, tenantId, name) => remove(ports, actor, { tenantId, name }),
  };
}

async function declare(
  ports: AdministrationPorts,
  actor: Actor,
  terms: OutcomeTypeTerms,
): Promise<{ readonly created: boolean }> {
  const { tenantId, name } = terms;
  requireScope(actor, tenantId, ["admin"]);
  const valuePicousd = valueOf(terms.valueUsd);
  return await transaction(ports.db.admin, async (tx) => {
    await lockOutcomeTypes(tx, tenantId);
    const before = await findOutcomeType(tx, tenantId, name);
    const after: OutcomeType = {
      name,
      description: terms.description ?? before?.description ?? "",
      valuePicousd: valuePicousd === undefined ? (before?.valuePicousd ?? null) : valuePicousd,
    };
    if (before !== null && isSame(before, after)) return { created: false };
    if (before === null) await refuseTooMany(tx, tenantId);
    await putOutcomeType(tx, tenantId, after);
    await insertEvent(tx, {
      tenantId,
      eventId: withPrefix("event", ports.newId()),
      kind: before === null ? "outcome_type.declared" : "outcome_type.changed",
      actor: nameOf(actor),
      subject: name,
      body: { before: before === null ? null : shown(before), after: shown(after) },
    });
    return { created: before === null };
  });
}

async function remove(
  ports: AdministrationPorts,
  actor: Actor,
  { tenantId, name }: { readonly tenantId: string; readonly name: string },
): Promise<void> {
  requireScope(actor, tenantId, ["admin"]);
  await transaction(ports.db.admin, async (tx) => {
    await lockOutcomeTypes(tx, tenantId);
    const before = await findOutcomeType(tx, tenantId, name);
    if (before === null) throw notFound("outcome type", "outcome_type");
    await removeOutcomeType(tx, tenantId, name);
    await insertEvent(tx, {
      tenantId,
      eventId: withPrefix("event", ports.newId()),
      kind: "outcome_type.removed",
      actor: nameOf(actor),
      subject: name,
      body: { before: shown(before) },
    });
  });
}

/** Undefined where nothing is said of it. */
function valueOf(text: string | null | undefined): string | null | undefined {
  return typeof text === "string" ? costFromUsd(text, "value_usd").toString() : text;
}

function isSame(one: OutcomeType, other: OutcomeType): boolean {
  return one.description === other.description && one.valuePicousd === other.valuePicousd;
}

function shown({ description, valuePicousd }: OutcomeType): object {
  return {
    description,
    value_usd: usdOrNull(valuePicousd),
  };
}

async function refuseTooMany(tx: Queryable, tenantId: string): Promise<void> {
  if ((await countOutcomeTypes(tx, tenantId)) < OUTCOME_TYPES_MAX) return;
  const message =
    `A tenant declares at most ${OUTCOME_TYPES_MAX} outcome types: remove one first. ` +
    "What tells outcomes of one type apart, as the number of a ticket, is their `key`.";
  throw new InputError("conflict", null, message);
}
