-- Settling ends a batch: reservations become settlements, once each, in any order, and meters are moved by what was
-- used in place of what was held.
--
-- Lock order. Reservations by key, then meters by meter_id, as late as can be: whoever waits for a reservation holds
-- no meter.

-- Arguments are array literals as text, one element per attempt; `usages` and `records` are one JSON document per line.
-- An attempt whose reservation is gone and whose settlement was a presumption (also that of an attempt
-- without a price, which presumes no cost) is corrected, once, by the difference; any other repeat
-- changes nothing. 'settled' | 'corrected' | 'repeated' | 'missing'.
create function tollgate_settle(
  tenant_ids text, attempt_ids text, endings text, bases text, costs text, tokens text, requests text,
  price_versions text, usages text, records text
) returns table (ask int, outcome text, overage numeric)
language plpgsql
-- Planned once, for tables of any size: a plan made while they were small would scan them for ever after.
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_mergejoin = off
set jit = off
as $$
#variable_conflict use_column
declare
  -- Its number before its moment: what was recorded before a moment has a smaller number than whoever takes one
  -- after it, however long it waits for a row in between.
  v_id xid8 := pg_current_xact_id();
  v_now timestamptz := tollgate_now();
  n constant int := cardinality(attempt_ids::text[]);
  a_outcome text[] := array_fill('missing'::text, array[n]);
  a_overage numeric[] := array_fill(0::numeric, array[n]);
  -- What was taken or corrected: its place among the arguments, and what it moves on which meters.
  t_ask int[]; t_overage numeric[];
  s_tenant text[]; s_meter bigint[]; s_committed numeric[]; s_released numeric[];
  r_outcome text[]; c_tenant text[]; c_meter bigint[]; c_committed numeric[]; c_released numeric[];
  i int;
begin
  -- In the order of their keys: two settlements of one attempt wait for each other here, and whoever comes
  -- later finds no reservation. The meters come last, so that postings wait for them as shortly as can be.
  with asked as (
    select distinct on (u.t, u.a) u.*
    from unnest(tenant_ids::text[], attempt_ids::text[], endings::text[], bases::text[], costs::numeric[],
                tokens::bigint[], requests::bigint[], price_versions::text[],
                string_to_array(usages, E'\n'), string_to_array(records, E'\n'))
      with ordinality as u(t, a, ending, basis, cost, tokens, requests, price, usage, record, n)
    order by u.t, u.a, u.n
  ), taken as (
    delete from reservations r using asked
    where r.tenant_id = asked.t and r.attempt_id = asked.a
    returning asked.*, r.cost_picousd as reserved, r.meter_ids, r.meter_units, r.amounts,
              greatest(0, coalesce(asked.cost - r.cost_picousd, 0)) as overage
  ), written as (
    insert into settlements (tenant_id, attempt_id, line, ending, basis, cost_picousd,
                             reserved_picousd, overage_picousd, tokens, price_version, usage, record,
                             meter_ids, meter_units, settled_at)
    select t, a, 0, ending, basis, cost, reserved, overage, tokens, price, usage::json, record::json,
           meter_ids, meter_units, v_now
    from taken
  ), sums as (
    select taken.t, d.meter_id, sum(d.amount) as released,
           sum(case d.unit when 'usd' then coalesce(taken.cost, 0) when 'tokens' then taken.tokens
                           when 'requests' then taken.requests
                           -- A retry is drawn by its being made, whatever becomes of it.
                           when 'attempts' then d.amount else 0 end) as committed
    from taken
    cross join unnest(taken.meter_ids, taken.meter_units, taken.amounts) as d(meter_id, unit, amount)
    group by taken.t, d.meter_id
  )
  select told.ask, told.overage, sum.tenant, sum.meter, sum.committed, sum.released
    into t_ask, t_overage, s_tenant, s_meter, s_committed, s_released
  from (select array_agg(n::int) as ask, array_agg(overage) as overage from taken) as told,
       (select array_agg(t) as tenant, array_agg(meter_id) as meter, array_agg(committed) as committed,
               array_agg(released) as released from sums) as sum;
  for i in 1..coalesce(cardinality(t_ask), 0) loop
    a_outcome[t_ask[i]] := 'settled';
    a_overage[t_ask[i]] := t_overage[i];
  end loop;

  -- Those without a reservation are few: repeats, and evidence about what was presumed. A new statement,
  -- so it sees what the settlement wrote that it waited for above.
  if coalesce(cardinality(t_ask), 0) < n then
    with asked as (
      select u.*
      from unnest(tenant_ids::text[], attempt_ids::text[], endings::text[], bases::text[],
                  costs::numeric[], tokens::bigint[], requests::bigint[], price_versions::text[],
                  string_to_array(usages, E'\n'), string_to_array(records, E'\n'), a_outcome)
        with ordinality as u(t, a, ending, basis, cost, tokens, requests, price, usage, record, outcome, n)
      where u.outcome = 'missing'
    ), known as (
      -- By key, one by one: a plan made while the table is empty must not read all of it for ever after.
      select first.*, second.line is not null as is_corrected
      from (select distinct t, a from asked) as d
      cross join lateral (
        select s.* from settlements s
        where s.tenant_id = d.t and s.attempt_id = d.a and s.line = 0 offset 0
      ) as first
      left join lateral (
        select s.line from settlements s
        where s.tenant_id = d.t and s.attempt_id = d.a and s.line = 1 offset 0
      ) as second on true
    ), evidence as (
      select distinct on (asked.t, asked.a) asked.*, known.cost_picousd as presumed,
             known.reserved_picousd as reserved, known.tokens as presumed_tokens, known.meter_ids,
             known.meter_units
      from asked
      join known on known.tenant_id = asked.t and known.attempt_id = asked.a
      where (known.basis = 'presumed' or known.ending = 'unknown') and not known.is_corrected
        and asked.basis <> 'presumed' and asked.ending <> 'unknown'
      order by asked.t, asked.a, asked.n
    ), corrected as (
      insert into settlements (tenant_id, attempt_id, line, ending, basis, cost_picousd,
                               reserved_picousd, overage_picousd, tokens, price_version, usage, record,
                               meter_ids, meter_units, settled_at)
      select t, a, 1, ending, basis, cost - coalesce(presumed, 0), reserved,
             greatest(0, coalesce(cost - reserved, 0)), tokens - presumed_tokens, price, usage::json,
             record::json, meter_ids, meter_units, v_now
      from evidence
      -- Of two corrections at once the second writes nothing, and so moves nothing.
      on conflict do nothing
      returning tenant_id, attempt_id, cost_picousd, tokens, overage_picousd
    ), moved as (
      select evidence.n, corrected.*, evidence.requests, evidence.meter_ids, evidence.meter_units
      from corrected
      join evidence on evidence.t = corrected.tenant_id and evidence.a = corrected.attempt_id
    ), sums as (
      select moved.tenant_id, d.meter_id,
             sum(case d.unit when 'usd' then coalesce(moved.cost_picousd, 0) when 'tokens' then moved.tokens
                             when 'requests' then moved.requests - 1 else 0 end) as committed
      from moved
      cross join unnest(moved.meter_ids, moved.meter_units) as d(meter_id, unit)
      group by moved.tenant_id, d.meter_id
    ), told as (
      select asked.n::int as ask, coalesce(moved.overage_picousd, 0) as overage,
             case when moved.n is not null then 'corrected'
                  when known.attempt_id is not null then 'repeated' else 'missing' end as outcome
      from asked
      left join known on known.tenant_id = asked.t and known.attempt_id = asked.a
      left join moved on moved.n = asked.n
    )
    select all_told.ask, all_told.overage, all_told.outcome, sum.tenant, sum.meter, sum.committed, sum.released
      into t_ask, t_overage, r_outcome, c_tenant, c_meter, c_committed, c_released
    from (select array_agg(ask) as ask, array_agg(overage) as overage, array_agg(outcome) as outcome
          from told) as all_told,
         (select array_agg(tenant_id) as tenant, array_agg(meter_id) as meter,
                 array_agg(committed) as committed, array_agg(0::numeric) as released from sums) as sum;
    for i in 1..coalesce(cardinality(t_ask), 0) loop
      a_outcome[t_ask[i]] := r_outcome[i];
      a_overage[t_ask[i]] := t_overage[i];
    end loop;
    s_tenant := s_tenant || c_tenant;
    s_meter := s_meter || c_meter;
    s_committed := s_committed || c_committed;
    s_released := s_released || c_released;
  end if;

  -- In the order of their ids, like every posting.
  with locked as (
    select m.tenant_id, m.meter_id, u.committed, u.released
    from (
      select u.t, u.id, sum(u.committed) as committed, sum(u.released) as released
      from unnest(s_tenant, s_meter, s_committed, s_released) as u(t, id, committed, released)
      group by u.t, u.id
    ) as u
    join meters m on m.tenant_id = u.t and m.meter_id = u.id
    order by m.meter_id
    for update of m
  )
  update meters m set committed = m.committed + locked.committed, reserved = m.reserved - locked.released
  from locked
  where m.tenant_id = locked.tenant_id and m.meter_id = locked.meter_id;

  return query
  select u.ask::int, u.outcome, u.overage
  from unnest(a_outcome, a_overage) with ordinality as u(outcome, overage, ask);
end $$;
