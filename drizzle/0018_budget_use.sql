-- How budgets are used: which of them moved, and how fast. Alerts are made of both.

-- What a key, a model, a tool, a customer or the tenant itself used in the last hour, per hour: of the quarters of an
-- hour that have been rolled up, from the beginning of the one an hour ago. Null where its limit names a model by an
-- alias, which the roll-ups do not know. What an operator adjusts is not used by the hour.
create function tollgate_hourly_rate(tenant text, scope text, subject text, unit text, at timestamptz)
returns numeric
language sql stable
set enable_seqscan = off
set enable_mergejoin = off
set enable_hashjoin = off
set jit = off
as $$
  with since as (
    select tollgate_quarter(at) - interval '1 hour' as start
  ), used as (
    select c.cost_picousd, c.tokens
    from since
    cross join lateral (
      select c.* from cost_cells c
      where scope <> 'each_customer' and c.tenant_id = tenant and c.bucket >= since.start offset 0
    ) as c
    cross join lateral (
      select d.* from cost_dimensions d
      where d.tenant_id = tenant and d.dimension_id = c.dimension_id and d.basis <> 'adjustment' offset 0
    ) as d
    where scope = 'tenant' or (scope = 'key' and d.key_id = subject)
      or (scope = 'model' and subject in (d.model, d.upstream || '/' || d.model))
      or (scope = 'tool' and d.tool = subject)
    union all
    select c.cost_picousd, c.tokens
    from since
    cross join lateral (
      select c.* from run_cells c
      where scope = 'each_customer' and c.tenant_id = tenant and c.bucket >= since.start offset 0
    ) as c
    cross join lateral (
      select d.customer from cost_dimensions d
      where d.tenant_id = tenant and d.dimension_id = c.dimension_id and d.basis <> 'adjustment' offset 0
    ) as d
    where d.customer = subject
  )
  select round((select sum(case unit when 'usd' then u.cost_picousd else u.tokens end) from used u)
               * 3600 / extract(epoch from at - since.start))
  from since
$$;
--> statement-breakpoint

-- The meters that settlements of these transactions moved, each in its window. A settlement names them by their
-- numbers: what was recorded of its decision is not read.
-- Without those of runs and operations: who is refused there is told so at once, and they are as many as calls.
create function tollgate_moved_budgets(first bigint, last bigint) returns table (
  tenant_id text, limit_id text, subject text, scope_kind text, unit text, window_kind text, amount numeric,
  window_start timestamptz, window_end timestamptz, committed numeric, reserved numeric
)
language sql stable
set enable_seqscan = off
set enable_mergejoin = off
set enable_hashjoin = off
set jit = off
as $$
  with touched as materialized (
    select distinct s.tenant_id, d.meter_id
    from settlements s
    cross join lateral unnest(s.meter_ids, s.meter_units) as d(meter_id, unit)
    where s.posted_in >= first and s.posted_in < last and d.unit in ('usd', 'tokens')
  )
  select t.tenant_id, m.limit_id, m.subject, l.scope_kind, l.unit, l.window_kind, l.amount, m.window_start,
         tollgate_window_end(l.window_kind, m.window_start, l.time_zone), m.committed, m.reserved
  from touched t
  cross join lateral (
    select m.* from meters m where m.tenant_id = t.tenant_id and m.meter_id = t.meter_id offset 0
  ) as m
  cross join lateral (
    select l.* from limits l where l.tenant_id = t.tenant_id and l.limit_id = m.limit_id offset 0
  ) as l
  where l.removed_at is null and l.mode = 'enforce' and l.amount > 0
    -- A minute is over before anybody reads that half of it is used.
    and l.window_kind <> 'minute'
    and ((l.scope_kind = 'tenant' and m.subject = '') or l.scope_kind = 'each_customer'
         or (l.scope_kind in ('key', 'model', 'tool') and m.subject = l.scope_id))
$$;
