-- Reports that are sent when a period has ended: a schedule holds the period that is told next. What it tells is put
-- into the outbox by the statement that says it was told. And at which parts of a budget a tenant is told is its own.

CREATE TABLE "report_schedules" (
	"tenant_id" text collate "C" NOT NULL,
	"schedule_id" text collate "C" NOT NULL,
	"name" text NOT NULL,
	"report" text collate "C" NOT NULL,
	"query" json NOT NULL,
	"every" text collate "C" NOT NULL,
	"time_zone" text collate "C" NOT NULL,
	"format" text collate "C" NOT NULL,
	"begins_at" timestamp (6) with time zone NOT NULL,
	"ends_at" timestamp (6) with time zone NOT NULL,
	"held_until" timestamp (6) with time zone DEFAULT 'epoch' NOT NULL,
	"created_by" text collate "C" NOT NULL,
	"created_at" timestamp (6) with time zone DEFAULT tollgate_now() NOT NULL,
	"removed_at" timestamp (6) with time zone,
	CONSTRAINT "report_schedules_tenant_id_schedule_id_pk" PRIMARY KEY("tenant_id","schedule_id"),
	CONSTRAINT "report_schedules_report_is_known" CHECK ("report_schedules"."report" in ('cost-per-outcome', 'spend', 'waste', 'budgets')),
	CONSTRAINT "report_schedules_period_is_known" CHECK ("report_schedules"."every" in ('day', 'week', 'month')),
	CONSTRAINT "report_schedules_format_is_known" CHECK ("report_schedules"."format" in ('json', 'csv')),
	CONSTRAINT "report_schedules_begin_before_they_end" CHECK ("report_schedules"."begins_at" < "report_schedules"."ends_at")
);
--> statement-breakpoint
CREATE TABLE "reports_told" (
	"tenant_id" text collate "C" NOT NULL,
	"schedule_id" text collate "C" NOT NULL,
	"begins_at" timestamp (6) with time zone NOT NULL,
	"ends_at" timestamp (6) with time zone NOT NULL,
	"told_at" timestamp (6) with time zone DEFAULT tollgate_now() NOT NULL,
	CONSTRAINT "reports_are_told_once" PRIMARY KEY("tenant_id","schedule_id","begins_at","ends_at")
);
--> statement-breakpoint
ALTER TABLE "tenants" ADD COLUMN "alert_percents" smallint[] DEFAULT '{50,80,100}' NOT NULL;--> statement-breakpoint
ALTER TABLE "report_schedules" ADD CONSTRAINT "report_schedules_tenant_id_tenants_tenant_id_fk" FOREIGN KEY ("tenant_id") REFERENCES "public"."tenants"("tenant_id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "report_schedules_by_end" ON "report_schedules" USING btree ("ends_at") WHERE "report_schedules"."removed_at" is null;--> statement-breakpoint
ALTER TABLE "tenants" ADD CONSTRAINT "tenants_alerts_are_percentages" CHECK (1 <= all("tenants"."alert_percents") and 100 >= all("tenants"."alert_percents") and cardinality("tenants"."alert_percents") <= 10);
--> statement-breakpoint

-- As before, with the percentages of the tenant in place of 50, 80 and 100.
-- Looks at what was settled since the last time, at most so many lines, and writes what is to be told. One caller at
-- a time: whoever comes meanwhile gets no answer and goes on. It follows the roll-ups, which rates are made of.
create or replace function tollgate_tell_budgets(most int, new_message text) returns table (told int, is_behind boolean)
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
      from moved m
      join tenants w on w.tenant_id = m.tenant_id
      cross join lateral unnest(w.alert_percents) as t(percent)
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
