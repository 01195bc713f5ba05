-- The whole truth in the roll-ups: adjustments are entries like all else that was posted; what an outcome of very
-- many runs, or a run of very many outcomes, asks for is bounded by tenant; a value that is declared anew reaches the
-- outcomes that were told before.

CREATE TABLE "stale_runs" (
	"tenant_id" text collate "C" NOT NULL,
	"run_id" text collate "C" NOT NULL,
	"marked_to" text collate "C" DEFAULT '' NOT NULL,
	"since" timestamp (6) with time zone DEFAULT tollgate_now() NOT NULL,
	"due_at" timestamp (6) with time zone DEFAULT tollgate_now() NOT NULL,
	CONSTRAINT "stale_runs_tenant_id_run_id_pk" PRIMARY KEY("tenant_id","run_id")
);
--> statement-breakpoint
DROP INDEX "stale_outcomes_due";--> statement-breakpoint
ALTER TABLE "outcome_types" ADD COLUMN "revalued_to" text collate "C";--> statement-breakpoint
ALTER TABLE "outcome_types" ADD COLUMN "revalued_since" timestamp (6) with time zone;--> statement-breakpoint
ALTER TABLE "roll_up_state" ADD COLUMN "stale_tenant" text collate "C" DEFAULT '' NOT NULL;--> statement-breakpoint
ALTER TABLE "stale_outcomes" ADD COLUMN "bound_to" text collate "C";--> statement-breakpoint
ALTER TABLE "adjustments" ADD COLUMN "posted_in" bigint DEFAULT pg_current_xact_id()::text::bigint NOT NULL;--> statement-breakpoint
CREATE INDEX "outcome_types_to_revalue" ON "outcome_types" USING btree ("tenant_id") WHERE "outcome_types"."revalued_to" is not null;--> statement-breakpoint
CREATE INDEX "stale_outcomes_unbound" ON "stale_outcomes" USING btree ("tenant_id","root_id") WHERE "stale_outcomes"."bound_to" is not null;--> statement-breakpoint
CREATE INDEX "adjustments_by_posting" ON "adjustments" USING btree ("posted_in");--> statement-breakpoint
CREATE INDEX "stale_outcomes_due" ON "stale_outcomes" USING btree ("tenant_id","due_at");
--> statement-breakpoint

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

-- As of when a tenant's figures are, or with null everybody's.
create function tollgate_as_of(tenant text) returns timestamptz
language sql stable
as $$
  select least(
    s.as_of,
    (select min(o.since) from stale_outcomes o where tenant is null or o.tenant_id = tenant),
    (select min(r.since) from stale_runs r where tenant is null or r.tenant_id = tenant),
    (select min(t.revalued_since) from outcome_types t
     where t.revalued_to is not null and (tenant is null or t.tenant_id = tenant))
  )
  from roll_up_state s where s.one = 1
$$;
--> statement-breakpoint

-- As it was, and adjustments: an entry without a call, on the day of its posting.
create or replace function tollgate_entries(first bigint, last bigint) returns table (
  tenant_id text, attempt_id text, run_id text, step text, key_id text, customer text, workflow text, labels jsonb,
  door text, operation text, upstream text, model text, tool text, ending text, basis text, reason text,
  price_version text, at timestamptz, decided_at timestamptz, business text, attempts bigint, retries bigint,
  cost numeric, wasted numeric, tokens bigint, input_tokens bigint, cached_tokens bigint, output_tokens bigint
)
language sql stable
set enable_seqscan = off
set enable_mergejoin = off
set jit = off
as $$
  with posted as (
    select s.tenant_id, s.attempt_id, s.line, s.ending, s.basis, s.price_version, s.settled_at, s.usage,
           s.cost_picousd as cost, s.tokens
    from settlements s
    where s.posted_in >= first and s.posted_in < last
  ), entry as (
    select p.tenant_id, p.attempt_id, null as run_id, 'call' as kind, 1 as sign, p.ending, p.basis, '' as reason,
           p.price_version, p.settled_at as at, p.usage, coalesce(p.cost, 0) as cost, p.tokens
    from posted p where p.line = 0
    union all
    select p.tenant_id, p.attempt_id, null, 'call', side.sign,
           case side.sign when 1 then p.ending else was.ending end,
           case side.sign when 1 then p.basis else was.basis end, '',
           case side.sign when 1 then p.price_version else was.price_version end, p.settled_at,
           case side.sign when 1 then p.usage else was.usage end,
           coalesce(was.cost_picousd, 0) + case side.sign when 1 then coalesce(p.cost, 0) else 0 end,
           was.tokens + case side.sign when 1 then p.tokens else 0 end
    from posted p
    cross join lateral (
      select s.* from settlements s
      where s.tenant_id = p.tenant_id and s.attempt_id = p.attempt_id and s.line = 0 offset 0
    ) as was
    cross join (values (1), (-1)) as side(sign)
    where p.line = 1
    union all
    select d.tenant_id, d.attempt_id, null, 'call', 1, 'blocked', 'none', d.reason, null, d.decided_at, '{}', 0, 0
    from decisions d
    where d.verdict <> 'allow' and d.posted_in >= first and d.posted_in < last
    union all
    -- Of an attempt; of a run, which is whose its first call says; or of neither, and stands by itself.
    select a.tenant_id, coalesce(a.attempt_id, one.attempt_id), coalesce(a.run_id, a.adjustment_id),
           case when a.attempt_id is null then 'adjusts a run' else 'adjusts a call' end, 1, 'adjusted', 'adjustment',
           '', null, a.posted_at, '{}', a.amount_picousd, 0
    from adjustments a
    left join lateral (
      select d.attempt_id from decisions d
      where a.attempt_id is null and d.tenant_id = a.tenant_id and d.run_id = a.run_id
      order by d.decided_at, d.attempt_id limit 1
    ) as one on true
    where a.posted_in >= first and a.posted_in < last
  )
  select e.tenant_id, coalesce(e.attempt_id, e.run_id), coalesce(e.run_id, d.run_id), coalesce(w.step_id, ''),
         coalesce(d.key_id, ''), coalesce(c.customer, ''), coalesce(l.labels->>'workflow', ''), l.labels,
         coalesce(w.door, ''), coalesce(w.operation, ''), coalesce(w.upstream, ''), coalesce(w.model, ''),
         case when w.attempt_id is null then '' else coalesce(c.tool, t.tool, '') end, e.ending, e.basis, e.reason,
         coalesce(e.price_version, ''), e.at, coalesce(d.decided_at, e.at),
         case when e.kind = 'call' then coalesce(c.operation, case when x.mode = 'enforce' then x.operation end) end,
         n.calls, n.calls * t.is_retry::int, e.sign * e.cost,
         n.calls * case when t.is_retry and (e.ending <> 'succeeded' or t.is_done) then e.cost else 0 end,
         e.sign * e.tokens,
         e.sign * (coalesce(u.input, 0) + coalesce(u.cache_read, 0) + coalesce(u.cache_write_5m, 0)
                   + coalesce(u.cache_write_1h, 0) + coalesce(u.audio_input, 0) + coalesce(u.image_input, 0)),
         e.sign * coalesce(u.cache_read, 0),
         e.sign * (coalesce(u.output, 0) + coalesce(u.reasoning, 0) + coalesce(u.audio_output, 0)
                   + coalesce(u.image_output, 0))
  -- By key, one by one, here and below: a plan made while the tables are empty must not read all of them
  -- for ever after.
  from entry e
  cross join lateral (select case when e.kind = 'call' then e.sign else 0 end::bigint as calls) as n
  left join lateral (
    select d.* from decisions d where d.tenant_id = e.tenant_id and d.attempt_id = e.attempt_id offset 0
  ) as d on true
  -- What an entry is of: of a run as a whole it is no step, model or tool.
  left join lateral (
    select d.attempt_id, d.step_id, d.door, d.operation, d.upstream, d.model where e.kind <> 'adjusts a run'
  ) as w on true
  left join lateral (
    select r.labels from runs r
    where r.tenant_id = e.tenant_id and r.run_id = coalesce(e.run_id, d.run_id) offset 0
  ) as r on true
  cross join lateral json_to_record(coalesce(d.record, '{}')) as j(context json, tool text, act json)
  cross join lateral json_to_record(coalesce(j.context, '{}'))
    as c(customer text, labels jsonb, tool text, operation text)
  cross join lateral json_to_record(coalesce(j.act, '{}')) as a(extracted json)
  cross join lateral json_to_record(coalesce(a.extracted, '{}')) as x(mode text, operation text)
  cross join lateral json_to_record(e.usage)
    as u(input bigint, cache_read bigint, cache_write_5m bigint, cache_write_1h bigint, audio_input bigint,
         image_input bigint, output bigint, reasoning bigint, audio_output bigint, image_output bigint)
  -- What its caller says of one call goes before what is said of the whole run.
  cross join lateral (select coalesce(r.labels::jsonb, '{}') || coalesce(c.labels, '{}') as labels) as l
  cross join lateral (
    select coalesce(j.tool, case when d.operation = 'execute_tool' then d.resource end) as tool,
           d.retry is not null and d.retry->>'because' <> 'duplicate' as is_retry,
           d.retry->>'because' = 'loop' or d.retry->>'prior_status' is not distinct from 'succeeded' as is_done
  ) as t
$$;
--> statement-breakpoint

-- As it was, and adjustments; and no outcome or run takes more of a step than its part.
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

  with entry as materialized (
    select e.*, tollgate_quarter(e.at) as bucket,
           md5(jsonb_build_array(e.key_id, e.customer, e.workflow, e.labels, e.door, e.operation, e.upstream,
                                 e.model, e.tool, e.ending, e.basis, e.reason, e.price_version)::text)::uuid
             as dimension_id,
           -- Customers and labels are many: where they stood in the cells of a quarter of an hour, there would be as
           -- many cells as attempts.
           md5(jsonb_build_array(e.key_id, e.workflow, e.door, e.operation, e.upstream, e.model, e.tool, e.ending,
                                 e.basis, e.reason, e.price_version)::text)::uuid as coarse_id
    from tollgate_entries(v_from, v_to) as e
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
    select tenant_id, run_id, min(decided_at) as started_at, max(at) as last_at,
           (array_agg(row(key_id, customer, workflow, labels)::tollgate_payer order by decided_at, attempt_id))[1]
             as payer,
           coalesce(sum(attempts) filter (where ending <> 'blocked'), 0) as attempts,
           coalesce(sum(attempts) filter (where ending = 'blocked'), 0) as blocked, sum(retries) as retries,
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
  select (select count(*) from entry), array_agg(t.tenant_id), array_agg(t.run_id), array_agg(t.is_new),
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
--> statement-breakpoint

-- As it was; an adjustment is no cost of failure.
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
--> statement-breakpoint

-- As it was; what an operator adjusts is not used by the hour.
create or replace function tollgate_hourly_rate(tenant text, scope text, subject text, unit text, at timestamptz) returns numeric
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
drop function tollgate_tell_stale(text, int);
--> statement-breakpoint
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
