-- What tables are made of: a default reads the clock, and an index is of classes. So both are here before any table.

-- The one clock of the ledger. Every moment that decides something (windows, deadlines, expiry) is read
-- here, so that replicas with clocks of their own agree; a test moves time by replacing this function.
create function tollgate_now() returns timestamptz
language sql stable parallel safe
as $$ select clock_timestamp() $$;
--> statement-breakpoint

-- The class of a cost: its first two digits. No logarithm, whose last digit is the machine's: the same cost is in the
-- same class wherever the index was made.
create function tollgate_cost_class(amount numeric) returns numeric
language sql immutable strict parallel safe
return trunc(amount, 2 - length(abs(amount)::text));
