-- The gate's two statements, and what guards the ledger.
--
-- tollgate_post   admits a batch: checks and reserves every meter on each ask's path, all or none, and
--                 inserts the decisions. One call, one commit, before the first upstream byte.
-- tollgate_settle ends a batch: reservations become settlements, once each, in any order.
--
-- Lock order. Posting: claims (advisory locks, by number), runs by name, meters by meter_id, an approval;
-- the reservations that it inserts nobody else knows yet. Settling: reservations by key, then meters by meter_id, as late as can be. Giving back:
-- meters, then only reservations that nobody holds. Whoever waits for a meter holds no lower one, and
-- whoever waits for a reservation holds no meter: there is no circle.

alter table meters set (fillfactor = 50);
--> statement-breakpoint
-- A decision is about two kilobytes, just where PostgreSQL begins to compress: of a batch of 32 that took
-- 1.2 to 1.9 ms, a third of its insert. Rows of up to half a page are kept as they are.
alter table decisions set (toast_tuple_target = 4080);
--> statement-breakpoint
-- Rows that live for one call: what is dead must not pile up in front of what is looked for.
alter table reservations set (
  fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000,
  autovacuum_vacuum_cost_delay = 0
);
--> statement-breakpoint

-- The ledger is insert-only, whoever asks.
create function tollgate_insert_only() returns trigger
language plpgsql
as $$
begin
  raise exception 'table % is part of the ledger: rows are inserted, never changed or removed', tg_table_name
    using errcode = 'restrict_violation';
end $$;
--> statement-breakpoint
create trigger decisions_insert_only before update or delete on decisions
  for each row execute function tollgate_insert_only();
--> statement-breakpoint
create trigger settlements_insert_only before update or delete on settlements
  for each row execute function tollgate_insert_only();
--> statement-breakpoint
create trigger events_insert_only before update or delete on events
  for each row execute function tollgate_insert_only();
--> statement-breakpoint
create trigger prices_insert_only before update or delete on prices
  for each row execute function tollgate_insert_only();
--> statement-breakpoint
create trigger policy_bundles_insert_only before update or delete on policy_bundles
  for each row execute function tollgate_insert_only();
--> statement-breakpoint
create trigger approval_votes_insert_only before update or delete on approval_votes
  for each row execute function tollgate_insert_only();
--> statement-breakpoint
create trigger decisions_never_truncated before truncate on decisions
  for each statement execute function tollgate_insert_only();
--> statement-breakpoint
create trigger settlements_never_truncated before truncate on settlements
  for each statement execute function tollgate_insert_only();
--> statement-breakpoint
create trigger events_never_truncated before truncate on events
  for each statement execute function tollgate_insert_only();
--> statement-breakpoint
create trigger prices_never_truncated before truncate on prices
  for each statement execute function tollgate_insert_only();
--> statement-breakpoint
create trigger policy_bundles_never_truncated before truncate on policy_bundles
  for each statement execute function tollgate_insert_only();
--> statement-breakpoint
create trigger approval_votes_never_truncated before truncate on approval_votes
  for each statement execute function tollgate_insert_only();
--> statement-breakpoint

-- When the window that holds `at` began. 'none' is one window for ever.
create function tollgate_window_start(window_kind text, at timestamptz, time_zone text) returns timestamptz
language sql stable parallel safe
as $$
  select case when window_kind = 'none' then timestamptz 'epoch'
              else date_trunc(window_kind, at, time_zone) end
$$;
--> statement-breakpoint

-- When it ends: null for one that never does. Calendar windows end at the next local boundary, so a day
-- of 23 or 25 hours ends when it ends; a minute or an hour is that long.
create function tollgate_window_end(window_kind text, at timestamptz, time_zone text) returns timestamptz
language sql stable parallel safe
as $$
  select case
    when window_kind = 'none' then null
    when window_kind in ('minute', 'hour') then
      date_trunc(window_kind, at, time_zone) + ('1 ' || window_kind)::interval
    else (date_trunc(window_kind, at at time zone time_zone) + ('1 ' || window_kind)::interval)
      at time zone time_zone
  end
$$;
--> statement-breakpoint

-- How long after a failure the same content is its retry: the waits between the tries of libraries and of
-- jobs are seconds, and what comes later is a question of its own. `RETRY_WINDOW_MS` says it to callers.
create function tollgate_retry_window() returns interval
language sql immutable parallel safe
as $$ select interval '2 minutes' $$;
--> statement-breakpoint

-- The state of an attempt, by its reservation, if it has one, and by the ending that was settled last:
-- 'running', 'left' (its client is gone and it goes on), 'unknown', or that ending. A posting that was given
-- up has neither, and released what it held.
create function tollgate_state_named(reservation text, left_at timestamptz, ending text) returns text
language sql immutable parallel safe
as $$
  select case reservation when 'open' then case when left_at is null then 'running' else 'left' end
                          when 'unknown' then 'unknown'
                          else coalesce(ending, 'released') end
$$;
--> statement-breakpoint

-- What became of an attempt, as the ledger tells it, and since when. A presumption that nobody corrected is
-- unknown, too.
create function tollgate_attempt_state(tenant text, attempt text, out state text, out since timestamptz)
language sql stable
as $$
  select tollgate_state_named(r.state, r.left_at, s.ending),
         coalesce(s.settled_at, r.unknown_at, r.left_at, tollgate_now())
  from (select 1) as one
  left join reservations r on r.tenant_id = tenant and r.attempt_id = attempt
  left join lateral (
    select ending, settled_at from settlements
    where tenant_id = tenant and attempt_id = attempt order by line desc limit 1
  ) as s on true
$$;
--> statement-breakpoint

-- The last attempt of each step, by the place of the step among the arguments. One row of an index for each,
-- however many attempts a step has had: counting 200,000 of them took 790 ms of each ask. Refusals are not
-- in it, for they were no attempts. `unread`: its client was gone before it had the answer, so to that
-- client it failed, and the same content again is its retry, whatever came of it.
create function tollgate_prior_attempts(tenants text[], steps text[]) returns table (
  ask int, attempt_id text, attempt int, state text, since timestamptz, unread boolean
)
language plpgsql stable
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_mergejoin = off
set enable_hashjoin = off
set jit = off
as $$
#variable_conflict use_column
begin
  return query
  select u.ord::int, last.attempt_id::text, last.attempt,
         tollgate_state_named(r.state, r.left_at, s.ending),
         coalesce(s.settled_at, r.unknown_at, r.left_at, last.decided_at), coalesce(s.unread, false)
  from unnest(tenants, steps) with ordinality as u(t, step, ord)
  cross join lateral (
    select d.attempt_id, d.attempt, d.decided_at from decisions d
    where d.tenant_id = u.t and d.step_digest = u.step and d.verdict = 'allow'
    order by d.decided_at desc, d.attempt desc limit 1
  ) as last
  left join reservations r on r.tenant_id = u.t and r.attempt_id = last.attempt_id
  left join lateral (
    select s.ending, s.settled_at, (s.record->>'client_left')::boolean as unread from settlements s
    where r.state is null and s.tenant_id = u.t and s.attempt_id = last.attempt_id
    order by s.line desc limit 1
  ) as s on true
  where u.step is not null;
end $$;
--> statement-breakpoint

-- Whether an idempotency key lets an ask pass: null, or the reason against it and the attempt that holds
-- the key. `claim` is {"digest", "content", "accepts_unknown"}; it is locked by its number already.
create function tollgate_refuse_duplicate(
  tenant text, ask_door text, claim json, at timestamptz, out reason text, out holder text
)
language plpgsql
as $$
#variable_conflict use_column
declare
  known record;
  became text;
begin
  select i.* into known from idempotency_keys i
  where i.tenant_id = tenant and i.door = ask_door and i.key_digest = claim->>'digest';
  if not found then return; end if;
  became := (select a.state from tollgate_attempt_state(tenant, known.attempt_id) as a);
  -- What runs or is unknown keeps its key, however old it is.
  if known.expires_at < at and became not in ('running', 'left', 'unknown') then return; end if;
  if known.content_digest <> claim->>'content' then
    reason := 'idempotency_key_reused';
    return;
  end if;
  holder := known.attempt_id;
  reason := case
    when became in ('running', 'left') then 'idempotency_in_progress'
    when became = 'succeeded' then 'duplicate_request'
    when became = 'unknown' and not (claim->>'accepts_unknown')::boolean then 'outcome_unknown'
  end;
end $$;
--> statement-breakpoint

-- Whether an operation may have an effect: null, or the reason against it and the attempt that holds the
-- effect. `claim` is {"type", "key", "effect", "content", "may_repeat_unknown", "repeats"}.
create function tollgate_refuse_effect(
  tenant text, claim json, out reason text, out holder text
)
language plpgsql
as $$
#variable_conflict use_column
declare
  known record;
  became text;
begin
  select e.* into known from effects e
  where e.tenant_id = tenant and e.operation_type = claim->>'type'
    and e.operation_key = claim->>'key' and e.effect = claim->>'effect';
  if not found then return; end if;
  became := (select a.state from tollgate_attempt_state(tenant, known.attempt_id) as a);
  -- It is known not to be applied: free again, for any content.
  if became in ('released', 'failed') then return; end if;
  holder := known.attempt_id;
  -- Whoever names what he repeats, repeats it.
  if claim->>'repeats' = known.attempt_id and became in ('succeeded', 'aborted') then
    holder := null;
    return;
  end if;
  reason := case
    when known.content_digest <> claim->>'content' then 'operation_conflict'
    when became in ('running', 'left') then 'effect_in_flight'
    when became = 'unknown' then
      case when (claim->>'may_repeat_unknown')::boolean then null else 'effect_uncertain' end
    else 'effect_applied'
  end;
end $$;
--> statement-breakpoint

-- Arguments are array literals as text, one element per ask; `records` is one JSON document per line.
-- `extras` is null, or a JSON list of what few asks have: {"ask", "sdk_retries", "left", "expects",
-- "idempotency", "effect", "approval"}, see `store/posting.ts`.
-- `refs_*` name the limits on each ask's path that the replica's snapshot knows, by the ask's number;
-- limits of runs are found here, for runs are too many to be in a snapshot. What a limit allows is read
-- here too: a replica with an older snapshot cannot admit by an older number.
--
-- Outcomes: 'allow', 'block' and 'require_approval' are recorded. 'again' records and reserves nothing: the
-- ask was not final and either lacked room only because of reservations in flight, or met a meter that
-- allows clamping; or it was judged as another attempt than it is. It may create what it was measured by:
-- its run, and empty meters of the limits on its path.
-- An ask that was judged no, or whose run was stopped, creates neither: a caller that may not call cannot
-- fill the tables with the names it makes up. It is told the meters that are there, and zeros for the rest.
create function tollgate_post(
  replica text,
  attempt_ids text, tenant_ids text, key_ids text, run_ids text, run_named text, step_ids text,
  step_digests text, content_digests text, retry_resources text,
  doors text, operations text, resources text, upstreams text, models text,
  judged_reasons text, costs text, tokens text, price_versions text, finals text, deadlines_ms text,
  records text,
  refs_ask text, refs_limit text, refs_subject text, refs_share text,
  extras text
) returns table (
  ask int, outcome text, reason text, attempt int, decided_at timestamptz, meters text, retry text,
  approval text
)
language plpgsql
-- Planned once, for tables of any size: a plan made while they were small would scan them for ever after,
-- and planning anew for each batch costs as much as running it.
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_mergejoin = off
set jit = off
as $$
#variable_conflict use_column
declare
  v_now timestamptz;
  a_attempt text[] := attempt_ids::text[];
  a_tenant text[] := tenant_ids::text[];
  a_key text[] := key_ids::text[];
  a_run text[] := run_ids::text[];
  a_named boolean[] := run_named::boolean[];
  a_step text[] := step_ids::text[];
  a_step_digest text[] := step_digests::text[];
  a_content text[] := content_digests::text[];
  a_retry_resource text[] := retry_resources::text[];
  a_door text[] := doors::text[];
  a_reason text[] := judged_reasons::text[];
  a_cost numeric[] := costs::numeric[];
  a_tokens bigint[] := tokens::bigint[];
  a_final boolean[] := finals::boolean[];
  a_outcome text[] := array_fill('allow'::text, array[cardinality(attempt_ids::text[])]);
  a_attempt_no int[] := array_fill(1, array[cardinality(attempt_ids::text[])]);
  n constant int := cardinality(attempt_ids::text[]);
  -- Why an ask is a further attempt, as JSON; null for a first one. Who is one draws on retry budgets.
  a_retry text[] := array_fill(null::text, array[cardinality(attempt_ids::text[])]);
  a_draws boolean[] := array_fill(false, array[cardinality(attempt_ids::text[])]);
  a_approval text[] := array_fill(null::text, array[cardinality(attempt_ids::text[])]);
  -- What few asks have, by their number; and whether any ask of this batch has any.
  a_extra json[];
  has_extras constant boolean := extras is not null;
  -- Derived steps whose last attempt failed of late, so that this ask is a retry; and the locks of claims.
  a_retries boolean[] := array_fill(false, array[cardinality(attempt_ids::text[])]);
  v_locks bigint[] := '{}';
  -- Whether an ask says itself of which step it is an attempt: by a name, or by an idempotency key.
  a_is_named boolean[];
  prior record; extra record;
  -- Of this batch: the last number of each step that was given, and who claimed what.
  v_numbered jsonb := '{}'; v_claimed jsonb := '{}';
  v_extra json; v_key json; v_effect json; v_claim text; v_slot text; v_reason text; v_holder text;
  v_ask json; v_state text; v_approval text; v_stale boolean; v_max int; v_left text; v_sdk int;

  -- The path: one element per (ask, meter), ordered by ask, then by the precedence of its refusal.
  p_ask int[]; p_slot int[]; p_committed numeric[]; p_reserved numeric[]; p_asked numeric[];
  p_len int;

  -- The meters on any path, by slot. What a refusal is called depends on the rank, see below.
  m_tenant text[]; m_limit text[]; m_subject text[]; m_start timestamptz[];
  m_unit text[]; m_rank int[]; m_share boolean[]; m_enforced boolean[]; m_clamps boolean[]; m_amount numeric[]; m_head text[];
  m_id bigint[]; m_committed numeric[]; m_reserved numeric[]; m_before numeric[];
  -- The slots that some ask not yet refused meets; null means all of them. And the slots that have a row.
  m_needed int[]; m_found int[];

  any_stopped boolean;
  k int; i int; j int; first int; s int; asked numeric; exhausted int; contended int;
begin
  v_now := tollgate_now();
  select array_agg(step is not null and named order by ord) into a_is_named
  from unnest(a_step, a_named) with ordinality as u(step, named, ord);
  if has_extras then
    a_extra := array_fill(null::json, array[n]);
    for extra in select (e.value->>'ask')::int as ask, e.value from json_array_elements(extras::json) as e loop
      a_extra[extra.ask] := extra.value;
      -- The same key, or the same effect, is arbitrated by one posting at a time.
      if extra.value->'idempotency' is not null then
        a_is_named[extra.ask] := true;
        v_locks := v_locks || hashtextextended('idempotency ' || a_tenant[extra.ask] || ' ' || a_door[extra.ask] || ' '
          || (extra.value->'idempotency'->>'digest'), 0);
      end if;
      if extra.value->'approval' is not null then
        v_locks := v_locks || hashtextextended('approval ' || a_tenant[extra.ask] || ' '
          || (extra.value->'approval'->>'digest'), 0);
      end if;
      if extra.value->'effect' is not null then
        v_locks := v_locks || hashtextextended('effect ' || a_tenant[extra.ask] || ' '
          || (extra.value->'effect'->>'type') || ' ' || (extra.value->'effect'->>'key') || ' '
          || (extra.value->'effect'->>'effect'), 0);
      end if;
    end loop;
  end if;

  -- Asks whose step nobody named, and whose content was seen before. While that goes on for its client, this
  -- one runs beside it; once it ended badly, or its client left, this one is its retry, for a while.
  for prior in
    select p.*, u.t, u.digest
    from tollgate_prior_attempts(a_tenant, (
      select array_agg(case when not named then digest end order by ord)
      from unnest(a_is_named, a_step_digest) with ordinality as s(named, digest, ord))) as p
    join unnest(a_tenant, a_step_digest) with ordinality as u(t, digest, ord) on u.ord = p.ask
  loop
    v_left := case when has_extras then a_extra[prior.ask]->>'left' end;
    if prior.state = 'running' and prior.attempt_id is distinct from v_left then
      a_attempt_no[prior.ask] := prior.attempt;
    elsif (prior.state <> 'succeeded' or prior.unread)
      and (prior.state in ('running', 'left') or prior.since >= v_now - tollgate_retry_window()) then
      a_retries[prior.ask] := true;
      v_locks := v_locks || hashtextextended('step ' || prior.t || ' ' || prior.digest, 0);
    end if;
  end loop;

  -- By their numbers, so that two postings cannot wait for each other in a circle.
  if cardinality(v_locks) > 0 then
    perform pg_advisory_xact_lock(l.number)
    from (select distinct number from unnest(v_locks) as u(number) order by number) as l;
  end if;

  -- Runs seen for the first time; in order, so that two batches cannot wait in a circle.
  if true = any(a_named) then
    -- Stopping a run waits for the postings that found it open, and the attempts of a step are numbered
    -- by one posting at a time: both need the run and the runs above it to stand still until the commit.
    insert into runs (tenant_id, run_id, created_by, created_at)
      select distinct on (t, r) t, r, key, v_now
      from unnest(a_tenant, a_run, a_named, a_key, a_reason) as u(t, r, named, key, reason)
      where named and reason is null order by t, r
      on conflict do nothing;

    select bool_or(locked.state <> 'open') into any_stopped from (
      select runs.state
      from runs
      where (runs.tenant_id, runs.run_id) in (
        select u.t, unnest(own.ancestors || own.run_id) collate "C"
        from unnest(a_tenant, a_run, a_named) as u(t, r, named)
        join runs own on own.tenant_id = u.t and own.run_id = u.r
        where u.named)
      order by runs.tenant_id, runs.run_id
      for no key update of runs
    ) as locked;

    -- A run that was stopped admits nothing more, nor do the runs below it.
    if any_stopped then for k, j in
      select u.ord, max(case above.state when 'closed' then 2 when 'stopping' then 1 end)
      from unnest(a_tenant, a_run, a_named) with ordinality as u(t, r, named, ord)
      join runs on runs.tenant_id = u.t and runs.run_id = u.r
      join runs above on above.tenant_id = u.t and above.run_id = any ((runs.ancestors || runs.run_id) collate "C")
      where u.named and above.state <> 'open'
      group by u.ord
    loop
      a_reason[k] := case j when 2 then 'run_closed' else 'run_stopped' end;
    end loop; end if;
  end if;

  -- Behind the locks: what is decided from here on came after what is read from here on.
  v_now := tollgate_now();

  -- The numbers of further attempts, of named steps and of retries; those within this batch follow below,
  -- once it is known which of its asks are attempts.
  if true = any(a_is_named) or true = any(a_retries) then
    for prior in
      select p.* from tollgate_prior_attempts(a_tenant, (
        select array_agg(case when named or retries then digest end order by ord)
        from unnest(a_is_named, a_step_digest, a_retries) with ordinality as s(named, digest, retries, ord))) as p
    loop
      k := prior.ask;
      v_left := case when has_extras then a_extra[k]->>'left' end;
      -- Another posting has made the retry meanwhile: this one runs beside it.
      if not a_is_named[k] and prior.state = 'running' and prior.attempt_id is distinct from v_left then
        a_attempt_no[k] := prior.attempt;
        a_retries[k] := false;
        continue;
      end if;
      a_attempt_no[k] := prior.attempt + 1;
      a_draws[k] := true;
      a_retry[k] := json_build_object('because', case when a_is_named[k] then 'step' else 'fingerprint' end,
        'prior_attempt', prior.attempt_id, 'prior_status', prior.state, 'prior_at', prior.since)::text;
    end loop;
  end if;

  -- The same content under a new step of the same run: a loop.
  if exists (select from unnest(a_content) as u(digest) where digest is not null) then
    for prior in
      select u.ord::int as ask, same.attempt_id
      from unnest(a_tenant, a_content, a_step_digest) with ordinality as u(t, content, step, ord)
      -- One row of the index to either side of the step's own: `<>` would read past every earlier attempt
      -- of this step, which is all that a step called ten thousand times with one content has.
      cross join lateral (
        (select d.attempt_id from decisions d
         where d.tenant_id = u.t and d.content_digest = u.content and d.verdict = 'allow'
           and d.step_digest < u.step
         limit 1)
        union all
        (select d.attempt_id from decisions d
         where d.tenant_id = u.t and d.content_digest = u.content and d.verdict = 'allow'
           and d.step_digest > u.step
         limit 1)
        limit 1
      ) as same
      where u.content is not null
    loop
      if not a_draws[prior.ask] then
        a_draws[prior.ask] := true;
        a_retry[prior.ask] := json_build_object('because', 'loop', 'prior_attempt', prior.attempt_id)::text;
      end if;
    end loop;
  end if;

  -- What the client's own library says of its retries.
  if has_extras then
    for k in 1..n loop
      v_sdk := coalesce((a_extra[k]->>'sdk_retries')::int, 0);
      if v_sdk > 0 then
        a_attempt_no[k] := greatest(a_attempt_no[k], v_sdk + 1);
        if not a_draws[k] then
          a_draws[k] := true;
          a_retry[k] := json_build_object('because', 'sdk')::text;
        end if;
        a_retry[k] := (a_retry[k]::jsonb || jsonb_build_object('sdk_retries', v_sdk))::text;
      end if;
    end loop;
  end if;

  -- One statement finds the path; it is told apart into what each ask meets (p_*) and what each meter
  -- is (m_*), which it says once however many asks meet it.
  with wanted as materialized (
    select r.n, a_tenant[r.n] as tenant_id, r.limit_id, r.subject, r.share
    from unnest(refs_ask::int[], refs_limit::text[], refs_subject::text[], refs_share::int[])
      as r(n, limit_id, subject, share)
    union all
    select u.n, named.tenant_id, named.limit_id,
           case named.resource when '*' then named.scope_id || ' ' || u.resource else named.scope_id end, null
    from (
      select runs.tenant_id, runs.run_id, l.limit_id, l.scope_id, l.resource
      from (select distinct t, r from unnest(a_tenant, a_run, a_named) as d(t, r, named) where named) as d
      join runs on runs.tenant_id = d.t and runs.run_id = d.r
      join limits l on l.tenant_id = d.t and l.scope_kind = 'run'
        and l.scope_id = any ((runs.ancestors || runs.run_id) collate "C")
      where l.removed_at is null
    ) as named
    join (
      select t, r, resource, ord::int as n
      from unnest(a_tenant, a_run, a_named, a_retry_resource) with ordinality as d(t, r, named, resource, ord)
      where named
    ) as u on u.t = named.tenant_id and u.r = named.run_id
      and named.resource in ('', '*', u.resource)
  ), met as materialized (
    select d.tenant_id, d.limit_id, d.subject, l.scope_kind, l.unit, l.window_kind, l.mode,
           case when d.share is null then l.on_exceed else 'refuse' end as on_exceed,
           -- Of a limit that one run may take a part of only, the part.
           case when d.share is null then l.amount else ceil(l.amount * d.share / 100) end as amount,
           d.share is not null as is_share,
           tollgate_window_start(l.window_kind, v_now, l.time_zone) as window_start,
           tollgate_window_end(l.window_kind, v_now, l.time_zone) as window_end,
           case when l.unit = 'attempts' then 0
                when d.share is not null or l.unit = 'usd' and l.scope_kind in ('run', 'each_run') then 1
                when l.unit = 'usd' then 2
                when l.unit = 'in_flight' then 4
                else 3 end as rank,
           row_number() over (order by d.tenant_id, d.limit_id, d.subject)::int as slot
    from (select distinct tenant_id, limit_id, subject, share from wanted) as d
    join limits l on l.tenant_id = d.tenant_id and l.limit_id = d.limit_id
    where l.removed_at is null
  ), path as (
    select array_agg(n) as ask, array_agg(slot) as slot
    from (
      select wanted.n, met.slot
      from wanted
      join met on met.tenant_id = wanted.tenant_id and met.limit_id = wanted.limit_id
        and met.subject = wanted.subject
      order by wanted.n, met.rank, met.slot
    ) as ordered
  ), meter as (
    select array_agg(tenant_id) as tenant, array_agg(limit_id) as limit_id, array_agg(subject) as subject,
           array_agg(window_start) as start, array_agg(unit) as unit, array_agg(rank) as rank,
           array_agg(mode = 'enforce') as enforced, array_agg(on_exceed = 'clamp') as clamps,
           array_agg(amount) as amount, array_agg(is_share) as is_share,
           array_agg('{"limit_id":"' || limit_id || '","scope":"' || scope_kind || '","subject":'
             || to_json(subject)::text || ',"unit":"' || unit || '","window":"' || window_kind
             || '","mode":"' || mode || case when is_share then '","share":"run' else '' end || '","on_exceed":"' || on_exceed || '","limit":"' || amount
             || '","resets_at":' || coalesce(to_json(window_end)::text, 'null')) as head
    from (select * from met order by slot) as ordered
  )
  select path.ask, path.slot, meter.tenant, meter.limit_id, meter.subject, meter.start, meter.unit,
         meter.rank, meter.enforced, meter.clamps, meter.amount, meter.is_share, meter.head
    into p_ask, p_slot, m_tenant, m_limit, m_subject, m_start, m_unit, m_rank, m_enforced, m_clamps,
         m_amount, m_share, m_head
  from path, meter;
  p_len := coalesce(cardinality(p_ask), 0);

  if p_len > 0 then
    if exists (select from unnest(a_reason) as u(reason) where reason is not null) then
      select coalesce(array_agg(distinct d.slot), '{}') into m_needed
      from unnest(p_ask, p_slot) as d(n, slot)
      join unnest(a_reason) with ordinality as u(reason, ord) on u.ord = d.n
      where u.reason is null;
    end if;

    insert into meters (tenant_id, limit_id, subject, window_start)
      select m.tenant_id, m.limit_id, m.subject, m.window_start
      from unnest(m_tenant, m_limit, m_subject, m_start)
        with ordinality as m(tenant_id, limit_id, subject, window_start, slot)
      where (m_needed is null or m.slot = any (m_needed)) and not exists (
        select from meters o
        where o.tenant_id = m.tenant_id and o.limit_id = m.limit_id
          and o.subject = m.subject and o.window_start = m.window_start)
      order by 1, 2, 3, 4
      on conflict do nothing;

    select array_agg(l.meter_id order by l.slot), array_agg(l.committed order by l.slot),
           array_agg(l.reserved order by l.slot), array_agg(l.slot::int order by l.slot)
      into m_id, m_committed, m_reserved, m_found
    from (
      select m.meter_id, m.committed, m.reserved, d.slot
      from unnest(m_tenant, m_limit, m_subject, m_start)
        with ordinality as d(tenant_id, limit_id, subject, window_start, slot)
      join meters m on m.tenant_id = d.tenant_id and m.limit_id = d.limit_id
        and m.subject = d.subject and m.window_start = d.window_start
      order by m.meter_id
      for update of m
    ) as l;
    if coalesce(cardinality(m_found), 0) < cardinality(m_limit) then
      select array_agg(f.meter_id order by d.slot), array_agg(coalesce(f.committed, 0) order by d.slot),
             array_agg(coalesce(f.reserved, 0) order by d.slot)
        into m_id, m_committed, m_reserved
      from generate_series(1, cardinality(m_limit)) as d(slot)
      left join unnest(m_found, m_id, m_committed, m_reserved) as f(slot, meter_id, committed, reserved)
        on f.slot = d.slot;
    end if;
    m_before := m_reserved;

    p_committed := array_fill(0::numeric, array[p_len]);
    p_reserved := p_committed;
    p_asked := p_committed;
    -- An array of texts or numerics is read by walking it, unless something was assigned to it: then it
    -- is held unpacked. Without this the loop below is quadratic in the batch.
    m_unit[1] := m_unit[1];
    m_amount[1] := m_amount[1];
    m_committed[1] := m_committed[1];
    m_reserved[1] := m_reserved[1];
  end if;
  a_cost[1] := a_cost[1];
  a_reason[1] := a_reason[1];

  -- In the order of arrival. After the locks above nothing here can change under our hands.
  i := 1;
  for k in 1..n loop
    first := i;
    exhausted := null;
    contended := null;
    -- Those of one step within this batch follow each other.
    if (a_is_named[k] or a_retries[k]) and v_numbered ? (a_tenant[k] || a_step_digest[k]) then
      a_attempt_no[k] := (v_numbered->>(a_tenant[k] || a_step_digest[k]))::int + 1;
      if not a_draws[k] then
        a_draws[k] := true;
        a_retry[k] := json_build_object('because', 'step')::text;
      end if;
    end if;
    while i <= p_len and p_ask[i] = k loop
      s := p_slot[i];
      asked := case m_unit[s] when 'usd' then coalesce(a_cost[k], 0)
                              when 'tokens' then a_tokens[k]
                              when 'attempts' then case when a_draws[k] then 1 else 0 end
                              else 1 end;
      p_committed[i] := m_committed[s];
      p_reserved[i] := m_reserved[s];
      p_asked[i] := asked;
      if m_enforced[s] and m_committed[s] + m_reserved[s] + asked > m_amount[s]
        and (asked > 0 or m_unit[s] <> 'attempts') then
        -- A retry does not wait for others of its kind to end: what was drawn stays drawn.
        if m_committed[s] + asked > m_amount[s] or m_unit[s] = 'attempts' then
          exhausted := coalesce(exhausted, s);
        elsif contended is null or (m_rank[s] = 4 and m_rank[contended] < 4) then
          -- What is in flight is told before the money that it holds, as in the list of reasons.
          contended := s;
        end if;
      end if;
      i := i + 1;
    end loop;

    v_extra := case when has_extras then a_extra[k] end;
    v_stale := not a_final[k] and (v_extra->>'expects')::int <> a_attempt_no[k];
    v_key := v_extra->'idempotency';
    v_effect := v_extra->'effect';
    v_reason := null;
    -- Whether a duplicate may pass is asked before what was judged; whether its run goes on, and whether
    -- its key may call at all, before that.
    if coalesce(a_reason[k], '') not in ('run_closed', 'run_stopped', 'scope_missing') then
      if v_key is not null then
        v_claim := 'key ' || a_tenant[k] || ' ' || a_door[k] || ' ' || (v_key->>'digest');
        if v_claimed ? v_claim then
          v_holder := v_claimed->v_claim->>'attempt';
          v_reason := case when v_claimed->v_claim->>'content' = v_key->>'content'
                           then 'idempotency_in_progress' else 'idempotency_key_reused' end;
        else
          select d.reason, d.holder into v_reason, v_holder
          from tollgate_refuse_duplicate(a_tenant[k], a_door[k], v_key, v_now) as d;
        end if;
      end if;
      if v_effect is not null and v_reason is null then
        v_slot := 'effect ' || a_tenant[k] || ' ' || json_build_array(
          v_effect->>'type', v_effect->>'key', v_effect->>'effect')::text;
        if v_claimed ? v_slot then
          v_holder := v_claimed->v_slot->>'attempt';
          v_reason := case when v_claimed->v_slot->>'content' = v_effect->>'content'
                           then 'effect_in_flight' else 'operation_conflict' end;
        else
          select d.reason, d.holder into v_reason, v_holder
          from tollgate_refuse_effect(a_tenant[k], v_effect) as d;
        end if;
      end if;
      if v_reason is not null then
        a_reason[k] := v_reason;
        -- What the key was first used for is not told to whoever uses it for something else.
        a_retry[k] := case when v_reason <> 'idempotency_key_reused' then
          json_build_object('because', 'duplicate', 'prior_attempt', v_holder)::text end;
        a_draws[k] := false;
      end if;
    end if;

    if a_reason[k] is null and a_draws[k] and not a_is_named[k] then
      select t.derived_attempts_max into v_max from tenants t where t.tenant_id = a_tenant[k];
      if a_attempt_no[k] > v_max then
        a_reason[k] := 'retry_budget_exceeded';
        a_retry[k] := (a_retry[k]::jsonb || jsonb_build_object('attempts_max', v_max))::text;
      end if;
    end if;

    if v_stale and v_reason is null then
      a_outcome[k] := 'again';
      a_reason[k] := null;
    elsif a_reason[k] is not null then
      a_outcome[k] := 'block';
    elsif exhausted is not null then
      if not a_final[k] and m_clamps[exhausted] then
        a_outcome[k] := 'again';
      else
        a_outcome[k] := 'block';
      end if;
      a_reason[k] := case when m_share[exhausted] then 'run_share_exceeded' else
                       case m_rank[exhausted] when 0 then 'retry_budget_exceeded'
                         when 1 then 'run_budget_exceeded' when 2 then 'budget_exceeded'
                         when 3 then 'quota_exceeded' else 'concurrency_exceeded' end end;
    elsif contended is not null then
      a_outcome[k] := case when a_final[k] then 'block' else 'again' end;
      a_reason[k] := case m_rank[contended] when 4 then 'concurrency_exceeded'
                       else 'budget_contended' end;
    else
      -- A person is asked last, so that nobody approves what a limit would refuse.
      v_state := 'approved';
      if v_extra->'approval' is not null then
        v_ask := v_extra->'approval';
        -- What cannot be shown nobody can approve.
        if v_ask->>'sealed' is null then
          v_state := 'impossible';
        else
          select q.state, q.approval_id into v_state, v_approval
          from tollgate_ask_approval(
            a_tenant[k], v_ask->>'digest', v_ask->>'approval', v_ask->>'message', a_attempt[k], a_key[k],
            a_run[k], a_step[k], a_door[k], v_ask->>'operation', (resources::text[])[k], a_cost[k],
            v_ask->>'policies', (v_ask->>'quorum')::int, v_ask->>'role', (v_ask->>'expires_ms')::bigint,
            v_ask->>'sealed') as q;
          a_approval[k] := v_approval;
        end if;
      end if;
      if v_state <> 'approved' then
        a_outcome[k] := case v_state when 'pending' then 'require_approval' else 'block' end;
        a_reason[k] := case v_state when 'pending' then 'approval_required'
                         when 'consumed' then 'approval_used' when 'impossible' then 'approval_impossible'
                         when 'expired' then 'approval_expired' when 'lapsed' then 'approval_expired'
                         else 'approval_denied' end;
        continue;
      end if;
      for j in first..i - 1 loop
        s := p_slot[j];
        m_reserved[s] := m_reserved[s] + p_asked[j];
      end loop;
      if a_is_named[k] or a_retries[k] then
        v_numbered := v_numbered || jsonb_build_object(a_tenant[k] || a_step_digest[k], a_attempt_no[k]);
      end if;
      if v_key is not null then
        v_claimed := v_claimed || jsonb_build_object(v_claim,
          jsonb_build_object('attempt', a_attempt[k], 'content', v_key->>'content'));
        insert into idempotency_keys (tenant_id, door, key_digest, content_digest, attempt_id, claimed_at, expires_at)
        values (a_tenant[k], a_door[k], v_key->>'digest', v_key->>'content', a_attempt[k], v_now,
                v_now + (v_key->>'kept_ms')::bigint * interval '1 millisecond')
        on conflict (tenant_id, door, key_digest) do update
          set content_digest = excluded.content_digest, attempt_id = excluded.attempt_id,
              claimed_at = excluded.claimed_at, expires_at = excluded.expires_at;
      end if;
      if v_effect is not null then
        v_claimed := v_claimed || jsonb_build_object(v_slot,
          jsonb_build_object('attempt', a_attempt[k], 'content', v_effect->>'content'));
        insert into effects (tenant_id, operation_type, operation_key, effect, content_digest, attempt_id, run_id,
                             claimed_at)
        values (a_tenant[k], v_effect->>'type', v_effect->>'key', v_effect->>'effect', v_effect->>'content',
                a_attempt[k], a_run[k], v_now)
        on conflict (tenant_id, operation_type, operation_key, effect) do update
          set content_digest = excluded.content_digest, attempt_id = excluded.attempt_id,
              run_id = excluded.run_id, claimed_at = excluded.claimed_at;
      end if;
    end if;
  end loop;

  if p_len > 0 then
    update meters m set reserved = l.reserved
    from unnest(m_tenant, m_id, m_reserved, m_before) as l(tenant_id, meter_id, reserved, was)
    where m.tenant_id = l.tenant_id and m.meter_id = l.meter_id and l.reserved <> l.was;
  end if;

  insert into reservations (tenant_id, attempt_id, replica_id, meter_ids, meter_units, amounts,
                            cost_picousd, tokens, deadline_at)
  -- What its caller makes itself has no replica to lose: only its deadline ends its lease.
  select u.t, u.attempt, case u.door when 'step' then 'caller' else replica end,
         coalesce(p.ids, '{}'), coalesce(p.units, '{}'), coalesce(p.amounts, '{}'),
         u.cost, u.tokens, v_now + u.deadline * interval '1 millisecond'
  from unnest(a_tenant, a_attempt, a_door, a_cost, a_tokens, deadlines_ms::bigint[], a_outcome)
    with ordinality as u(t, attempt, door, cost, tokens, deadline, outcome, ord)
  left join (
    select d.n, array_agg(m.id) as ids, array_agg(m.unit) as units, array_agg(d.asked) as amounts
    from unnest(p_ask, p_slot, p_asked) as d(n, slot, asked)
    join unnest(m_id, m_unit) with ordinality as m(id, unit, slot) on m.slot = d.slot
    group by d.n
  ) as p on p.n = u.ord
  where u.outcome = 'allow';

  return query
  with judged as (
    select u.ord::int as n, u.*, coalesce(p.meters, '[]') as meters
    from unnest(a_tenant, a_attempt, a_key, a_run, a_step, a_step_digest, a_content, a_attempt_no, a_door,
                operations::text[], resources::text[], upstreams::text[], models::text[], a_outcome,
                a_reason, a_cost, price_versions::text[], string_to_array(records, E'\n'), a_retry, a_approval)
      with ordinality as u(tenant, attempt_id, key, run, step, step_digest, content_digest, attempt, door,
                           operation, resource, upstream, model, outcome, reason, cost, price, record, retry,
                           approval, ord)
    left join (
      select d.n, '[' || string_agg(
        m.head || ',"committed":"' || d.committed || '","reserved":"' || d.reserved
        || '","asked":"' || d.asked || '"}', ',' order by d.ord) || ']' as meters
      from unnest(p_ask, p_slot, p_committed, p_reserved, p_asked)
        with ordinality as d(n, slot, committed, reserved, asked, ord)
      join unnest(m_head) with ordinality as m(head, slot) on m.slot = d.slot
      group by d.n
    ) as p on p.n = u.ord
  ), recorded as (
    insert into decisions (tenant_id, attempt_id, key_id, run_id, step_id, step_digest, content_digest,
                           attempt, door, operation, resource, upstream, model, verdict, reason, decided_at,
                           estimate_picousd, price_version, approval_id, retry, meters, record)
    select tenant, attempt_id, key, run, step, step_digest, content_digest, attempt, door, operation, resource,
           upstream, model, outcome, reason, v_now, cost, price, approval, retry::json, meters::json, record::json
    from judged where outcome <> 'again'
  )
  select judged.n, judged.outcome, judged.reason, judged.attempt, v_now, judged.meters, judged.retry,
         judged.approval
  from judged;
end $$;
--> statement-breakpoint

-- The same posting, undone: what it would answer now. The arguments are those of tollgate_post, in its
-- order. One statement, so nobody waits for a client between a lock and its release: what the block
-- below locked is free again when the block is undone, and the variable keeps the answers.
create function tollgate_post_dry(
  text, text, text, text, text, text, text, text, text, text, text, text, text, text, text, text, text,
  text, text, text, text, text, text, text, text, text, text
) returns table (
  ask int, outcome text, reason text, attempt int, decided_at timestamptz, meters text, retry text,
  approval text
)
language plpgsql
as $$
#variable_conflict use_column
declare
  answers json;
begin
  begin
    select json_agg(p) into answers
    from tollgate_post($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18,
                       $19, $20, $21, $22, $23, $24, $25, $26, $27) as p;
    raise exception 'a dry posting is undone' using errcode = 'TGDRY';
  exception when sqlstate 'TGDRY' then
    null;
  end;
  return query
  select *
  from json_to_recordset(answers)
    as a(ask int, outcome text, reason text, attempt int, decided_at timestamptz, meters text, retry text,
         approval text);
end $$;
--> statement-breakpoint

-- Arguments as above; `usages` and `records` are one JSON document per line.
-- An attempt whose reservation is gone and whose settlement was a presumption (also that of an attempt
-- without a price, which presumes no cost) is corrected, once, by the difference; any other repeat
-- changes nothing. 'settled' | 'corrected' | 'repeated' | 'missing'.
create function tollgate_settle(
  tenant_ids text, attempt_ids text, endings text, bases text, costs text, tokens text, requests text,
  price_versions text, usages text, records text
) returns table (ask int, outcome text, overage numeric)
language plpgsql
-- Planned once, for tables of any size, see tollgate_post.
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
--> statement-breakpoint

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
