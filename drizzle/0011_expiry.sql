-- What nobody settled: it becomes unknown, and gives back its room in flight. Its money stays held until it is settled.

-- Reservations that nobody will settle: past their deadline, or of a replica that stopped renewing its
-- lease. They become unknown and keep the money they hold; time never releases it.
create function tollgate_expire(lease interval, most int) returns int
language sql
as $$
  with lost as (
    select r.tenant_id, r.attempt_id
    from reservations r
    where r.state = 'open'
      and (r.deadline_at < tollgate_now()
           or r.replica_id <> 'caller'
           and not exists (select from replicas p where p.replica_id = r.replica_id
                           and p.seen_at > tollgate_now() - lease))
    order by r.tenant_id, r.attempt_id
    limit most
    for update skip locked
  ), marked as (
    update reservations r set state = 'unknown', unknown_at = tollgate_now()
    from lost where r.tenant_id = lost.tenant_id and r.attempt_id = lost.attempt_id
    returning 1
  )
  select count(*)::int from marked
$$;
--> statement-breakpoint

-- What is unknown of an attempt is its cost, not whether it still flies: its owner has given it up. So its
-- room in flight goes back at once, while its money stays held. Answers how many reservations gave back.
-- Waits for meters, as any settlement does, and in the same order; a reservation that somebody has
-- locked is being ended or marked, and is left to them or to the next call.
create function tollgate_give_back(most int) returns int
language plpgsql
as $$
declare
  a_tenant text[];
  a_attempt text[];
  given int;
begin
  select array_agg(c.tenant_id), array_agg(c.attempt_id) into a_tenant, a_attempt
  from (
    select r.tenant_id, r.attempt_id
    from reservations r
    where r.state = 'unknown'
      and exists (select from unnest(r.meter_units, r.amounts) as d(unit, amount)
                  where d.unit = 'in_flight' and d.amount > 0)
    order by r.tenant_id, r.attempt_id
    limit most
  ) as c;
  if a_tenant is null then
    return 0;
  end if;

  perform from (
    select m.meter_id
    from meters m
    where (m.tenant_id, m.meter_id) in (
      select r.tenant_id, d.meter_id
      from unnest(a_tenant, a_attempt) as u(t, a)
      join reservations r on r.tenant_id = u.t and r.attempt_id = u.a
      cross join unnest(r.meter_ids, r.meter_units) as d(meter_id, unit)
      where d.unit = 'in_flight')
    order by m.meter_id
    for update
  ) as locked;

  -- Read again behind the locks: another call may have given back what was found above.
  with taken as (
    select r.tenant_id, r.attempt_id, r.meter_ids, r.meter_units, r.amounts
    from reservations r
    where (r.tenant_id, r.attempt_id) in (select * from unnest(a_tenant, a_attempt))
      and r.state = 'unknown'
      and exists (select from unnest(r.meter_units, r.amounts) as d(unit, amount)
                  where d.unit = 'in_flight' and d.amount > 0)
    order by r.tenant_id, r.attempt_id
    for update skip locked
  ), emptied as (
    update reservations r
    set amounts = (
      select array_agg(case d.unit when 'in_flight' then 0 else d.amount end order by d.place)
      from unnest(taken.meter_units, taken.amounts) with ordinality as d(unit, amount, place))
    from taken
    where r.tenant_id = taken.tenant_id and r.attempt_id = taken.attempt_id
  ), lowered as (
    update meters m set reserved = m.reserved - sums.amount
    from (
      select taken.tenant_id, d.meter_id, sum(d.amount) as amount
      from taken
      cross join unnest(taken.meter_ids, taken.meter_units, taken.amounts)
        as d(meter_id, unit, amount)
      where d.unit = 'in_flight'
      group by taken.tenant_id, d.meter_id
    ) as sums
    where m.tenant_id = sums.tenant_id and m.meter_id = sums.meter_id
  )
  select count(*)::int into given from taken;
  return given;
end $$;
