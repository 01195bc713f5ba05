-- The roll-up follows the ledger: what was posted since is summed into cells, costs of runs and costs of outcomes,
-- which reports read.
-- `or replace`: databases of builds before 0.1.0 have these two as they were, which counted repeats of what was answered
-- among what was blocked.

-- Writes what these outcomes cost now. An adjustment is no cost of failure.
create or replace function tollgate_tell_outcomes(tenants text[], roots text[]) returns void
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
           -- A repeat was not refused; and what was refused is no attempt, nor a retry.
           coalesce(sum(p.attempts) filter (where d.ending = 'blocked'
             and d.reason <> all ('{duplicate_request,idempotency_in_progress}')), 0) as blocked,
           coalesce(sum(p.retries) filter (where d.ending <> 'blocked'), 0) as retries,
           coalesce(sum(p.attempts) filter (where d.basis = 'unpriced'), 0) as unpriced, sum(p.cost) as cost,
           coalesce(sum(p.cost) filter (where d.ending not in ('succeeded', 'adjusted')), 0) as failed,
           sum(p.wasted) as wasted,
           coalesce(sum(p.cost) filter (where d.basis in ('estimated', 'presumed')), 0) as estimated,
           sum(p.tokens) as tokens
    from tollgate_outcome_parts(tenants, roots) as p
    cross join lateral (
      select d.ending, d.basis, d.reason from cost_dimensions d
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
--> statement-breakpoint

-- Brings the roll-ups up to what was posted: at most so many lines of each kind, more only where one
-- transaction posted more. One caller at a time: whoever comes meanwhile gets no answer and goes on.
-- Every transaction below the oldest that still runs has ended, so what is read up to there is complete.
-- Summed are groups of entries that are alike in all but their amounts and moments: 18 µs of the processor a line where
-- a step of 5,000 lines is of one run, 36 where it is of 1,500.
-- No outcome and no run takes more of a step than its part: what an outcome of very many runs, or a run of very many
-- outcomes, asks for is left to its own tenant, see tollgate_tell_stale.
create or replace function tollgate_roll_up(most int) returns table (lines int, is_behind boolean)
language plpgsql
set enable_seqscan = off
set enable_mergejoin = off
set jit = off
as $$
#variable_conflict use_column
declare
  v_from bigint;
  v_until bigint;
  v_to bigint;
  v_now timestamptz;
  v_begun bigint;
  v_as_of timestamptz;
  v_lines int;
  r_tenant text[]; r_run text[]; r_new boolean[];
  n_tenant text[]; n_run text[]; n_operation text[];
  o_tenant text[]; o_root text[];
begin
  select s.rolled_up_to, s.as_of into v_from, v_as_of from roll_up_state s where s.one = 1 for update skip locked;
  if v_from is null then
    return;
  end if;
  -- Its number after its moment. The end of its snapshot will not do, which is behind the last that has ended: what
  -- began since then and goes on is beyond it.
  v_now := tollgate_now();
  v_begun := pg_current_xact_id()::text::bigint;
  v_until := pg_snapshot_xmin(pg_current_snapshot())::text::bigint;
  select least(v_until, min(b.x)) into v_to
  from (
    select (select s.posted_in from settlements s where s.posted_in >= v_from and s.posted_in < v_until
            order by s.posted_in offset most limit 1) as x
    union all
    select (select d.posted_in from decisions d
            where d.verdict <> 'allow' and d.posted_in >= v_from and d.posted_in < v_until
            order by d.posted_in offset most limit 1)
    union all
    select (select o.posted_in from outcomes o where o.posted_in >= v_from and o.posted_in < v_until
            order by o.posted_in offset most limit 1)
    union all
    select (select a.posted_in from adjustments a where a.posted_in >= v_from and a.posted_in < v_until
            order by a.posted_in offset most limit 1)
  ) as b;
  if v_to = v_from and v_from < v_until then
    v_to := v_from + 1;
  end if;

  -- Sums first: whatever is the same of many entries is told, compared and hashed once for all of them.
  with entry as materialized (
    select e.tenant_id, e.run_id, e.step, e.business, tollgate_quarter(e.at) as bucket, e.key_id, e.customer,
           e.workflow, e.labels, e.door, e.operation, e.upstream, e.model, e.tool, e.ending, e.basis, e.reason,
           e.price_version,
           md5(jsonb_build_array(e.key_id, e.customer, e.workflow, e.labels, e.door, e.operation, e.upstream,
                                 e.model, e.tool, e.ending, e.basis, e.reason, e.price_version)::text)::uuid
             as dimension_id,
           -- Customers and labels are many: where they stood in the cells of a quarter of an hour, there would be as
           -- many cells as attempts.
           md5(jsonb_build_array(e.key_id, e.workflow, e.door, e.operation, e.upstream, e.model, e.tool, e.ending,
                                 e.basis, e.reason, e.price_version)::text)::uuid as coarse_id,
           count(*) as lines, min(e.decided_at) as started_at, max(e.at) as last_at,
           -- In the order of moments, and of attempts at one moment: PostgreSQL sends a moment as a count of
           -- microseconds, the highest byte first.
           min(encode(timestamptz_send(e.decided_at), 'hex') || e.attempt_id collate "C") as earliest,
           sum(e.attempts)::bigint as attempts, sum(e.retries)::bigint as retries, sum(e.cost) as cost,
           sum(e.wasted) as wasted, sum(e.tokens)::bigint as tokens, sum(e.input_tokens)::bigint as input_tokens,
           sum(e.cached_tokens)::bigint as cached_tokens, sum(e.output_tokens)::bigint as output_tokens
    from tollgate_entries(v_from, v_to) as e
    group by e.tenant_id, e.run_id, e.step, e.business, tollgate_quarter(e.at), e.key_id, e.customer, e.workflow,
             e.labels, e.door, e.operation, e.upstream, e.model, e.tool, e.ending, e.basis, e.reason, e.price_version
  ), dimensions as (
    insert into cost_dimensions (tenant_id, dimension_id, key_id, customer, workflow, labels, door, operation,
                                 upstream, model, tool, ending, basis, reason, price_version)
    select distinct on (e.tenant_id, d.id) e.tenant_id, d.id, e.key_id, d.customer, e.workflow, d.labels, e.door,
           e.operation, e.upstream, e.model, e.tool, e.ending, e.basis, e.reason, e.price_version
    from entry e
    cross join lateral (
      values (e.dimension_id, e.customer, e.labels), (e.coarse_id, '', '{}'::jsonb)
    ) as d(id, customer, labels)
    on conflict do nothing
  ), costs as (
    insert into cost_cells as c (tenant_id, bucket, dimension_id, attempts, retries, cost_picousd, wasted_picousd,
                                 tokens, input_tokens, cached_tokens, output_tokens)
    select tenant_id, bucket, coarse_id, sum(attempts), sum(retries), sum(cost), sum(wasted), sum(tokens),
           sum(input_tokens), sum(cached_tokens), sum(output_tokens)
    from entry group by tenant_id, bucket, coarse_id
    on conflict (tenant_id, bucket, dimension_id) do update
      set attempts = c.attempts + excluded.attempts, retries = c.retries + excluded.retries,
          cost_picousd = c.cost_picousd + excluded.cost_picousd,
          wasted_picousd = c.wasted_picousd + excluded.wasted_picousd, tokens = c.tokens + excluded.tokens,
          input_tokens = c.input_tokens + excluded.input_tokens,
          cached_tokens = c.cached_tokens + excluded.cached_tokens,
          output_tokens = c.output_tokens + excluded.output_tokens
  ), cells as (
    insert into run_cells as c (tenant_id, run_id, bucket, dimension_id, step, attempts, retries, cost_picousd,
                                wasted_picousd, tokens)
    select tenant_id, run_id, bucket, dimension_id, step, sum(attempts), sum(retries), sum(cost), sum(wasted),
           sum(tokens)
    from entry group by tenant_id, run_id, bucket, dimension_id, step
    on conflict (tenant_id, run_id, bucket, dimension_id, step) do update
      set attempts = c.attempts + excluded.attempts, retries = c.retries + excluded.retries,
          cost_picousd = c.cost_picousd + excluded.cost_picousd,
          wasted_picousd = c.wasted_picousd + excluded.wasted_picousd, tokens = c.tokens + excluded.tokens
  ), of_runs as (
    select tenant_id, run_id, min(started_at) as started_at, max(last_at) as last_at,
           (array_agg(row(key_id, customer, workflow, labels)::tollgate_payer order by started_at, earliest))[1]
             as payer,
           coalesce(sum(attempts) filter (where ending <> 'blocked'), 0) as attempts,
           -- A repeat was not refused; and what was refused is no attempt, nor a retry.
           coalesce(sum(attempts) filter (where ending = 'blocked'
             and reason <> all ('{duplicate_request,idempotency_in_progress}')), 0) as blocked,
           coalesce(sum(retries) filter (where ending <> 'blocked'), 0) as retries,
           coalesce(sum(attempts) filter (where basis = 'unpriced'), 0) as unpriced, sum(cost) as cost,
           coalesce(sum(cost) filter (where ending not in ('succeeded', 'adjusted')), 0) as failed,
           sum(wasted) as wasted,
           coalesce(sum(cost) filter (where basis in ('estimated', 'presumed')), 0) as estimated,
           sum(tokens) as tokens
    from entry group by tenant_id, run_id
  ), runs_told as (
    insert into run_costs as c (tenant_id, run_id, started_at, last_at, key_id, customer, workflow, labels, attempts,
                                blocked, retries, unpriced, cost_picousd, failed_picousd, wasted_picousd,
                                estimated_picousd, tokens)
    select tenant_id, run_id, started_at, last_at, (payer).key_id, (payer).customer, (payer).workflow,
           (payer).labels, attempts, blocked, retries, unpriced, cost, failed, wasted, estimated, tokens
    from of_runs
    on conflict (tenant_id, closing_id, run_id) do update
      -- An earlier call than those that are known says whose its run is; and any call, where only adjustments are.
      set (started_at, key_id, customer, workflow, labels) = (
            select f.started_at, f.key_id, f.customer, f.workflow, f.labels
            from (values (c.started_at, c.key_id, c.customer, c.workflow, c.labels),
                         (excluded.started_at, excluded.key_id, excluded.customer, excluded.workflow, excluded.labels))
              as f(started_at, key_id, customer, workflow, labels)
            order by f.key_id = '', f.started_at limit 1
          ),
          last_at = greatest(c.last_at, excluded.last_at),
          attempts = c.attempts + excluded.attempts, blocked = c.blocked + excluded.blocked,
          retries = c.retries + excluded.retries, unpriced = c.unpriced + excluded.unpriced,
          cost_picousd = c.cost_picousd + excluded.cost_picousd,
          failed_picousd = c.failed_picousd + excluded.failed_picousd,
          wasted_picousd = c.wasted_picousd + excluded.wasted_picousd,
          estimated_picousd = c.estimated_picousd + excluded.estimated_picousd,
          tokens = c.tokens + excluded.tokens
    returning tenant_id, run_id, xmax = 0 as is_new
  ), named as (
    insert into operation_runs (tenant_id, operation, run_id)
    select distinct tenant_id, business, run_id from entry where business is not null
    on conflict do nothing
    returning tenant_id, run_id, operation
  )
  select (select sum(lines) from entry), array_agg(t.tenant_id), array_agg(t.run_id), array_agg(t.is_new),
         n.tenants, n.runs, n.operations
    into v_lines, r_tenant, r_run, r_new, n_tenant, n_run, n_operation
  from runs_told t
  cross join (
    select array_agg(n.tenant_id) as tenants, array_agg(n.run_id) as runs, array_agg(n.operation) as operations
    from named n
  ) as n
  group by n.tenants, n.runs, n.operations;
  v_lines := coalesce(v_lines, 0);

  -- Outcomes that were recorded, and those that a run joins which is new or newly works on an operation. An
  -- outcome may be of any number of runs and a run of thousands of outcomes: what is more than a part of a step
  -- is left to its own tenant's turns.
  with recorded as (
    select distinct o.tenant_id, o.root_id, o.subject_kind, o.subject
    from outcomes o where o.posted_in >= v_from and o.posted_in < v_to
  ), of_outcome as (
    select s.tenant_id, u.root_id, s.run_id
    from (
      select n.tenant_id, n.roots, f.run_id
      from (
        select n.tenant_id, n.subject_kind, n.subject, array_agg(n.root_id) as roots from recorded n group by 1, 2, 3
      ) as n
      left join lateral tollgate_runs_of(n.tenant_id, n.subject_kind, n.subject, '', 201) as f on true
      offset 0
    ) as s
    cross join lateral unnest(s.roots) as u(root_id)
  ), outcome_rank as materialized (
    select w.*, w.found <= 200
                and count(w.run_id) over (order by w.found, w.tenant_id, w.root_id) <= 20000 as is_light
    from (select o.*, count(o.run_id) over (partition by o.tenant_id, o.root_id) as found from of_outcome o) as w
  ), wide as (
    insert into stale_outcomes as s (tenant_id, root_id, since, bound_to)
    select distinct o.tenant_id, o.root_id, v_as_of, '' from outcome_rank o where not o.is_light
    on conflict (tenant_id, root_id) do update set bound_to = ''
  ), about as (
    select u.tenant as tenant_id, u.run as run_id, 'run' as kind, family.run as name
    from unnest(r_tenant, r_run, r_new) as u(tenant, run, is_new)
    left join lateral (
      select r.ancestors from runs r where r.tenant_id = u.tenant and r.run_id = u.run offset 0
    ) as r on true
    cross join lateral unnest(coalesce(r.ancestors, '{}') || u.run) as family(run)
    where u.is_new
    union all
    select u.tenant, u.run, 'operation', u.operation
    from unnest(n_tenant, n_run, n_operation) as u(tenant, run, operation)
  ), of_run as (
    select a.tenant_id, a.run_id, o.root_id
    from about a
    cross join lateral (
      select o.root_id from outcomes o
      where o.tenant_id = a.tenant_id and o.subject_kind = a.kind and o.subject = a.name
        and o.supersedes is null
      limit 201
    ) as o
  ), run_rank as materialized (
    select w.*, w.found <= 200 and count(*) over (order by w.found, w.tenant_id, w.run_id) <= 20000 as is_light
    from (select o.*, count(*) over (partition by o.tenant_id, o.run_id) as found from of_run o) as w
  ), crowded as (
    insert into stale_runs (tenant_id, run_id, since)
    select distinct w.tenant_id, w.run_id, v_as_of from run_rank w where not w.is_light
    on conflict (tenant_id, run_id) do update set marked_to = ''
  ), joined as (
    select o.tenant_id, o.root_id, o.run_id from outcome_rank o where o.is_light and o.run_id is not null
    union
    select o.tenant_id, o.root_id, o.run_id from run_rank o where o.is_light
  ), bound as (
    insert into outcome_runs (tenant_id, root_id, run_id)
    select tenant_id, root_id, run_id from joined
    on conflict do nothing
  ), light as (
    select distinct o.tenant_id, o.root_id from outcome_rank o where o.is_light
  ), moved as (
    select u.tenant as tenant_id, u.run as run_id from unnest(r_tenant, r_run) as u(tenant, run)
    union
    select tenant_id, run_id from joined
  )
  select array_agg(m.tenant_id), array_agg(m.run_id),
         (select array_agg(n.tenant_id order by n.tenant_id, n.root_id) from light n),
         (select array_agg(n.root_id order by n.tenant_id, n.root_id) from light n)
    into r_tenant, r_run, o_tenant, o_root
  from moved m;

  -- By the place of each row, which nobody else moves meanwhile.
  update run_costs c set outcomes = o.bearers
  from (
    select known.ctid as place, known.outcomes as were,
           (select count(*)::int from outcome_runs b where b.tenant_id = u.tenant and b.run_id = u.run) as bearers
    from unnest(r_tenant, r_run) as u(tenant, run)
    cross join lateral (
      select k.ctid, k.outcomes from run_costs k
      where k.tenant_id = u.tenant and k.closing_id = '' and k.run_id = u.run offset 0
    ) as known
    offset 0
  ) as o
  where c.ctid = o.place and o.were <> o.bearers;

  -- What an outcome costs to tell: the cells of its runs, for each outcome that shares them. The light ones are
  -- told here, with what they bear; what is beyond a step's measure waits for tollgate_tell_stale. Told anew are
  -- the outcomes that were recorded and all that bear a run which moved or which one of those bears, too.
  with shared as (
    select k.*, k.outcomes <= 200
                and sum(k.outcomes) over (order by k.outcomes, k.tenant_id, k.run_id) <= 20000 as is_light
    from (
      select c.tenant_id, c.run_id, c.outcomes
      from unnest(r_tenant, r_run) as u(tenant, run)
      cross join lateral (
        select k.tenant_id, k.run_id, k.outcomes from run_costs k
        where k.tenant_id = u.tenant and k.closing_id = '' and k.run_id = u.run and k.outcomes > 0 offset 0
      ) as c
    ) as k
  ), crowded as (
    insert into stale_runs (tenant_id, run_id, since)
    select k.tenant_id, k.run_id, v_as_of from shared k where not k.is_light
    on conflict (tenant_id, run_id) do update set marked_to = ''
  ), affected as (
    select u.tenant as tenant_id, u.root as root_id from unnest(o_tenant, o_root) as u(tenant, root)
    union
    select o.tenant_id, o.root_id
    from shared k
    cross join lateral (
      select b.tenant_id, b.root_id from outcome_runs b
      where b.tenant_id = k.tenant_id and b.run_id = k.run_id offset 0
    ) as o
    where k.is_light
  ), weighed as (
    select a.tenant_id, a.root_id, w.runs, w.weight
    from affected a
    cross join lateral (
      select count(*) as runs, coalesce(sum(c.outcomes::bigint * (c.attempts + c.blocked)), 0) as weight
      from (
        select b.run_id from outcome_runs b where b.tenant_id = a.tenant_id and b.root_id = a.root_id limit 51
      ) as b
      left join lateral (
        select k.outcomes, k.attempts, k.blocked from run_costs k
        where k.tenant_id = a.tenant_id and k.closing_id = '' and k.run_id = b.run_id offset 0
      ) as c on true
    ) as w
  ), ranked as (
    select w.*, w.runs <= 50 and sum(w.weight) over (order by w.runs > 50, w.weight, w.tenant_id, w.root_id) <= 500000
             as is_light
    from weighed w
  ), heavy as (
    insert into stale_outcomes (tenant_id, root_id, since)
    select r.tenant_id, r.root_id, v_as_of from ranked r where not r.is_light
    on conflict do nothing
  )
  select array_agg(r.tenant_id), array_agg(r.root_id) into o_tenant, o_root from ranked r where r.is_light;

  if o_root is not null then
    perform tollgate_tell_outcomes(o_tenant, o_root);
  end if;
  -- What had committed by then is in; a transaction that has begun by then and runs on may hold back more.
  update roll_up_state s
  set rolled_up_to = v_to,
      as_of = case when v_to >= s.mark then s.mark_at else s.as_of end,
      mark = case when v_to >= s.mark then v_begun else s.mark end,
      mark_at = case when v_to >= s.mark then v_now else s.mark_at end
  where s.one = 1;
  if v_to >= v_begun then
    update roll_up_state s set as_of = v_now where s.one = 1;
  end if;
  return query select v_lines, v_to < v_until;
end $$;
