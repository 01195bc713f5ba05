/** Says what became of a run or an operation. */
import type { Ambient } from "./ambient.ts";
import type { Transport } from "./transport.ts";
import { isRecord, textOf } from "./wire.ts";

export type OutcomeCall = {
  /** Default: the run of the context around it. */
  readonly run?: string;
  /** `type:key`, as `refund:order-123`: of an operation in place of a run. */
  readonly operation?: string;
  /** Declared before: `npx tollgate outcome-types create ticket_resolved`. */
  readonly type: string;
  readonly status: "success" | "failure" | "partial" | "reversed";
  /** Tells several outcomes of one type apart, as the number of a ticket. */
  readonly key?: string;
  /** What it is worth, in dollars, as text so that nothing is rounded. */
  readonly valueUsd?: string;
  /** Its part of the cost of a run that it shares with others, 0 to 1000 (default 1). */
  readonly weight?: number;
  readonly evidence?: string;
  /** Default: now. */
  readonly occurredAt?: Date;
  /** The id of the outcome that this one corrects. */
  readonly supersedes?: string;
};

/** `repeated`: it was recorded before, and nothing was written. */
export type Outcome = {
  readonly id: string;
  readonly repeated: boolean;
  /** The answer itself. */
  readonly raw: Readonly<Record<string, unknown>>;
};

/** Asking again is harmless: what holds already is not written again. */
export async function tellOutcome(
  { transport, ambient }: { readonly transport: Transport; readonly ambient: Ambient },
  call: OutcomeCall,
): Promise<Outcome> {
  const body = {
    type: call.type,
    status: call.status,
    key: call.key,
    value_usd: call.valueUsd,
    weight: call.weight,
    evidence: call.evidence,
    occurred_at: call.occurredAt?.toISOString(),
    supersedes: call.supersedes,
  };
  const path = `/api/${subjectPath(call, ambient)}/outcome`;
  const raw = await transport.post(path, body, { repeats: true });
  const id = isRecord(raw) ? textOf(raw["id"]) : null;
  if (!isRecord(raw) || id === null) throw new TypeError("Tollgate answered no outcome.");
  return { id, repeated: raw["repeated"] === true, raw };
}

function subjectPath({ run, operation }: OutcomeCall, ambient: Ambient): string {
  if (run !== undefined && operation !== undefined) {
    throw new TypeError("An outcome is of a run or of an operation: name one of the two.");
  }
  if (operation !== undefined) {
    const colon = operation.indexOf(":");
    if (colon <= 0) throw new TypeError(`An operation is written type:key, and not ${operation}.`);
    const parts = [operation.slice(0, colon), operation.slice(colon + 1)];
    return `operations/${parts.map(encodeURIComponent).join("/")}`;
  }
  const of = run ?? ambient.get().run;
  if (of !== undefined) return `runs/${encodeURIComponent(of)}`;
  throw new TypeError("An outcome is of a run: name it, or tell it inside gate.run.");
}
