-- What outcomes cost: the sum of their parts of their runs, under what is said of them now.

-- Writes what these outcomes cost now. An adjustment is no cost of failure.
create function tollgate_tell_outcomes(tenants text[], roots text[]) returns void
language sql
set enable_seqscan = off
set enable_mergejoin = off
set jit = off
as $$
  with wanted as (
    select u.t, u.r from unnest(tenants, roots) as u(t, r)
  ), part as (
    select p.tenant_id, p.root_id,
           coalesce(sum(p.attempts) filter (where d.ending <> 'blocked'), 0) as attempts,
           coalesce(sum(p.attempts) filter (where d.ending = 'blocked'), 0) as blocked,
           sum(p.retries) as retries,
           coalesce(sum(p.attempts) filter (where d.basis = 'unpriced'), 0) as unpriced, sum(p.cost) as cost,
           coalesce(sum(p.cost) filter (where d.ending not in ('succeeded', 'adjusted')), 0) as failed,
           sum(p.wasted) as wasted,
           coalesce(sum(p.cost) filter (where d.basis in ('estimated', 'presumed')), 0) as estimated,
           sum(p.tokens) as tokens
    from tollgate_outcome_parts(tenants, roots) as p
    cross join lateral (
      select d.ending, d.basis from cost_dimensions d
      where d.tenant_id = p.tenant_id and d.dimension_id = p.dimension_id offset 0
    ) as d
    group by p.tenant_id, p.root_id
  )
  insert into outcome_costs (tenant_id, root_id, type, subject_kind, subject, key, status, value_picousd, occurred_at,
                             started_at, runs, key_id, customer, workflow, labels, attempts, blocked, retries,
                             unpriced, cost_picousd, failed_picousd, wasted_picousd, estimated_picousd, tokens)
  select w.t, w.r, o.type, o.subject_kind, o.subject, o.key, o.status,
         coalesce(o.value_picousd, kind.value_picousd), o.occurred_at, coalesce(began.started_at, o.occurred_at),
         began.runs, coalesce(began.key_id, o.recorded_by), coalesce(began.customer, ''),
         coalesce(began.workflow, ''), coalesce(began.labels, '{}'), coalesce(p.attempts, 0),
         coalesce(p.blocked, 0), coalesce(p.retries, 0), coalesce(p.unpriced, 0), coalesce(p.cost, 0),
         coalesce(p.failed, 0), coalesce(p.wasted, 0), coalesce(p.estimated, 0), coalesce(p.tokens, 0)
  from wanted w
  cross join lateral (
    select l.* from outcomes l
    where l.tenant_id = w.t and l.root_id = w.r
      and not exists (select from outcomes n where n.tenant_id = l.tenant_id and n.supersedes = l.outcome_id)
  ) as o
  left join outcome_types kind on kind.tenant_id = w.t and kind.name = o.type
  cross join lateral (
    select count(*)::int as runs, min(c.started_at) as started_at,
           (array_agg(c.key_id order by c.started_at, c.run_id))[1] as key_id,
           (array_agg(c.customer order by c.started_at, c.run_id))[1] as customer,
           (array_agg(c.workflow order by c.started_at, c.run_id))[1] as workflow,
           (array_agg(c.labels order by c.started_at, c.run_id))[1] as labels
    from outcome_runs e
    cross join lateral (
      select c.* from run_costs c
      where c.tenant_id = e.tenant_id and c.closing_id = '' and c.run_id = e.run_id offset 0
    ) as c
    where e.tenant_id = w.t and e.root_id = w.r
  ) as began
  left join part p on p.tenant_id = w.t and p.root_id = w.r
  on conflict (tenant_id, closing_id, root_id) do update
    set status = excluded.status, value_picousd = excluded.value_picousd, occurred_at = excluded.occurred_at,
        started_at = excluded.started_at, runs = excluded.runs, key_id = excluded.key_id,
        customer = excluded.customer, workflow = excluded.workflow, labels = excluded.labels,
        attempts = excluded.attempts, blocked = excluded.blocked, retries = excluded.retries,
        unpriced = excluded.unpriced, cost_picousd = excluded.cost_picousd,
        failed_picousd = excluded.failed_picousd, wasted_picousd = excluded.wasted_picousd,
        estimated_picousd = excluded.estimated_picousd, tokens = excluded.tokens
$$;
