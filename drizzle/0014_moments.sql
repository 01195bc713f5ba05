-- Days begin with the first of two midnights; and a closing says as of when its copies are.

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
