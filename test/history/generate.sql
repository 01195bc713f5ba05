-- A made-up business of several months: runs of four kinds of work, what they asked of models and tools,
-- how that ended, and what came of it. All of it follows from the number of a run and the seed.
--
-- The functions are the session's own. Nothing here is read by the program.

create function pg_temp.chance(i bigint, salt int) returns float8
language sql immutable strict parallel safe
return ((hashint8extended(i, salt) >> 11) & 9007199254740991) / 9007199254740992.0;
--> statement
-- 10 characters of time and 16 of chance, as the program's own identifiers are.
create function pg_temp.made_id(prefix text, at timestamptz, i bigint, salt int) returns text
language sql immutable strict parallel safe
return (
  select prefix || '_' || string_agg(substr('0123456789abcdefghjkmnpqrstvwxyz', ((ms >> (5 * p)) & 31)::int + 1, 1), ''
                                     order by p desc)
         || substr(md5(i::text || ':' || salt::text), 1, 16)
  from (select floor(extract(epoch from at) * 1000)::bigint as ms) as m, generate_series(0, 9) as p
);
--> statement
create temp table made_tenant (
  n int primary key, tenant_id text, low float8, high float8, keys text[], limit_id text
);
--> statement
create temp table made_meter (
  tenant_id text, window_start timestamptz, meter_id bigint, primary key (tenant_id, window_start)
);
--> statement
create temp table made_work (
  n int primary key, workflow text, low float8, high float8, steps text[], calls float8, outcome text, chance float8,
  dear float8, worth numeric
);
--> statement
-- `dear`: how much of it goes to the dear model in the beginning; support drifts there, which is the rise in cost.
insert into made_work values
  (1, 'support', 0.00, 0.55, '{classify,search,answer,review}', 3.0, 'ticket_resolved', 0.82, 0.10, 1500000000000),
  (2, 'refunds', 0.55, 0.75, '{classify,check_policy,refund_payment,notify}', 2.0, 'refund_paid', 0.90, 0.05, 800000000000),
  (3, 'research', 0.75, 0.90, '{plan,search,read,write}', 7.0, 'report_delivered', 0.70, 0.60, 9000000000000),
  (4, 'onboarding', 0.90, 1.00, '{greet,collect,verify}', 2.5, 'account_opened', 0.75, 0.02, 4000000000000);
--> statement
create temp table made_model (name text primary key, upstream text, input numeric, cached numeric, output numeric);
--> statement
-- Pico-dollars a token, of the list prices.
insert into made_model values
  ('gpt-5-mini', 'openai', 250000, 25000, 2000000),
  ('gpt-5', 'openai', 1250000, 125000, 10000000),
  ('claude-sonnet-4-5', 'anthropic', 3000000, 300000, 15000000),
  ('text-embedding-3-small', 'openai', 20000, 20000, 0);
--> statement
-- The attempts of runs `first` to before `last` of `runs` in all, between two moments.
create function pg_temp.made_attempts(
  first bigint, last bigint, runs bigint, from_at timestamptz, to_at timestamptz, seed bigint
)
returns table (
  run bigint, j int, calls int, tenant_id text, key_id text, customer text, workflow text, started_at timestamptz,
  at timestamptz, step text, model text, upstream text, is_tool boolean, input bigint, cached bigint, output bigint,
  cost numeric, ending text, basis text, is_retry boolean, blocked text, run_id text, attempt_id text,
  named boolean
)
language sql stable
as $$
  with run as (
    select s.i, t.tenant_id, t.keys[1 + floor(pg_temp.chance(i, 2) * cardinality(t.keys))::int] as key_id,
           w.n as work, w.workflow, w.steps, w.calls, w.dear, s.n::float8 / runs as progress, pg_temp.chance(i, 3) >= 0.08 as named,
           'customer-' || floor(power(pg_temp.chance(i, 4), 2) * 200)::int as customer,
           from_at + (to_at - from_at) * ((s.n + pg_temp.chance(i, 5)) / (runs + 1)) as began
    from (select n + seed as i, n from generate_series(first, last - 1) as n) as s
    join made_tenant t on pg_temp.chance(i, 1) >= t.low and pg_temp.chance(i, 1) < t.high
    join made_work w on pg_temp.chance(i, 6) >= w.low and pg_temp.chance(i, 6) < w.high
  ), timed as (
    -- People work by day, and less at weekends.
    select run.*, case when run.named then least(40, 1 + floor(-ln(1 - pg_temp.chance(i, 7)) * run.calls))::int else 1 end
             as many,
           case when extract(isodow from began) >= 6 and pg_temp.chance(i, 8) < 0.6 and began - interval '2 days' > from_at
             then began - interval '2 days' else began end as started
    from run
  ), call as (
    select timed.*, j, timed.i * 64 + j as c,
           timed.started + j * interval '7 seconds' * (0.5 + pg_temp.chance(timed.i * 64 + j, 9)) as at,
           timed.steps[1 + least(cardinality(timed.steps) - 1, (j - 1) * cardinality(timed.steps) / timed.many)] as step
    from timed cross join lateral generate_series(1, timed.many) as j
  ), chosen as (
    select call.*, call.step in ('search', 'refund_payment', 'notify', 'verify') as is_tool,
           case
             when call.step = 'read' then 'text-embedding-3-small'
             when pg_temp.chance(c, 10) < call.dear + case call.work when 1 then 0.35 * call.progress else 0 end then 'gpt-5'
             when pg_temp.chance(c, 11) < 0.12 then 'claude-sonnet-4-5'
             else 'gpt-5-mini'
           end as model,
           400 + floor(-ln(1 - pg_temp.chance(c, 12)) * 7000)::bigint as input,
           60 + floor(-ln(1 - pg_temp.chance(c, 13)) * 700)::bigint as output,
           pg_temp.chance(c, 14) as luck, j > 1 and pg_temp.chance(c, 15) < 0.07 as is_retry,
           case when pg_temp.chance(c, 16) < 0.015
             then (array['policy_denied', 'retry_budget_exceeded', 'run_budget_exceeded', 'quota_exceeded'])
                  [1 + floor(pg_temp.chance(c, 17) * 4)::int] end as blocked
    from call
  ), priced as (
    select chosen.*, m.upstream, floor(chosen.input * pg_temp.chance(c, 18) * 0.6)::bigint as cached,
           m.input as p_input, m.cached as p_cached, m.output as p_output,
           case when luck < 0.93 then 'succeeded' when luck < 0.965 then 'failed' when luck < 0.985 then 'aborted'
                when luck < 0.993 then 'unknown' else 'succeeded' end as ending,
           case when luck < 0.93 then 'computed' when luck < 0.965 then 'computed' when luck < 0.985 then 'estimated'
                when luck < 0.993 then 'presumed' else 'unpriced' end as basis
    from chosen join made_model m on m.name = chosen.model
  )
  select i, j, many, tenant_id, key_id, customer, workflow, started, at, step, model, upstream, is_tool,
         case when is_tool then 0 else input end,
         -- Embeddings answer no tokens, and no provider tells cached ones of them.
         case when is_tool or p_output = 0 then 0 else cached end,
         case when is_tool or p_output = 0 then 0 else output end,
         case when is_tool then 1000000000
              else (input - cached) * p_input + cached * p_cached + case ending when 'failed' then 0 else output end * p_output
         end,
         ending, case when is_tool and basis = 'unpriced' then 'computed' else basis end, is_retry, blocked,
         case when named then pg_temp.made_id('run', started, i, 1)
              else 'run_' || substr(pg_temp.made_id('att', at, c, 2), 5) end,
         pg_temp.made_id('att', at, c, 2),
         named
  from priced
$$;
