/** The column types that the tables share. */
import { sql } from "drizzle-orm";
import { bigint, customType, numeric, timestamp } from "drizzle-orm/pg-core";

/** Identifiers compare by byte: a language's sort order has no meaning for them and costs five times as much. */
export const id = customType<{ data: string }>({ dataType: () => 'text collate "C"' });
export const ids = customType<{ data: string[] }>({ dataType: () => "text[]" });
export const smallints = customType<{ data: number[] }>({ dataType: () => "smallint[]" });
export const bigints = customType<{ data: string[] }>({ dataType: () => "bigint[]" });
export const numerics = customType<{ data: string[] }>({ dataType: () => "numeric(38,0)[]" });
export const bytes = customType<{ data: Uint8Array }>({ dataType: () => "bytea" });

/** Whole pico-dollars, or a count where the meter's unit is one. 38 digits: 10²⁶ dollars. */
export const amount = (name: string) => numeric(name, { precision: 38, scale: 0 });
export const moment = (name: string) =>
  timestamp(name, { withTimezone: true, precision: 6, mode: "date" });
export const now = sql`tollgate_now()`;

/**
 * The transaction that posted a row. Below the oldest transaction that still runs nothing can be added, so
 * whoever reads up to there has missed nothing; a time of day could not say that.
 */
export const postedIn = () =>
  bigint("posted_in", { mode: "bigint" })
    .notNull()
    .default(sql`pg_current_xact_id()::text::bigint`);
