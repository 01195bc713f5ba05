-- Each of these two questions has one index that answers it in order, and no other: a plan that is made while the table
-- is small takes any index that begins with the tenant, reads all that the tenant had before, and is kept until the
-- table is analyzed.
DROP INDEX "decisions_of_a_step";--> statement-breakpoint
CREATE INDEX "decisions_of_a_step" ON "decisions" USING btree (("tenant_id" || "step_digest"),"decided_at","attempt") WHERE "decisions"."verdict" = 'allow' and "decisions"."step_digest" is not null;--> statement-breakpoint
-- As it was, by that expression.
create or replace function tollgate_prior_attempts(tenants text[], steps text[]) returns table (
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
--> statement-breakpoint
-- The posting asks it, in place of its own question: `tollgate_post` of 0012, with that one statement changed.
do $$
declare
  v_post constant text := pg_get_functiondef('tollgate_post'::regproc);
  v_from constant int := strpos(v_post, 'select u.ord::int as ask, same.attempt_id');
  v_to constant int := strpos(v_post, 'where u.content is not null') + length('where u.content is not null');
begin
  if v_from = 0 or v_to < v_from then
    raise exception 'tollgate_post is not the function that this migration changes';
  end if;
  execute overlay(v_post placing 'select p.* from tollgate_same_content(a_tenant, a_content, a_step_digest) as p'
                  from v_from for v_to - v_from);
end $$;
