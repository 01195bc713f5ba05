-- Windows of time: when that of a meter begins and ends, the quarters of an hour that roll-ups are made of, and how a
-- moment is told.

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

-- When the window that holds `at` began. 'none' is one window for ever. A day begins once: with the first of two
-- midnights.
create function tollgate_window_start(window_kind text, at timestamptz, time_zone text) returns timestamptz
language sql stable parallel safe
as $$
  select case
    when window_kind = 'none' then timestamptz 'epoch'
    when window_kind in ('minute', 'hour') then date_trunc(window_kind, at, time_zone)
    else tollgate_first_at(date_trunc(window_kind, at at time zone time_zone), time_zone)
  end
$$;
--> statement-breakpoint

-- When it ends: null for one that never does. Calendar windows end at the next local boundary, so a day
-- of 23 or 25 hours ends when it ends; a minute or an hour is that long.
create function tollgate_window_end(window_kind text, at timestamptz, time_zone text) returns timestamptz
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

-- The quarter of an hour that holds `at`: the least difference between two time zones, so that the days of each are
-- made of whole ones.
create function tollgate_quarter(at timestamptz) returns timestamptz
language sql immutable
return date_bin('15 minutes', at, '2000-01-01T00:00:00Z');
--> statement-breakpoint

-- A moment as JSON writes it.
create function tollgate_iso(at timestamptz) returns text
language sql stable
as $$ select to_char(at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') $$;
