/** Tools: what their servers say that they are, and what operators declare of them. */
import { sql } from "drizzle-orm";
import { boolean, check, json, pgTable, primaryKey, text } from "drizzle-orm/pg-core";

import { amount, id, moment, now } from "./columns.ts";
import { tenants } from "./schema.ts";

/** What an operator declares of a tool: never what the tool's own server says of it. */
export const tools = pgTable(
  "tools",
  {
    tenantId: id("tenant_id")
      .notNull()
      .references(() => tenants.tenantId),
    name: text("name").notNull(),
    effectClass: id("effect_class").notNull(),
    /** Of one call; null: its price is reported, or none is known. */
    pricePicousd: amount("price_picousd"),
    /** Where the operation's key stands in the arguments: `{"type", "pointers", "mode"}`, or null. */
    extractor: json("extractor"),
    /** Of `tool_definitions`, what may be called behind the tool door; null: nothing may. */
    definitionSha256: id("definition_sha256"),
    /** People approve each call: `{"quorum", "role"}`, or null. */
    approval: json("approval"),
    /** What of its results passes: `{"bytes_max", "rows_max", "block", "redact"}`, or null for all. */
    output: json("output"),
    trusted: boolean("trusted").notNull().default(false),
    createdAt: moment("created_at").notNull().default(now),
    removedAt: moment("removed_at"),
  },
  (t) => [
    primaryKey({ columns: [t.tenantId, t.name] }),
    check(
      "tools_effect_class_is_known",
      sql`${t.effectClass} in ('pure', 'idempotent', 'keyed', 'effectful')`,
    ),
    check("tools_price_is_not_negative", sql`${t.pricePicousd} >= 0`),
  ],
);

/**
 * Ledger. What a server told a tenant that a tool is, by the hash of it: never changed, never removed, so that it
 * stays known what was approved and what was called.
 */
export const toolDefinitions = pgTable(
  "tool_definitions",
  {
    tenantId: id("tenant_id")
      .notNull()
      .references(() => tenants.tenantId),
    server: id("server").notNull(),
    /** Without its server. */
    tool: text("tool").notNull(),
    sha256: id("sha256").notNull(),
    /** The canonical JSON of all that was told. */
    content: text("content").notNull(),
    firstSeenAt: moment("first_seen_at").notNull().default(now),
  },
  (t) => [primaryKey({ columns: [t.tenantId, t.server, t.tool, t.sha256] })],
);

/** What a server lists for a tenant, as it was last seen. */
export const toolCatalogue = pgTable(
  "tool_catalogue",
  {
    tenantId: id("tenant_id")
      .notNull()
      .references(() => tenants.tenantId),
    server: id("server").notNull(),
    tool: text("tool").notNull(),
    sha256: id("sha256").notNull(),
    /** Since when it is listed as this. */
    since: moment("since").notNull().default(now),
    /** It is listed no more. */
    goneAt: moment("gone_at"),
  },
  (t) => [primaryKey({ columns: [t.tenantId, t.server, t.tool] })],
);
