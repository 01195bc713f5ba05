/** Adjustments: corrections by an operator, beside the settlements. */
import { z } from "@hono/zod-openapi";

import { ADJUSTMENT_REASON_CHARS_MAX } from "../core/limits-finance.ts";
import { define, found, NONE, pageOf as pageFrom, type Api } from "./api.ts";
import {
  AmountText,
  Id,
  line,
  pageOf,
  Paging,
  RunId,
  Tenanted,
  TenantOnly,
  time,
  usd,
} from "./schemas.ts";

const Adjustment = z
  .object({
    id: z.string(),
    amount_usd: usd.openapi({ description: "Negative: a credit." }),
    reason: z.string(),
    actor: z.string(),
    attempt: z.string().nullable(),
    run: z.string().nullable(),
    posted_at: time,
  })
  .openapi("Adjustment");

export function adjustmentRoutes(api: Api): void {
  define(
    api,
    {
      method: "post",
      path: "/adjustments",
      summary: "Post a credit or a debit, of an attempt, a run or the tenant",
      description:
        "It stands beside the settlements, which are never changed, and reports show it as a line of its own. " +
        "It moves no meter: what a budget has spent stays spent. It cannot be taken back; another one corrects it.",
      scopes: ["admin"],
      tenancy: "one",
      params: NONE,
      query: TenantOnly,
      body: z.strictObject({
        ...Tenanted,
        amount_usd: AmountText,
        reason: line(ADJUSTMENT_REASON_CHARS_MAX),
        attempt: Id.optional().openapi({ description: "The attempt, or its decision." }),
        run: RunId.optional(),
      }),
      status: 201,
      answer: Adjustment,
    },
    async ({ bindings: { administration, ledger }, actor, tenantId, body }) => {
      const { adjustmentId } = await administration.postAdjustment(actor, {
        tenantId,
        amountUsd: body.amount_usd,
        reason: body.reason,
        attempt: body.attempt ?? null,
        run: body.run ?? null,
      });
      return found(await ledger.adjustment(tenantId, adjustmentId), "adjustment");
    },
  );
  define(
    api,
    {
      method: "get",
      path: "/adjustments",
      summary: "List adjustments, newest first",
      scopes: ["report", "admin"],
      tenancy: "one",
      params: NONE,
      query: z.strictObject({ ...Tenanted, ...Paging, run: RunId.optional() }),
      body: NONE,
      status: 200,
      answer: pageOf(Adjustment),
    },
    ({ bindings: { ledger }, tenantId, query }) =>
      ledger.adjustments(tenantId, { ...pageFrom(query), run: query.run ?? null }),
  );
}
