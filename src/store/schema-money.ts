/** What stands beside settlements: the prices that were imported, and what an operator adjusted. */
import { sql } from "drizzle-orm";
import { bigint, check, index, pgTable, primaryKey, text } from "drizzle-orm/pg-core";

import { amount, id, moment, now, postedIn } from "./columns.ts";

/**
 * Ledger. Which price holds for whom and from when. Of entries with one tenant, upstream, model and
 * beginning the newest holds; what was settled by an older one keeps its version.
 */
export const priceBook = pgTable(
  "price_book",
  {
    /** `*`: every tenant's. */
    tenantId: id("tenant_id").notNull(),
    /** An upstream's name, a provider's, or `*` for any. */
    upstream: id("upstream").notNull(),
    model: text("model").notNull(),
    validFrom: moment("valid_from").notNull(),
    /** The installation's revision at its import. */
    revision: bigint("revision", { mode: "bigint" }).notNull(),
    /** Null: until the next one begins. */
    validUntil: moment("valid_until"),
    version: id("version").notNull(),
    recordedAt: moment("recorded_at").notNull().default(now),
  },
  (t) => [
    primaryKey({ columns: [t.tenantId, t.upstream, t.model, t.validFrom, t.revision] }),
    check("price_book_ends_after_it_begins", sql`${t.validUntil} > ${t.validFrom}`),
    check("price_book_names_tenant_or_upstream", sql`${t.tenantId} <> '*' or ${t.upstream} <> '*'`),
  ],
);

/**
 * Ledger. A correction by an operator: of one attempt's cost, or a credit (negative) or debit to a run or to
 * the tenant. No meter is moved by it, and no settlement.
 */
export const adjustments = pgTable(
  "adjustments",
  {
    tenantId: id("tenant_id").notNull(),
    adjustmentId: id("adjustment_id").notNull(),
    amountPicousd: amount("amount_picousd").notNull(),
    reason: text("reason").notNull(),
    /** A key id, or `installation`. */
    actor: id("actor").notNull(),
    attemptId: id("attempt_id"),
    /** The attempt's run, where it is of an attempt. */
    runId: id("run_id"),
    postedAt: moment("posted_at").notNull().default(now),
    postedIn: postedIn(),
  },
  (t) => [
    primaryKey({ columns: [t.tenantId, t.adjustmentId] }),
    index("adjustments_by_posting").on(t.postedIn),
    index("adjustments_by_time").on(t.tenantId, t.postedAt),
    index("adjustments_of_a_run")
      .on(t.tenantId, t.runId)
      .where(sql`${t.runId} is not null`),
    check("adjustments_adjust_something", sql`${t.amountPicousd} <> 0`),
    check("adjustments_say_why", sql`${t.reason} <> ''`),
    check(
      "adjustments_of_an_attempt_name_its_run",
      sql`${t.attemptId} is null or ${t.runId} is not null`,
    ),
  ],
);
