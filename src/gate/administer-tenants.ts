import { InputError } from "../core/errors.ts";
import { ID_PREFIXES, withPrefix } from "../core/ids.ts";
import { usdOrNull } from "../core/money.ts";
import { insertEvent } from "../store/events.ts";
import {
  findTenant,
  insertTenant,
  updateTenant,
  type Mode,
  type TenantTerms,
} from "../store/tenants.ts";
import {
  type Actor,
  type AdministrationPorts,
  nameOf,
  notFound,
  requireScope,
  changeAndRefresh,
} from "./acts.ts";

export async function createTenant(
  ports: AdministrationPorts,
  actor: Actor,
  terms: { readonly name: string; readonly mode: Mode },
): Promise<{ readonly tenantId: string }> {
  if (!("installation" in actor)) {
    const message = "Only the installation's administration key creates tenants.";
    throw new InputError("forbidden", null, message);
  }
  // A tenant may be named by id or by name, so none may be named as another's id.
  if (terms.name.startsWith(`${ID_PREFIXES.tenant}_`)) {
    const message = "A tenant's name does not begin with `ten_`: that is for ids.";
    throw new InputError("invalid_value", "name", message);
  }
  const tenantId = withPrefix("tenant", ports.newId());
  await changeAndRefresh(ports, async (tx) => {
    if (!(await insertTenant(tx, { tenantId, ...terms }))) {
      const message = "A tenant of this name exists already.";
      throw new InputError("conflict", "name", message);
    }
    await insertEvent(tx, {
      tenantId,
      eventId: withPrefix("event", ports.newId()),
      kind: "tenant.created",
      actor: nameOf(actor),
      subject: tenantId,
      body: terms,
    });
  });
  return { tenantId };
}

export async function changeTenant(
  ports: AdministrationPorts,
  actor: Actor,
  change: { readonly tenantId: string } & Partial<TenantTerms>,
): Promise<void> {
  const { tenantId, ...changes } = change;
  requireScope(actor, tenantId, ["admin"]);
  await changeAndRefresh(ports, async (tx) => {
    const tenant = await findTenant(tx, tenantId);
    if (tenant === null) throw notFound("tenant", "tenant");
    const { mode, derivedAttemptsMax, runSharePercent } = tenant;
    const { alertPercents, approvalPicousd } = tenant;
    const guards = { mode, derivedAttemptsMax, runSharePercent };
    const before: TenantTerms = { ...guards, alertPercents, approvalPicousd };
    const after: TenantTerms = { ...before, ...changes };
    if (JSON.stringify(before) === JSON.stringify(after)) return;
    await updateTenant(tx, tenantId, after);
    await insertEvent(tx, {
      tenantId,
      eventId: withPrefix("event", ports.newId()),
      kind: "tenant.changed",
      actor: nameOf(actor),
      subject: tenantId,
      body: { before: told(before), after: told(after) },
    });
  });
}

/** In the words of the API. */
function told(terms: TenantTerms): object {
  return {
    mode: terms.mode,
    derived_attempts_max: terms.derivedAttemptsMax,
    run_share_percent: terms.runSharePercent,
    alert_percents: terms.alertPercents,
    usd_per_approval: usdOrNull(terms.approvalPicousd),
  };
}
