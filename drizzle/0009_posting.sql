-- The posting admits a batch: it checks and reserves every meter on each ask's path, all or none, and inserts the
-- decisions. One call, one commit, before the first upstream byte. What races is arbitrated here.
--
-- For the processor's sake who asks alike is looked up once, a limit that many asks meet is named once, and what a
-- batch holds and records is written by one statement.
--
-- Lock order. Posting: claims (advisory locks, by number), runs by name, meters by meter_id, an approval;
-- the reservations that it inserts nobody else knows yet. Settling: reservations by key, then meters by
-- meter_id, as late as can be. Giving back: meters, then only reservations that nobody holds. Whoever waits for a
-- meter holds no lower one, and whoever waits for a reservation holds no meter: there is no circle.

-- Arguments are array literals as text, one element per ask; `records` is one JSON document per line.
-- `extras` is null, or a JSON list of what few asks have: {"ask", "sdk_retries", "left", "expects",
-- "idempotency", "effect", "approval"}, see `store/posting.ts`.
-- `met_*` name each limit that the replica's snapshot knows on any path, once, with an ask of its tenant; `path_*` say
-- which ask meets which of them, by their numbers. Limits of runs are found here, for runs are too many to be in a
-- snapshot. What a limit allows is read here too: a replica with an older snapshot cannot admit by an older number.
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
  met_ask text, met_limit text, met_subject text, met_share text,
  path_ask text, path_met text,
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
  n constant int := cardinality(attempt_ids::text[]);
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
  a_outcome text[] := array_fill('allow'::text, array[n]);
  a_attempt_no int[] := array_fill(1, array[n]);
  -- Why an ask is a further attempt, as JSON; null for a first one. Who is one draws on retry budgets.
  a_retry text[] := array_fill(null::text, array[n]);
  a_draws boolean[] := array_fill(false, array[n]);
  a_approval text[] := array_fill(null::text, array[n]);
  -- What few asks have, by their number; and whether any ask of this batch has any.
  a_extra json[];
  has_extras constant boolean := extras is not null;
  -- Derived steps whose last attempt failed of late, so that this ask is a retry; and the locks of claims.
  a_retries boolean[] := array_fill(false, array[n]);
  v_locks bigint[] := '{}';
  -- Whether an ask says itself of which step it is an attempt: by a name, or by an idempotency key.
  a_is_named boolean[];
  prior record; extra record;
  -- Of this batch: the last number of each step that was given, and who claimed what.
  v_numbered jsonb := '{}'; v_claimed jsonb := '{}';
  v_extra json; v_key json; v_effect json; v_claim text; v_slot text; v_reason text; v_holder text;
  v_ask json; v_state text; v_approval text; v_stale boolean; v_max int; v_left text; v_sdk int;

  -- The path: one element per (ask, meter), ordered by ask, then by the precedence of its refusal.
  p_ask int[]; p_slot int[]; p_reserved numeric[]; p_asked numeric[];
  p_len int;

  -- The meters on any path, by slot. What a refusal is called depends on the rank, see below.
  m_tenant text[]; m_limit text[]; m_subject text[]; m_start timestamptz[];
  m_unit text[]; m_rank int[]; m_share boolean[]; m_enforced boolean[]; m_clamps boolean[]; m_amount numeric[];
  m_head text[];
  m_id bigint[]; m_committed numeric[]; m_reserved numeric[]; m_before numeric[];
  -- The slots that some ask not yet refused meets; null means all of them. And the slots that have a row.
  m_needed int[]; m_found int[];

  any_stopped boolean;
  k int; i int; j int; first int; s int; asked numeric; exhausted int; contended int;
begin
  -- Its number before its moment: what was recorded before a moment has a smaller number than whoever takes one
  -- after it, however long it waits for a row in between.
  perform pg_current_xact_id();
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
    select p.*
    from tollgate_prior_attempts(a_tenant, (
      select array_agg(case when not named then digest end order by ord)
      from unnest(a_is_named, a_step_digest) with ordinality as s(named, digest, ord))) as p
  loop
    v_left := case when has_extras then a_extra[prior.ask]->>'left' end;
    if prior.state = 'running' and prior.attempt_id is distinct from v_left then
      a_attempt_no[prior.ask] := prior.attempt;
    elsif (prior.state <> 'succeeded' or prior.unread)
      and (prior.state in ('running', 'left') or prior.since >= v_now - tollgate_retry_window()) then
      a_retries[prior.ask] := true;
      v_locks := v_locks || hashtextextended(
        'step ' || a_tenant[prior.ask] || ' ' || a_step_digest[prior.ask], 0);
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
      select d.t, d.r, d.key, v_now
      from (
        select distinct on (t, r) t, r, key
        from unnest(a_tenant, a_run, a_named, a_key, a_reason) as u(t, r, named, key, reason)
        where named and reason is null order by t, r
      ) as d
      where not exists (select from runs o where o.tenant_id = d.t and o.run_id = d.r)
      order by d.t, d.r
      on conflict do nothing;

    select bool_or(locked.state <> 'open') into any_stopped from (
      select runs.state
      from runs
      where (runs.tenant_id, runs.run_id) in (
        select u.t, unnest(own.ancestors || own.run_id) collate "C"
        from (select distinct t, r from unnest(a_tenant, a_run, a_named) as d(t, r, named) where named) as u
        join runs own on own.tenant_id = u.t and own.run_id = u.r)
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
  perform pg_current_xact_id();
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
    for prior in select p.* from tollgate_same_content(a_tenant, a_content, a_step_digest) as p loop
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
  with named as materialized (
    select d.t, d.r, l.limit_id, l.scope_id, l.resource
    from (select distinct t, r from unnest(a_tenant, a_run, a_named) as d(t, r, named) where named) as d
    join runs on runs.tenant_id = d.t and runs.run_id = d.r
    join limits l on l.tenant_id = d.t and l.scope_kind = 'run'
      and l.scope_id = any ((runs.ancestors || runs.run_id) collate "C")
    where l.removed_at is null
  ), of_runs as materialized (
    select u.asks, named.t as tenant_id, named.limit_id,
           case named.resource when '*' then named.scope_id || ' ' || u.resource else named.scope_id end as subject
    from named
    join (
      select t, r, resource, array_agg(ord::int) as asks
      from unnest(a_tenant, a_run, a_named, a_retry_resource) with ordinality as d(t, r, named, resource, ord)
      where named
      group by t, r, resource
    ) as u on u.t = named.t and u.r = named.r and named.resource in ('', '*', u.resource)
  ), wanted as (
    select a_tenant[m.n] as tenant_id, m.limit_id, m.subject, m.share, m.place::int as place
    from unnest(met_ask::int[], met_limit::text[], met_subject::text[], met_share::int[])
      with ordinality as m(n, limit_id, subject, share, place)
    union all
    select distinct tenant_id, limit_id, subject, null::int, null::int from of_runs
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
           d.place, row_number() over (order by d.tenant_id, d.limit_id, d.subject)::int as slot
    from wanted d
    join limits l on l.tenant_id = d.tenant_id and l.limit_id = d.limit_id
    where l.removed_at is null
  ), path as (
    select array_agg(crossing.n order by crossing.n, crossing.rank, crossing.slot) as ask,
           array_agg(crossing.slot order by crossing.n, crossing.rank, crossing.slot) as slot
    from (
      select on_path.n, met.rank, met.slot
      from unnest(path_ask::int[], path_met::int[]) as on_path(n, place)
      join met on met.place = on_path.place
      union all
      select on_path.n, met.rank, met.slot
      from of_runs
      join met on met.place is null and met.tenant_id = of_runs.tenant_id and met.limit_id = of_runs.limit_id
        and met.subject = of_runs.subject
      cross join lateral unnest(of_runs.asks) as on_path(n)
    ) as crossing
  ), meter as (
    select array_agg(tenant_id) as tenant, array_agg(limit_id) as limit_id, array_agg(subject) as subject,
           array_agg(window_start) as start, array_agg(unit) as unit, array_agg(rank) as rank,
           array_agg(mode = 'enforce') as enforced, array_agg(on_exceed = 'clamp') as clamps,
           array_agg(amount) as amount, array_agg(is_share) as is_share,
           -- What a meter is stands in every decision that met it. So what nearly every limit is (enforced, refusing,
           -- never reset) is left out, as in the record beside it: 1,550 bytes for a decision of four meters, and
           -- 1,990 with all of it. The window is always told.
           array_agg('{"limit_id":"' || limit_id || '","scope":"' || scope_kind || '","subject":'
             || to_json(subject)::text || ',"unit":"' || unit || '","window":"' || window_kind || '"'
             || case mode when 'enforce' then '' else ',"mode":"' || mode || '"' end
             || case when is_share then ',"share":"run"' else '' end
             || case on_exceed when 'refuse' then '' else ',"on_exceed":"' || on_exceed || '"' end
             || ',"limit":"' || amount || '"'
             || case when window_end is null then '' else ',"resets_at":' || to_json(window_end)::text end) as head
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

    p_reserved := array_fill(0::numeric, array[p_len]);
    p_asked := p_reserved;
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

    if has_extras then
      v_extra := a_extra[k];
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

  return query
  with path as (
    select d.n, array_agg(m.id order by d.ord) as ids, array_agg(m.unit order by d.ord) as units,
           array_agg(d.asked order by d.ord) as amounts,
           '[' || string_agg(
             m.head || ',"committed":"' || m.committed || '","reserved":"' || d.reserved
             || '","asked":"' || d.asked || '"}', ',' order by d.ord) || ']' as meters
    from unnest(p_ask, p_slot, p_reserved, p_asked) with ordinality as d(n, slot, reserved, asked, ord)
    join unnest(m_id, m_unit, m_head, m_committed) with ordinality as m(id, unit, head, committed, slot)
      on m.slot = d.slot
    group by d.n
  ), judged as materialized (
    select u.ord::int as n, u.*, p.ids, p.units, p.amounts, coalesce(p.meters, '[]') as meters
    from unnest(a_tenant, a_attempt, a_key, a_run, a_step, a_step_digest, a_content, a_attempt_no, a_door,
                operations::text[], resources::text[], upstreams::text[], models::text[], a_outcome,
                a_reason, a_cost, a_tokens, price_versions::text[], deadlines_ms::bigint[],
                string_to_array(records, E'\n'), a_retry, a_approval)
      with ordinality as u(tenant, attempt_id, key, run, step, step_digest, content_digest, attempt, door,
                           operation, resource, upstream, model, outcome, reason, cost, tokens, price, deadline,
                           record, retry, approval, ord)
    left join path as p on p.n = u.ord
  ), held as (
    insert into reservations (tenant_id, attempt_id, replica_id, meter_ids, meter_units, amounts,
                              cost_picousd, tokens, deadline_at)
    -- What its caller makes itself has no replica to lose: only its deadline ends its lease.
    select tenant, attempt_id, case door when 'step' then 'caller' else replica end,
           coalesce(ids, '{}'), coalesce(units, '{}'), coalesce(amounts, '{}'),
           cost, tokens, v_now + deadline * interval '1 millisecond'
    from judged where outcome = 'allow'
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
  text, text, text, text, text, text, text, text, text, text, text, text
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
                       $19, $20, $21, $22, $23, $24, $25, $26, $27, $28, $29) as p;
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
