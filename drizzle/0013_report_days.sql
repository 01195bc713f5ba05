-- Sums of the days of UTC, which the report of a month is read from. Each statement that changes a roll-up (cells,
-- costs of runs, costs of outcomes) adds what it changed to their days, by trigger: so a sum is never behind its rows.

-- What a statement changed: its new rows added, its old ones taken away. Tables of a transition are there or not
-- by what the statement does, so the text is put together.
create function tollgate_changes(operation text) returns text
language sql immutable strict
return case operation
  when 'INSERT' then 'select 1 as sign, n.* from added n'
  when 'DELETE' then 'select -1 as sign, o.* from taken o'
  else 'select 1 as sign, n.* from added n union all select -1, o.* from taken o'
end;
--> statement-breakpoint

create function tollgate_add_to_cost_days(changes text) returns text
language sql immutable strict
return format($query$
    insert into cost_days as d (tenant_id, utc_day, dimension_id, attempts, retries, cost_picousd, wasted_picousd,
                                tokens, input_tokens, cached_tokens, output_tokens)
    select c.tenant_id, date_trunc('day', c.bucket, 'UTC'), c.dimension_id,
           sum(c.sign * c.attempts), sum(c.sign * c.retries), sum(c.sign * c.cost_picousd),
           sum(c.sign * c.wasted_picousd), sum(c.sign * c.tokens), sum(c.sign * c.input_tokens),
           sum(c.sign * c.cached_tokens), sum(c.sign * c.output_tokens)
    from (%s) as c
    group by 1, 2, 3
    on conflict (tenant_id, utc_day, dimension_id) do update
      set attempts = d.attempts + excluded.attempts,
          retries = d.retries + excluded.retries,
          cost_picousd = d.cost_picousd + excluded.cost_picousd,
          wasted_picousd = d.wasted_picousd + excluded.wasted_picousd,
          tokens = d.tokens + excluded.tokens,
          input_tokens = d.input_tokens + excluded.input_tokens,
          cached_tokens = d.cached_tokens + excluded.cached_tokens,
          output_tokens = d.output_tokens + excluded.output_tokens
  $query$, changes);
--> statement-breakpoint

-- Each outcome stands on two days: that of its occurrence, and that on which its first run began.
create function tollgate_add_to_outcome_days(changes text) returns text
language sql immutable strict
return format($query$
    insert into outcome_days as d (tenant_id, closing_id, cohort, utc_day, type, cost_class, success, failure, partial,
                                   reversed, valued, value_picousd, attempts, blocked, retries, unpriced,
                                   cost_picousd, failed_picousd, wasted_picousd, estimated_picousd,
                                   failures_picousd, tokens)
    select c.tenant_id, c.closing_id, on_day.cohort, date_trunc('day', on_day.at, 'UTC'), c.type,
           tollgate_cost_class(c.cost_picousd),
           coalesce(sum(c.sign) filter (where c.status = 'success'), 0),
           coalesce(sum(c.sign) filter (where c.status = 'failure'), 0),
           coalesce(sum(c.sign) filter (where c.status = 'partial'), 0),
           coalesce(sum(c.sign) filter (where c.status = 'reversed'), 0),
           coalesce(sum(c.sign) filter (where c.status = 'success' and c.value_picousd is not null), 0),
           coalesce(sum(c.sign * c.value_picousd) filter (where c.status = 'success'), 0),
           sum(c.sign * c.attempts), sum(c.sign * c.blocked), sum(c.sign * c.retries), sum(c.sign * c.unpriced),
           sum(c.sign * c.cost_picousd), sum(c.sign * c.failed_picousd), sum(c.sign * c.wasted_picousd),
           sum(c.sign * c.estimated_picousd),
           coalesce(sum(c.sign * c.cost_picousd) filter (where c.status in ('failure', 'reversed')), 0),
           sum(c.sign * c.tokens)
    from (%s) as c
    cross join lateral (values ('outcome', c.occurred_at), ('run_start', c.started_at)) as on_day(cohort, at)
    group by 1, 2, 3, 4, 5, 6
    on conflict (tenant_id, closing_id, cohort, utc_day, type, cost_class) do update
      set success = d.success + excluded.success,
          failure = d.failure + excluded.failure,
          partial = d.partial + excluded.partial,
          reversed = d.reversed + excluded.reversed,
          valued = d.valued + excluded.valued,
          value_picousd = d.value_picousd + excluded.value_picousd,
          attempts = d.attempts + excluded.attempts,
          blocked = d.blocked + excluded.blocked,
          retries = d.retries + excluded.retries,
          unpriced = d.unpriced + excluded.unpriced,
          cost_picousd = d.cost_picousd + excluded.cost_picousd,
          failed_picousd = d.failed_picousd + excluded.failed_picousd,
          wasted_picousd = d.wasted_picousd + excluded.wasted_picousd,
          estimated_picousd = d.estimated_picousd + excluded.estimated_picousd,
          failures_picousd = d.failures_picousd + excluded.failures_picousd,
          tokens = d.tokens + excluded.tokens
  $query$, changes);
--> statement-breakpoint

-- What is adjusted of no run stands among the runs, and is none.
create function tollgate_add_to_run_days(changes text) returns text
language sql immutable strict
return format($query$
    insert into run_days as d (tenant_id, closing_id, utc_day, is_attributed, runs, attempts, unpriced, cost_picousd,
                               wasted_picousd)
    select c.tenant_id, c.closing_id, date_trunc('day', c.started_at, 'UTC'), c.outcomes > 0,
           coalesce(sum(c.sign) filter (where c.attempts + c.blocked > 0), 0),
           sum(c.sign * c.attempts), sum(c.sign * c.unpriced), sum(c.sign * c.cost_picousd),
           sum(c.sign * c.wasted_picousd)
    from (%s) as c
    group by 1, 2, 3, 4
    on conflict (tenant_id, closing_id, utc_day, is_attributed) do update
      set runs = d.runs + excluded.runs,
          attempts = d.attempts + excluded.attempts,
          unpriced = d.unpriced + excluded.unpriced,
          cost_picousd = d.cost_picousd + excluded.cost_picousd,
          wasted_picousd = d.wasted_picousd + excluded.wasted_picousd
  $query$, changes);
--> statement-breakpoint

create function tollgate_keep_days() returns trigger
language plpgsql
as $$
declare
  changes text := tollgate_changes(tg_op);
begin
  execute case tg_table_name
    when 'cost_cells' then tollgate_add_to_cost_days(changes)
    when 'run_costs' then tollgate_add_to_run_days(changes)
    when 'outcome_costs' then tollgate_add_to_outcome_days(changes)
  end;
  return null;
end $$;
--> statement-breakpoint

create trigger cost_cells_inserted_by_day after insert on cost_cells
  referencing new table as added for each statement execute function tollgate_keep_days();
--> statement-breakpoint
create trigger cost_cells_updated_by_day after update on cost_cells
  referencing old table as taken new table as added for each statement execute function tollgate_keep_days();
--> statement-breakpoint
create trigger cost_cells_deleted_by_day after delete on cost_cells
  referencing old table as taken for each statement execute function tollgate_keep_days();
--> statement-breakpoint
create trigger run_costs_inserted_by_day after insert on run_costs
  referencing new table as added for each statement execute function tollgate_keep_days();
--> statement-breakpoint
create trigger run_costs_updated_by_day after update on run_costs
  referencing old table as taken new table as added for each statement execute function tollgate_keep_days();
--> statement-breakpoint
create trigger run_costs_deleted_by_day after delete on run_costs
  referencing old table as taken for each statement execute function tollgate_keep_days();
--> statement-breakpoint
create trigger outcome_costs_inserted_by_day after insert on outcome_costs
  referencing new table as added for each statement execute function tollgate_keep_days();
--> statement-breakpoint
create trigger outcome_costs_updated_by_day after update on outcome_costs
  referencing old table as taken new table as added for each statement execute function tollgate_keep_days();
--> statement-breakpoint
create trigger outcome_costs_deleted_by_day after delete on outcome_costs
  referencing old table as taken for each statement execute function tollgate_keep_days();
