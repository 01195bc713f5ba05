-- Which runs an outcome bears, and which part of the cost of each is its own.

-- The runs that an outcome on this subject bears, behind `behind`, at most so many. Without settings of its own: so
-- it becomes a part of the query that asks.
create function tollgate_runs_of(tenant text, kind text, subject text, behind text, most int)
returns table (run_id text)
language sql stable
as $$
  select f.run_id
  from (
    (select p.run_id from operation_runs p
     where kind = 'operation' and p.tenant_id = tenant and p.operation = subject and p.run_id > behind
     order by p.run_id limit most)
    union all
    (select b.run_id
     from (
       select r.run_id from runs r
       where kind = 'run' and r.tenant_id || '' = tenant and r.ancestors @> array[subject] and r.ancestors <> '{}'
       offset 0
     ) as b
     where b.run_id > behind
     order by b.run_id limit most)
    union all
    select subject collate "C" where kind = 'run' and subject collate "C" > behind
  ) as f(run_id)
  order by f.run_id limit most
$$;
--> statement-breakpoint

-- Each outcome's part of each cell of its runs, for the roots named. A run that several outcomes share is
-- split by their weights, equally where all are 0; what does not divide goes to the oldest, so that the
-- parts are the whole.
create function tollgate_outcome_parts(tenants text[], roots text[]) returns table (
  tenant_id text, root_id text, run_id text, bucket timestamptz, dimension_id uuid, step text, attempts bigint,
  retries bigint, cost numeric, wasted numeric, tokens bigint
)
language sql stable
set enable_seqscan = off
set enable_mergejoin = off
set jit = off
as $$
  with wanted as (
    select u.t, u.r from unnest(tenants, roots) as u(t, r)
  ), shared as (
    select distinct o.tenant_id, o.run_id
    from wanted w
    cross join lateral (
      select b.tenant_id, b.run_id from outcome_runs b where b.tenant_id = w.t and b.root_id = w.r offset 0
    ) as o
  ), bearer as (
    select s.tenant_id, s.run_id, o.root_id, latest.weight,
           sum(latest.weight) over (partition by s.tenant_id, s.run_id) as whole,
           count(*) over (partition by s.tenant_id, s.run_id) as bearers,
           row_number() over (partition by s.tenant_id, s.run_id order by o.root_id) as place
    from shared s
    cross join lateral (
      select b.tenant_id, b.root_id from outcome_runs b
      where b.tenant_id = s.tenant_id and b.run_id = s.run_id offset 0
    ) as o
    cross join lateral (
      select l.weight from outcomes l
      where l.tenant_id = o.tenant_id and l.root_id = o.root_id
        and not exists (select from outcomes n where n.tenant_id = l.tenant_id and n.supersedes = l.outcome_id)
    ) as latest
  ), part as (
    select b.tenant_id, b.root_id, b.place, c.run_id, c.bucket, c.dimension_id, c.step, c.attempts, c.retries,
           c.cost_picousd as cost, c.wasted_picousd as wasted, c.tokens,
           case when b.whole = 0 then 1 else b.weight end::numeric as weight,
           case when b.whole = 0 then b.bearers else b.whole end::numeric as whole
    from bearer b
    cross join lateral (
      select c.* from run_cells c where c.tenant_id = b.tenant_id and c.run_id = b.run_id offset 0
    ) as c
  ), floored as (
    select part.*, div(cost * weight, whole) as cost_floor, div(wasted * weight, whole) as wasted_floor
    from part
  ), whole as (
    select f.*,
           f.cost - sum(f.cost_floor) over cell as cost_left, f.wasted - sum(f.wasted_floor) over cell as wasted_left
    from floored f
    window cell as (partition by f.tenant_id, f.run_id, f.bucket, f.dimension_id, f.step)
  )
  select p.tenant_id, p.root_id, p.run_id, p.bucket, p.dimension_id, p.step, p.attempts, p.retries,
         p.cost_floor + case p.place when 1 then p.cost_left else 0 end,
         p.wasted_floor + case p.place when 1 then p.wasted_left else 0 end, p.tokens
  from whole p
  join wanted w on w.t = p.tenant_id and w.r = p.root_id
$$;
