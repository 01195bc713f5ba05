-- What a step of the roll-up left to a tenant's own turns: outcomes of very many runs, runs of very many outcomes, and
-- values that a type of outcomes was given anew. So whoever has thousands of them waits for himself alone.

-- Finds the pairs of outcomes and runs that the roll-up left to their tenant, at most so many and one thing's more:
-- first the runs of outcomes, then the outcomes of runs, which all are to be told anew. Answers how many.
create function tollgate_bind_stale(tenant text, most int) returns int
language plpgsql
set enable_seqscan = off
set enable_mergejoin = off
set jit = off
as $$
#variable_conflict use_column
declare
  v record;
  found_ids text[];
  last text := '';
  done int := 0;
begin
  while done < most loop
    select s.root_id, s.bound_to, s.since, o.subject_kind, o.subject into v
    from stale_outcomes s join outcomes o on o.tenant_id = s.tenant_id and o.outcome_id = s.root_id
    where s.tenant_id = tenant and s.bound_to is not null and s.root_id > last and s.due_at <= tollgate_now()
    order by s.root_id limit 1;
    exit when not found;
    last := v.root_id;
    select array_agg(f.run_id) into found_ids
    from tollgate_runs_of(tenant, v.subject_kind, v.subject, v.bound_to, most - done) as f;
    -- Whoever bears one of them already bears a smaller part from now on.
    insert into stale_runs (tenant_id, run_id, since)
    select tenant, u.run, v.since
    from unnest(found_ids) as u(run)
    where exists (
      select from outcome_runs b where b.tenant_id = tenant and b.run_id = u.run and b.root_id <> v.root_id)
    on conflict (tenant_id, run_id) do update set marked_to = '';
    insert into outcome_runs (tenant_id, root_id, run_id)
    select tenant, v.root_id, u.run from unnest(found_ids) as u(run)
    on conflict do nothing;
    update run_costs c
    set outcomes = (select count(*) from outcome_runs b where b.tenant_id = tenant and b.run_id = c.run_id)
    where c.tenant_id = tenant and c.closing_id = '' and c.run_id = any (found_ids);
    update stale_outcomes s
    set bound_to = case when cardinality(found_ids) = most - done then found_ids[cardinality(found_ids)] end
    where s.tenant_id = tenant and s.root_id = v.root_id;
    done := done + 1 + coalesce(cardinality(found_ids), 0);
  end loop;

  last := '';
  while done < most loop
    select s.run_id, s.marked_to, s.since into v
    from stale_runs s where s.tenant_id = tenant and s.run_id > last and s.due_at <= tollgate_now()
    order by s.run_id limit 1;
    exit when not found;
    last := v.run_id;
    with about as (
      select 'run' as kind, family.run as name
      from (values (v.run_id)) as one(run)
      left join lateral (
        select r.ancestors from runs r where r.tenant_id = tenant and r.run_id = one.run
      ) as r on true
      cross join lateral unnest(coalesce(r.ancestors, '{}') || one.run) as family(run)
      union all
      select 'operation', p.operation from operation_runs p where p.tenant_id = tenant and p.run_id = v.run_id
    )
    select array_agg(o.root_id) into found_ids
    from (
      select o.root_id
      from about a
      cross join lateral (
        select o.root_id from outcomes o
        where o.tenant_id = tenant and o.subject_kind = a.kind and o.subject = a.name
          and o.supersedes is null
        offset 0
      ) as o
      where o.root_id > v.marked_to
      order by o.root_id limit most - done
    ) as o;
    insert into outcome_runs (tenant_id, root_id, run_id)
    select tenant, u.root, v.run_id from unnest(found_ids) as u(root)
    on conflict do nothing;
    update run_costs c
    set outcomes = (select count(*) from outcome_runs b where b.tenant_id = tenant and b.run_id = v.run_id)
    where c.tenant_id = tenant and c.closing_id = '' and c.run_id = v.run_id;
    insert into stale_outcomes (tenant_id, root_id, since)
    select tenant, u.root, v.since from unnest(found_ids) as u(root)
    on conflict do nothing;
    if cardinality(found_ids) = most - done then
      update stale_runs s set marked_to = found_ids[cardinality(found_ids)]
      where s.tenant_id = tenant and s.run_id = v.run_id;
    else
      delete from stale_runs s where s.tenant_id = tenant and s.run_id = v.run_id;
    end if;
    done := done + 1 + coalesce(cardinality(found_ids), 0);
  end loop;
  return done;
end $$;
--> statement-breakpoint

-- Gives outcomes the value that their type has now, where they say none of their own: at most so many of a tenant are
-- looked at. Answers how many, and one more.
create function tollgate_revalue(tenant text, most int) returns int
language plpgsql
set enable_seqscan = off
set jit = off
as $$
declare
  v record;
  roots text[];
begin
  select t.name, t.value_picousd, t.revalued_to into v
  from outcome_types t where t.tenant_id = tenant and t.revalued_to is not null
  order by t.name limit 1 for update;
  if not found then
    return 0;
  end if;
  select array_agg(c.root_id) into roots
  from (
    select c.root_id from outcome_costs c
    where c.tenant_id = tenant and c.closing_id = '' and c.root_id > v.revalued_to
    order by c.root_id limit most
  ) as c;
  update outcome_costs c set value_picousd = v.value_picousd
  where c.tenant_id = tenant and c.closing_id = '' and c.root_id = any (roots) and c.type = v.name
    and c.value_picousd is distinct from v.value_picousd
    and not exists (
      select from outcomes l
      where l.tenant_id = c.tenant_id and l.root_id = c.root_id and l.value_picousd is not null
        and not exists (select from outcomes n where n.tenant_id = l.tenant_id and n.supersedes = l.outcome_id));
  update outcome_types t
  set revalued_to = case when cardinality(roots) = most then roots[most] end
  where t.tenant_id = tenant and t.name = v.name;
  return 1 + coalesce(cardinality(roots), 0);
end $$;
--> statement-breakpoint

-- Does what a tenant's outcomes wait for, one measure of it: gives them their type's value, binds them to their
-- runs, or tells what they cost now, the stalest first. Answers how much that was: nothing also where another
-- connection rolls up or tells.
create function tollgate_tell_stale(tenant text, most int, pairs int) returns int
language plpgsql
set enable_seqscan = off
set jit = off
as $$
declare
  done int;
  roots text[];
begin
  perform from roll_up_state s where s.one = 1 for update skip locked;
  if not found then
    return 0;
  end if;
  done := tollgate_revalue(tenant, pairs);
  if done = 0 then
    done := tollgate_bind_stale(tenant, pairs);
  end if;
  if done > 0 then
    return done;
  end if;
  with taken as (
    delete from stale_outcomes
    where tenant_id = tenant and root_id in (
      select o.root_id from stale_outcomes o
      where o.tenant_id = tenant and o.due_at <= tollgate_now() and o.bound_to is null
      order by o.due_at, o.root_id limit most
    )
    returning root_id
  )
  select array_agg(root_id) into roots from taken;
  if roots is null then
    return 0;
  end if;
  perform tollgate_tell_outcomes(array_fill(tenant, array[cardinality(roots)]), roots);
  return cardinality(roots);
end $$;
