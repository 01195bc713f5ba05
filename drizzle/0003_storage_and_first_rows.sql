-- How the tables of the request path are stored, and the rows without which nothing begins.

-- Each posting and each settlement updates meters: half of each page is left for their new versions.
alter table meters set (fillfactor = 50);
--> statement-breakpoint

-- A decision is about two kilobytes, just where PostgreSQL begins to compress: of a batch of 32 that took
-- 1.2 to 1.9 ms, a third of its insert. Rows of up to half a page are kept as they are.
alter table decisions set (toast_tuple_target = 4080);
--> statement-breakpoint

-- Rows that live for one call: what is dead must not pile up in front of what is looked for.
alter table reservations set (
  fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000,
  autovacuum_vacuum_cost_delay = 0
);
--> statement-breakpoint

-- How far the roll-ups are: whoever rolls up locks this row, so that one does at a time.
insert into roll_up_state default values;
--> statement-breakpoint

-- How far the budgets were looked at. What was settled before is nobody's news.
insert into budget_alert_state (looked_to) values (pg_snapshot_xmin(pg_current_snapshot())::text::bigint);
