-- Alerts of budgets: which thresholds were passed, told by the outbox in the transaction that says they were told.
--
-- What is looked at are the meters of the calls that were settled since the last look, and no others: nothing else
-- moves a meter for good, and the budgets of customers are too many to be read again and again.

-- An amount as messages say it: dollars as a decimal text, tokens as a number.
create function tollgate_amount_json(unit text, amount numeric) returns json
language sql immutable
as $$
  select case unit when 'usd' then to_json(trim_scale(amount * 0.000000000001)::text) else to_json(amount) end
$$;
--> statement-breakpoint

-- Looks at what was settled since the last time, at most so many lines, and writes what is to be told, at the
-- percentages that the tenant chose. One caller at a time: whoever comes meanwhile gets no answer and goes on. It
-- follows the roll-ups, which rates are made of.
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
