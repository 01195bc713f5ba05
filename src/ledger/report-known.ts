/**
 * A key, a type or a run that there is not is a slip, and a report of nothing its worst answer. Customers, workflows,
 * labels, models and tools are said by calls and declared nowhere: of one that has not occurred, nothing is the truth.
 */
import { InputError } from "../core/errors.ts";
import type { Filters } from "../core/report.ts";
import { didYouMean } from "../lib/nearest.ts";
import type { Queryable } from "../store/events.ts";
import { findKnownKey, findKnownType, isKnownRun } from "../store/reports-known.ts";

const TYPES_TOLD = 20;

export async function refuseUnknown(
  sql: Queryable,
  tenantId: string | null,
  { key, type }: Pick<Filters, "key" | "type">,
): Promise<void> {
  if (key !== null) await refuseKey(sql, tenantId, key);
  if (type !== null) await refuseType(sql, tenantId, type);
}

async function refuseKey(sql: Queryable, tenantId: string | null, key: string): Promise<void> {
  const { isKnown, named } = await findKnownKey(sql, tenantId, key);
  if (isKnown) return;
  const instead =
    named === null
      ? "`npx tollgate keys list` says which there are."
      : `The one that is named so is ${named}: a report is asked by its id.`;
  throw new InputError("not_found", "key", `There is no key '${key}'. ${instead}`);
}

async function refuseType(sql: Queryable, tenantId: string | null, type: string): Promise<void> {
  const { isKnown, names } = await findKnownType(sql, tenantId, type);
  if (isKnown) return;
  const message = `There is no outcome type '${type}'.${didYouMean(type, names)} ${toldOf(names)}`;
  throw new InputError("not_found", "type", message);
}

function toldOf(known: readonly string[]): string {
  if (known.length === 0) return "None is declared: see `npx tollgate outcome-types create`.";
  const more = known.length > TYPES_TOLD ? ` and ${known.length - TYPES_TOLD} more` : "";
  return `There are ${known.slice(0, TYPES_TOLD).join(", ")}${more}.`;
}

export async function refuseUnknownRun(
  sql: Queryable,
  tenantId: string,
  run: string,
): Promise<void> {
  if (await isKnownRun(sql, tenantId, run)) return;
  const message = `There is no run '${run}', and no budget of it: \`npx tollgate runs list\` says which there are.`;
  throw new InputError("not_found", "run", message);
}
