-- Alerts of budgets: which thresholds were passed, told by the outbox in the transaction that says they were told.
--
-- What is looked at are the meters of the calls that were settled since the last look, and no others: nothing else
-- moves a meter for good, and the budgets of customers are too many to be read again and again.

CREATE TABLE "budget_alert_state" (
	"one" smallint PRIMARY KEY DEFAULT 1 NOT NULL,
	"looked_to" bigint DEFAULT 0 NOT NULL,
	CONSTRAINT "budget_alert_state_is_one_row" CHECK ("budget_alert_state"."one" = 1)
);
--> statement-breakpoint
CREATE TABLE "budget_alerts" (
	"tenant_id" text collate "C" NOT NULL,
	"limit_id" text collate "C" NOT NULL,
	"subject" text collate "C" NOT NULL,
	"window_start" timestamp (6) with time zone NOT NULL,
	"amount" numeric(38, 0) NOT NULL,
	"threshold" smallint NOT NULL,
	"committed" numeric(38, 0) NOT NULL,
	"reserved" numeric(38, 0) NOT NULL,
	"forecast" numeric(38, 0),
	"window_end" timestamp (6) with time zone,
	"told_at" timestamp (6) with time zone DEFAULT tollgate_now() NOT NULL,
	CONSTRAINT "budget_alerts_once" PRIMARY KEY("tenant_id","limit_id","subject","window_start","amount","threshold"),
	CONSTRAINT "budget_alerts_threshold_is_a_percentage" CHECK ("budget_alerts"."threshold" between 0 and 100)
);
--> statement-breakpoint
CREATE INDEX "budget_alerts_by_end" ON "budget_alerts" USING btree ("window_end");
--> statement-breakpoint
-- What was settled before is nobody's news.
insert into budget_alert_state (looked_to) values (pg_snapshot_xmin(pg_current_snapshot())::text::bigint);
--> statement-breakpoint

-- What a key, a model, a customer or the tenant itself used in the last hour, per hour: of the quarters of an hour
-- that have been rolled up, from the beginning of the one an hour ago. Null where its limit names a model by an
-- alias, which the roll-ups do not know.
create function tollgate_hourly_rate(tenant text, scope text, subject text, unit text, at timestamptz) returns numeric
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
      where d.tenant_id = tenant and d.dimension_id = c.dimension_id offset 0
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
      where d.tenant_id = tenant and d.dimension_id = c.dimension_id offset 0
    ) as d
    where d.customer = subject
  )
  select round((select sum(case unit when 'usd' then u.cost_picousd else u.tokens end) from used u)
               * 3600 / extract(epoch from at - since.start))
  from since
$$;
--> statement-breakpoint

-- An amount as messages say it: dollars as a decimal text, tokens as a number.
create function tollgate_amount_json(unit text, amount numeric) returns json
language sql immutable
as $$
  select case unit when 'usd' then to_json(trim_scale(amount * 0.000000000001)::text) else to_json(amount) end
$$;
--> statement-breakpoint

-- The meters that settlements of these transactions moved, each in the window in which its call was decided.
-- Without those of runs and operations: who is refused there is told so at once, and they are as many as calls.
create function tollgate_moved_budgets(first bigint, last bigint) returns table (
  tenant_id text, limit_id text, subject text, scope_kind text, unit text, window_kind text, amount numeric,
  window_start timestamptz, window_end timestamptz, committed numeric, reserved numeric
)
language sql stable
set enable_seqscan = off
set enable_mergejoin = off
set enable_hashjoin = off
set jit = off
as $$
  with touched as (
    select distinct s.tenant_id, t.limit_id, t.subject, w.starts, w.ends
    from settlements s
    cross join lateral (
      select d.meters, d.decided_at from decisions d
      where d.tenant_id = s.tenant_id and d.attempt_id = s.attempt_id offset 0
    ) as d
    cross join lateral json_to_recordset(d.meters) as t(limit_id text, subject text)
    cross join lateral (
      select l.* from limits l where l.tenant_id = s.tenant_id and l.limit_id = t.limit_id offset 0
    ) as l
    cross join lateral (
      select tollgate_window_start(l.window_kind, d.decided_at, l.time_zone) as starts,
             tollgate_window_end(l.window_kind, d.decided_at, l.time_zone) as ends
    ) as w
    where s.posted_in >= first and s.posted_in < last
      and l.removed_at is null and l.mode = 'enforce' and l.unit in ('usd', 'tokens') and l.amount > 0
      -- A minute is over before anybody reads that half of it is used.
      and l.window_kind <> 'minute'
      and ((l.scope_kind = 'tenant' and t.subject = '') or l.scope_kind = 'each_customer'
           or (l.scope_kind in ('key', 'model') and t.subject = l.scope_id))
  )
  select t.tenant_id, t.limit_id, t.subject, l.scope_kind, l.unit, l.window_kind, l.amount, t.starts, t.ends,
         m.committed, m.reserved
  from touched t
  cross join lateral (
    select l.* from limits l where l.tenant_id = t.tenant_id and l.limit_id = t.limit_id offset 0
  ) as l
  cross join lateral (
    select m.committed, m.reserved from meters m
    where m.tenant_id = t.tenant_id and m.limit_id = t.limit_id and m.subject = t.subject
      and m.window_start = t.starts offset 0
  ) as m
$$;
--> statement-breakpoint

-- Looks at what was settled since the last time, at most so many lines, and writes what is to be told. One caller at
-- a time: whoever comes meanwhile gets no answer and goes on. It follows the roll-ups, which rates are made of.
create function tollgate_tell_budgets(most int, new_message text) returns table (told int, is_behind boolean)
language plpgsql
set enable_seqscan = off
set jit = off
as $$
#variable_conflict use_column
declare
  v_from bigint;
  v_until bigint;
  v_to bigint;
  v_now timestamptz := tollgate_now();
  v_told int := 0;
  v record;
begin
  select s.looked_to into v_from from budget_alert_state s where s.one = 1 for update skip locked;
  if v_from is null then
    return;
  end if;
  select r.rolled_up_to into v_until from roll_up_state r where r.one = 1;
  select least(v_until, min(s.posted_in)) into v_to
  from (select s.posted_in from settlements s where s.posted_in >= v_from and s.posted_in < v_until
        order by s.posted_in offset most limit 1) as s;
  if v_to = v_from and v_from < v_until then
    v_to := v_from + 1;
  end if;

  for v in
    with moved as materialized (
      select * from tollgate_moved_budgets(v_from, v_to)
    ), passed as (
      select m.*, t.percent, null::numeric as forecast
      from moved m cross join (values (50), (80), (100)) as t(percent)
      where (m.committed + m.reserved) * 100 >= m.amount * t.percent
      union all
      select m.*, 0, f.used
      from moved m
      cross join lateral (
        select least(m.committed + m.reserved + round(
                 tollgate_hourly_rate(m.tenant_id, m.scope_kind, m.subject, m.unit, v_now)
                 * (extract(epoch from m.window_end - v_now) / 3600)), 10::numeric ^ 38 - 1) as used
        offset 0
      ) as f
      where m.window_kind in ('day', 'week', 'month') and m.window_end > v_now
        and m.committed + m.reserved < m.amount and f.used > m.amount
    ), first_time as (
      insert into budget_alerts as a (tenant_id, limit_id, subject, window_start, amount, threshold, committed, reserved,
                                      forecast, window_end)
      select p.tenant_id, p.limit_id, p.subject, p.window_start, p.amount, p.percent, p.committed, p.reserved,
             p.forecast, p.window_end
      from passed p
      on conflict do nothing
      returning a.*
    )
    select f.*, m.scope_kind, m.unit, m.window_kind
    from first_time f
    join moved m on m.tenant_id = f.tenant_id and m.limit_id = f.limit_id and m.subject = f.subject
      and m.window_start = f.window_start
    order by f.tenant_id, f.limit_id, f.subject, f.window_start, f.threshold
  loop
    v_told := v_told + 1;
    perform tollgate_outbox(v.tenant_id, new_message || '_' || v_told,
      case v.threshold when 0 then 'budget.forecast' else 'budget.threshold' end,
      json_build_object(
        'type', case v.threshold when 0 then 'budget.forecast' else 'budget.threshold' end,
        'timestamp', tollgate_iso(v_now),
        'data', json_strip_nulls(json_build_object(
          'tenant', v.tenant_id, 'limit_id', v.limit_id, 'scope', v.scope_kind,
          'subject', nullif(v.subject, ''), 'unit', v.unit, 'window', v.window_kind,
          'window_start', case when v.window_kind <> 'none' then tollgate_iso(v.window_start) end,
          'resets_at', tollgate_iso(v.window_end),
          'limit', tollgate_amount_json(v.unit, v.amount),
          'committed', tollgate_amount_json(v.unit, v.committed),
          'reserved', tollgate_amount_json(v.unit, v.reserved),
          'threshold_percent', nullif(v.threshold, 0),
          'forecast', case when v.threshold = 0 then tollgate_amount_json(v.unit, v.forecast) end)))::text);
  end loop;

  -- Of windows that ended long ago nothing is told any more.
  delete from budget_alerts a where a.ctid in (
    select b.ctid from budget_alerts b where b.window_end < v_now - interval '90 days' limit 500);
  update budget_alert_state s set looked_to = v_to where s.one = 1;
  return query select v_told, v_to < v_until;
end $$;
