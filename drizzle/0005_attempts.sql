-- What became of an attempt, and which attempts came before an ask.
--
-- Each of the two lookups of a posting (the last attempt of a step, the same content under another step) has one index
-- that answers it in order, and no other: a plan that is made while the table is small takes any index that begins with
-- the tenant, reads all that the tenant had before, and is kept until the table is analyzed.

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
-- Those of one step within a batch are one lookup: while the posting before this one flies, each lookup passes over
-- all the rows that it has written and nobody can see yet.
create function tollgate_prior_attempts(tenants text[], steps text[]) returns table (
  ask int, attempt_id text, attempt int, state text, since timestamptz, unread boolean
)
language plpgsql stable
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_sort = off
set enable_mergejoin = off
set enable_hashjoin = off
set jit = off
as $$
#variable_conflict use_column
begin
  return query
  with asked as (
    select u.t, u.step, array_agg(u.ord::int) as asks
    from unnest(tenants, steps) with ordinality as u(t, step, ord)
    where u.step is not null
    group by u.t, u.step
  )
  select alike.ask, last.attempt_id::text, last.attempt,
         tollgate_state_named(r.state, r.left_at, s.ending),
         coalesce(s.settled_at, r.unknown_at, r.left_at, last.decided_at), coalesce(s.unread, false)
  from asked u
  cross join lateral (
    select d.attempt_id, d.attempt, d.decided_at from decisions d
    where d.tenant_id || d.step_digest = u.t || u.step and d.verdict = 'allow'
    order by d.decided_at desc, d.attempt desc limit 1
  ) as last
  -- By key: a plan made while the table is empty would read all that its tenant holds, for each step.
  left join lateral (
    select r.state, r.left_at, r.unknown_at from reservations r
    where r.tenant_id = u.t and r.attempt_id = last.attempt_id offset 0
  ) as r on true
  left join lateral (
    select s.ending, s.settled_at, (s.record->>'client_left')::boolean as unread from settlements s
    where r.state is null and s.tenant_id = u.t and s.attempt_id = last.attempt_id
    order by s.line desc limit 1
  ) as s on true
  cross join lateral unnest(u.asks) as alike(ask);
end $$;
--> statement-breakpoint

-- Who has had the same content under another step: one row to either side of the step's own in the order of the index.
-- `<>` would read past every earlier attempt of this step, which is all that a step called ten thousand times with one
-- content has.
create function tollgate_same_content(tenants text[], contents text[], steps text[]) returns table (
  ask int, attempt_id text
)
language plpgsql stable
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_sort = off
set enable_mergejoin = off
set enable_hashjoin = off
set jit = off
as $$
#variable_conflict use_column
begin
  return query
  select u.ord::int, same.attempt_id::text
  from unnest(tenants, contents, steps) with ordinality as u(t, content, step, ord)
  cross join lateral (
    (select d.attempt_id from decisions d
     where d.tenant_id = u.t and d.content_digest = u.content and d.verdict = 'allow' and d.step_digest < u.step
     order by d.step_digest limit 1)
    union all
    (select d.attempt_id from decisions d
     where d.tenant_id = u.t and d.content_digest = u.content and d.verdict = 'allow' and d.step_digest > u.step
     order by d.step_digest limit 1)
    limit 1
  ) as same
  where u.content is not null;
end $$;
