-- When things were, and whose: no report says that it is of a later moment than all that is in it; days begin with
-- the first of two midnights; and a run is whose its first call says, whichever of its calls ends first.

ALTER TABLE "period_closings" ADD COLUMN "as_of" timestamp (6) with time zone;
--> statement-breakpoint

-- The first moment that a clock in the zone shows so. Where clocks are put back over midnight (the Azores, Havana)
-- it shows each time of an hour twice, and `at time zone` takes the second. No zone puts midnight back by another
-- difference than an hour. Without a table to read from, so that it becomes a part of the query that asks.
create function tollgate_first_at(shown timestamp, zone text) returns timestamptz
language sql stable parallel safe
return case
  when ((shown at time zone zone) - interval '1 hour') at time zone zone = shown
    then (shown at time zone zone) - interval '1 hour'
  else shown at time zone zone
end;
--> statement-breakpoint

-- As it was, and a day begins once.
create or replace function tollgate_window_start(window_kind text, at timestamptz, time_zone text) returns timestamptz
language sql stable parallel safe
as $$
  select case
    when window_kind = 'none' then timestamptz 'epoch'
    when window_kind in ('minute', 'hour') then date_trunc(window_kind, at, time_zone)
    else tollgate_first_at(date_trunc(window_kind, at at time zone time_zone), time_zone)
  end
$$;
--> statement-breakpoint

create or replace function tollgate_window_end(window_kind text, at timestamptz, time_zone text) returns timestamptz
language sql stable parallel safe
as $$
  select case
    when window_kind = 'none' then null
    when window_kind in ('minute', 'hour') then
      date_trunc(window_kind, at, time_zone) + ('1 ' || window_kind)::interval
    else tollgate_first_at(date_trunc(window_kind, at at time zone time_zone) + ('1 ' || window_kind)::interval, time_zone)
  end
$$;
--> statement-breakpoint

-- For a few lines of long functions: puts one text for another wherever it stands, and stops where it does not.
create function tollgate_mend(name regproc, was text, becomes text) returns void
language plpgsql
as $$
declare
  definition constant text := pg_get_functiondef(name);
begin
  if strpos(definition, was) = 0 then
    raise exception '% has no "%"', name, was;
  end if;
  execute replace(definition, was, becomes);
end $$;
--> statement-breakpoint

-- What writes has its number before it reads the clock. So what was recorded before a moment has a smaller number
-- than whoever takes one after it, however long it waits for a row in between.
select tollgate_mend('tollgate_settle', E'  v_now timestamptz := tollgate_now();\n', E'  v_id xid8 := pg_current_xact_id();\n  v_now timestamptz := tollgate_now();\n');
--> statement-breakpoint
select tollgate_mend('tollgate_post', E'  v_now := tollgate_now();\n', E'  perform pg_current_xact_id();\n  v_now := tollgate_now();\n');
--> statement-breakpoint

-- The other half: the roll-up takes its number after its moment. The end of its snapshot will not do, which is behind
-- the last that has ended: what began since then and goes on is beyond it.
select tollgate_mend('tollgate_roll_up', E'  v_now timestamptz := tollgate_now();\n  v_begun bigint := pg_snapshot_xmax(pg_current_snapshot())::text::bigint;\n', E'  v_now timestamptz;\n  v_begun bigint;\n');
--> statement-breakpoint
select tollgate_mend('tollgate_roll_up', E'  v_until := pg_snapshot_xmin', E'  v_now := tollgate_now();\n  v_begun := pg_current_xact_id()::text::bigint;\n  v_until := pg_snapshot_xmin');
--> statement-breakpoint

-- An earlier call than those that are known says whose its run is; and any call, where only adjustments are known.
select tollgate_mend('tollgate_roll_up', E'      set started_at = least(c.started_at, excluded.started_at), last_at', E'      set (started_at, key_id, customer, workflow, labels) = (
            select f.started_at, f.key_id, f.customer, f.workflow, f.labels
            from (values (c.started_at, c.key_id, c.customer, c.workflow, c.labels),
                         (excluded.started_at, excluded.key_id, excluded.customer, excluded.workflow, excluded.labels))
              as f(started_at, key_id, customer, workflow, labels)
            order by f.key_id = \'\', f.started_at limit 1
          ),
          last_at');
--> statement-breakpoint
drop function tollgate_mend(regproc, text, text);
