import { InputError } from "../core/errors.ts";
import { withPrefix } from "../core/ids.ts";
import { CLOSING_DELAY_MS } from "../core/limits-finance.ts";
import { findClosingOf, insertClosing, readClosable } from "../store/closings.ts";
import { insertEvent } from "../store/events.ts";
import type { Period } from "../store/reports-terms.ts";
import { transaction } from "../store/transaction.ts";
import { type Actor, type AdministrationPorts, nameOf, requireScope } from "./acts.ts";

export type ClosingTerms = Period & {
  readonly tenantId: string;
  /** All that was recorded before must be in the copies: an outcome that was told and answered is not left out. */
  readonly asked: Date;
};

/**
 * Copies what a period cost, so that its reports stay as they are. It must be over, wholly rolled up and told, and
 * nothing that was decided in it may be open: what that will cost would be missing for ever.
 */
export async function closePeriod(
  ports: AdministrationPorts,
  actor: Actor,
  terms: ClosingTerms,
): Promise<{ readonly closingId: string }> {
  requireScope(actor, terms.tenantId, ["admin"]);
  const { tenantId, from, to, asked } = terms;
  const closingId = withPrefix("closing", ports.newId());
  await transaction(ports.db.admin, async (tx) => {
    const { now, asOf, open } = await readClosable(tx, tenantId, terms);
    if (now.getTime() - to.getTime() < CLOSING_DELAY_MS) {
      const message = "A period is closed an hour after its end at the earliest.";
      throw new InputError("invalid_value", "to", message);
    }
    if (open > 0) {
      const message = `${open} attempts that were decided before the end of this period have not ended yet: close it later.`;
      throw new InputError("conflict", "to", message);
    }
    const same = await findClosingOf(tx, tenantId, terms);
    if (same !== null) {
      throw new InputError("conflict", null, `This period is closed already: ${same.closingId}.`);
    }
    if (asOf < asked) throw notToldYet();
    const copied = await insertClosing(tx, {
      tenantId,
      closingId,
      from,
      to,
      closedBy: nameOf(actor),
    });
    if (copied === null) throw notToldYet();
    await insertEvent(tx, {
      tenantId,
      eventId: withPrefix("event", ports.newId()),
      kind: "period.closed",
      actor: nameOf(actor),
      subject: closingId,
      body: { from: from.toISOString(), to: to.toISOString(), ...copied },
    });
  });
  return { closingId };
}

function notToldYet(): InputError {
  const message =
    "Not all that was recorded by now is rolled up and told, and would be missing: try again in a minute.";
  return new InputError("conflict", null, message);
}
