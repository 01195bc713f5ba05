-- The ledger is insert-only, whoever asks: what turns out to be wrong is corrected by a further row. Each of its tables
-- is guarded by two triggers: one before its rows are changed, and one before `truncate`, which asks no row.

create function tollgate_insert_only() returns trigger
language plpgsql
as $$
begin
  raise exception 'table % is part of the ledger: rows are inserted, never changed or removed', tg_table_name
    using errcode = 'restrict_violation';
end $$;
--> statement-breakpoint

-- What was decided, how it ended, and what was administered.
create trigger decisions_insert_only before update or delete on decisions
  for each row execute function tollgate_insert_only();
--> statement-breakpoint
create trigger decisions_never_truncated before truncate on decisions
  for each statement execute function tollgate_insert_only();
--> statement-breakpoint
create trigger settlements_insert_only before update or delete on settlements
  for each row execute function tollgate_insert_only();
--> statement-breakpoint
create trigger settlements_never_truncated before truncate on settlements
  for each statement execute function tollgate_insert_only();
--> statement-breakpoint
create trigger events_insert_only before update or delete on events
  for each row execute function tollgate_insert_only();
--> statement-breakpoint
create trigger events_never_truncated before truncate on events
  for each statement execute function tollgate_insert_only();
--> statement-breakpoint

-- What decisions were made by: prices, policies, people's answers, and what tools said that they are.
create trigger prices_insert_only before update or delete on prices
  for each row execute function tollgate_insert_only();
--> statement-breakpoint
create trigger prices_never_truncated before truncate on prices
  for each statement execute function tollgate_insert_only();
--> statement-breakpoint
create trigger policy_bundles_insert_only before update or delete on policy_bundles
  for each row execute function tollgate_insert_only();
--> statement-breakpoint
create trigger policy_bundles_never_truncated before truncate on policy_bundles
  for each statement execute function tollgate_insert_only();
--> statement-breakpoint
create trigger approval_votes_insert_only before update or delete on approval_votes
  for each row execute function tollgate_insert_only();
--> statement-breakpoint
create trigger approval_votes_never_truncated before truncate on approval_votes
  for each statement execute function tollgate_insert_only();
--> statement-breakpoint
create trigger tool_definitions_insert_only before update or delete on tool_definitions
  for each row execute function tollgate_insert_only();
--> statement-breakpoint
create trigger tool_definitions_never_truncated before truncate on tool_definitions
  for each statement execute function tollgate_insert_only();
--> statement-breakpoint

-- A correction of a price is a newer entry, and what was settled by the older one keeps its version.
create trigger price_book_insert_only before update or delete on price_book
  for each row execute function tollgate_insert_only();
--> statement-breakpoint
create trigger price_book_never_truncated before truncate on price_book
  for each statement execute function tollgate_insert_only();
--> statement-breakpoint

-- What finance records: a report may have said so.
create trigger adjustments_insert_only before update or delete on adjustments
  for each row execute function tollgate_insert_only();
--> statement-breakpoint
create trigger adjustments_never_truncated before truncate on adjustments
  for each statement execute function tollgate_insert_only();
--> statement-breakpoint
create trigger outcomes_insert_only before update or delete on outcomes
  for each row execute function tollgate_insert_only();
--> statement-breakpoint
create trigger outcomes_never_truncated before truncate on outcomes
  for each statement execute function tollgate_insert_only();
--> statement-breakpoint
create trigger period_closings_insert_only before update or delete on period_closings
  for each row execute function tollgate_insert_only();
--> statement-breakpoint
create trigger period_closings_never_truncated before truncate on period_closings
  for each statement execute function tollgate_insert_only();
--> statement-breakpoint
create trigger reconciliations_insert_only before update or delete on reconciliations
  for each row execute function tollgate_insert_only();
--> statement-breakpoint
create trigger reconciliations_never_truncated before truncate on reconciliations
  for each statement execute function tollgate_insert_only();
