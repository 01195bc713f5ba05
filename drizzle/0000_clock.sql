-- The one clock of the ledger. Every moment that decides something (windows, deadlines, expiry) is read
-- here, so that replicas with clocks of their own agree; a test moves time by replacing this function.
create function tollgate_now() returns timestamptz
language sql stable parallel safe
as $$ select clock_timestamp() $$;
