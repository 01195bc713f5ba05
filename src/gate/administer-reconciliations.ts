/** Keeps what a comparison with a provider's invoice came to. */
import { InputError } from "../core/errors.ts";
import { withPrefix } from "../core/ids.ts";
import type { Provider } from "../core/invoice.ts";
import { insertReconciliation, type Whose } from "../store/reconciliations.ts";
import { nameOf, requireScope, type Actor, type AdministrationPorts } from "./acts.ts";

export type NewReconciliation = {
  readonly whose: Whose;
  readonly upstream: string;
  readonly provider: Provider;
  readonly from: string;
  readonly to: string;
  readonly state: "reconciled" | "differs";
  readonly summary: object;
};

/** Who did it and when stands in its own row, which nobody changes. Answers its id. */
export async function recordReconciliation(
  ports: AdministrationPorts,
  actor: Actor,
  reconciliation: NewReconciliation,
): Promise<string> {
  requireSight(actor, reconciliation.whose);
  const reconciliationId = withPrefix("reconciliation", ports.newId());
  const recordedBy = nameOf(actor);
  await insertReconciliation(ports.db.admin, { ...reconciliation, reconciliationId, recordedBy });
  return reconciliationId;
}

/** Of all tenants only the installation's key is told. */
export function requireSight(actor: Actor, whose: Whose): void {
  if (whose !== null) return requireScope(actor, whose, ["report", "admin"]);
  if ("installation" in actor) return;
  const message = "Only the installation's administration key may ask for all tenants together.";
  throw new InputError("forbidden", null, message);
}
