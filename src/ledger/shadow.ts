/** What shadow policies and shadow limits would have done in a period, had they been enforced. */
import { decisionIdOf } from "../core/ids.ts";
import { PAGE_ROWS_MAX } from "../core/limits.ts";
import { usdOf } from "../core/money.ts";
import type { Database } from "../store/database.ts";
import { type Period, sumShadowLimits, sumShadowPolicies } from "../store/shadow.ts";
import { summed } from "./summed.ts";

export type ShadowView = {
  readonly from: string;
  readonly to: string;
  /** Each version of a policy apart: an edited one is another. */
  readonly policies: readonly {
    readonly id: string;
    readonly version: string;
    readonly effect: string;
    /** Calls that it was about. */
    readonly judged: number;
    readonly matched: number;
    readonly failed: number;
    /** What the calls that it matched cost: what blocking them would have saved at most. */
    readonly matched_usd: string;
    readonly last_match: string | null;
  }[];
  readonly limits: readonly {
    readonly limit_id: string;
    readonly unit: string;
    readonly window: string;
    readonly met: number;
    /** Calls that it had no room for, were it enforced from where it stood. */
    readonly refused: number;
    readonly refused_usd: string;
    readonly last_refused: string | null;
  }[];
};

export async function shadowOf(
  db: Database,
  tenantId: string,
  period: Period,
): Promise<ShadowView> {
  const asked = { ...period, rows: PAGE_ROWS_MAX };
  const [policies, limits] = await summed(
    Promise.all([
      sumShadowPolicies(db.admin, tenantId, asked),
      sumShadowLimits(db.admin, tenantId, asked),
    ]),
  );
  return {
    from: period.from.toISOString(),
    to: period.to.toISOString(),
    policies: policies.map(({ costPicousd, lastMatch, ...row }) => ({
      ...row,
      matched_usd: usdOf(costPicousd),
      last_match: lastMatch === null ? null : decisionIdOf(lastMatch),
    })),
    limits: limits.map(({ limitId, costPicousd, lastRefused, ...row }) => ({
      limit_id: limitId,
      ...row,
      refused_usd: usdOf(costPicousd),
      last_refused: lastRefused === null ? null : decisionIdOf(lastRefused),
    })),
  };
}
