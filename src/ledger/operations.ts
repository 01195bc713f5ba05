/** Operations: what was done for a business act, by whatever run. */
import type { OperationName } from "../core/operation.ts";
import { PAGE_ROWS_MAX } from "../core/limits.ts";
import { listEffects, type EffectRow } from "../store/attempts.ts";
import type { Database } from "../store/database.ts";

export type EffectState = "claimed" | "applied" | "not_applied" | "uncertain";

export type EffectView = {
  readonly effect: string;
  readonly state: EffectState;
  /** The attempt that claims it, or last did. */
  readonly attempt: string;
  readonly run: string;
  /** Since when it is so. */
  readonly at: string;
};

export type OperationView = {
  readonly type: string;
  readonly key: string;
  readonly effects: readonly EffectView[];
  /** There are more than are listed. */
  readonly more: boolean;
};

/** An operation of which nothing was ever claimed has no effects: each is free. */
export async function operationOf(
  db: Database,
  tenantId: string,
  { type, key }: OperationName,
): Promise<OperationView> {
  const rows = await listEffects(db.admin, tenantId, { type, key, rows: PAGE_ROWS_MAX + 1 });
  const effects = rows.slice(0, PAGE_ROWS_MAX).map(effectView);
  return { type, key, effects, more: rows.length > PAGE_ROWS_MAX };
}

function effectView(row: EffectRow): EffectView {
  const state = stateOf(row.state);
  const at = state === "claimed" ? row.claimedAt : row.since;
  return {
    effect: row.effect,
    state,
    attempt: row.attemptId,
    run: row.runId,
    at: at.toISOString(),
  };
}

/** As the posting reads it: see `tollgate_refuse_effect`. */
function stateOf(state: string): EffectState {
  switch (state) {
    case "running":
    case "left":
      return "claimed";
    case "released":
    case "failed":
      return "not_applied";
    case "unknown":
      return "uncertain";
    default:
      return "applied";
  }
}
