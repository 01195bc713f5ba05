CREATE TABLE "cost_cells" (
	"tenant_id" text collate "C" NOT NULL,
	"bucket" timestamp (6) with time zone NOT NULL,
	"dimension_id" uuid NOT NULL,
	"attempts" bigint NOT NULL,
	"retries" bigint NOT NULL,
	"cost_picousd" numeric(38, 0) NOT NULL,
	"wasted_picousd" numeric(38, 0) NOT NULL,
	"tokens" bigint NOT NULL,
	"input_tokens" bigint NOT NULL,
	"cached_tokens" bigint NOT NULL,
	"output_tokens" bigint NOT NULL,
	CONSTRAINT "cost_cells_tenant_id_bucket_dimension_id_pk" PRIMARY KEY("tenant_id","bucket","dimension_id")
);
--> statement-breakpoint
CREATE TABLE "cost_dimensions" (
	"tenant_id" text collate "C" NOT NULL,
	"dimension_id" uuid NOT NULL,
	"key_id" text collate "C" NOT NULL,
	"customer" text NOT NULL,
	"workflow" text NOT NULL,
	"labels" jsonb NOT NULL,
	"door" text collate "C" NOT NULL,
	"operation" text collate "C" NOT NULL,
	"upstream" text collate "C" NOT NULL,
	"model" text NOT NULL,
	"tool" text NOT NULL,
	"ending" text collate "C" NOT NULL,
	"basis" text collate "C" NOT NULL,
	"reason" text collate "C" NOT NULL,
	"price_version" text collate "C" NOT NULL,
	CONSTRAINT "cost_dimensions_tenant_id_dimension_id_pk" PRIMARY KEY("tenant_id","dimension_id")
);
--> statement-breakpoint
CREATE TABLE "operation_runs" (
	"tenant_id" text collate "C" NOT NULL,
	"operation" text collate "C" NOT NULL,
	"run_id" text collate "C" NOT NULL,
	CONSTRAINT "operation_runs_tenant_id_operation_run_id_pk" PRIMARY KEY("tenant_id","operation","run_id")
);
--> statement-breakpoint
CREATE TABLE "outcome_costs" (
	"tenant_id" text collate "C" NOT NULL,
	"closing_id" text collate "C" DEFAULT '' NOT NULL,
	"root_id" text collate "C" NOT NULL,
	"type" text collate "C" NOT NULL,
	"subject_kind" text collate "C" NOT NULL,
	"subject" text collate "C" NOT NULL,
	"key" text collate "C" NOT NULL,
	"status" text collate "C" NOT NULL,
	"value_picousd" numeric(38, 0),
	"occurred_at" timestamp (6) with time zone NOT NULL,
	"started_at" timestamp (6) with time zone NOT NULL,
	"runs" integer NOT NULL,
	"key_id" text collate "C" NOT NULL,
	"customer" text NOT NULL,
	"workflow" text NOT NULL,
	"labels" jsonb NOT NULL,
	"attempts" bigint NOT NULL,
	"blocked" bigint NOT NULL,
	"retries" bigint NOT NULL,
	"unpriced" bigint NOT NULL,
	"cost_picousd" numeric(38, 0) NOT NULL,
	"failed_picousd" numeric(38, 0) NOT NULL,
	"wasted_picousd" numeric(38, 0) NOT NULL,
	"estimated_picousd" numeric(38, 0) NOT NULL,
	"tokens" bigint NOT NULL,
	CONSTRAINT "outcome_costs_tenant_id_closing_id_root_id_pk" PRIMARY KEY("tenant_id","closing_id","root_id")
);
--> statement-breakpoint
CREATE TABLE "outcome_runs" (
	"tenant_id" text collate "C" NOT NULL,
	"root_id" text collate "C" NOT NULL,
	"run_id" text collate "C" NOT NULL,
	CONSTRAINT "outcome_runs_tenant_id_root_id_run_id_pk" PRIMARY KEY("tenant_id","root_id","run_id")
);
--> statement-breakpoint
CREATE TABLE "outcome_types" (
	"tenant_id" text collate "C" NOT NULL,
	"name" text collate "C" NOT NULL,
	"description" text DEFAULT '' NOT NULL,
	"value_picousd" numeric(38, 0),
	"created_at" timestamp (6) with time zone DEFAULT tollgate_now() NOT NULL,
	"removed_at" timestamp (6) with time zone,
	CONSTRAINT "outcome_types_tenant_id_name_pk" PRIMARY KEY("tenant_id","name"),
	CONSTRAINT "outcome_types_value_is_not_negative" CHECK ("outcome_types"."value_picousd" >= 0)
);
--> statement-breakpoint
CREATE TABLE "outcomes" (
	"tenant_id" text collate "C" NOT NULL,
	"outcome_id" text collate "C" NOT NULL,
	"root_id" text collate "C" NOT NULL,
	"supersedes" text collate "C",
	"type" text collate "C" NOT NULL,
	"subject_kind" text collate "C" NOT NULL,
	"subject" text collate "C" NOT NULL,
	"key" text collate "C" DEFAULT '' NOT NULL,
	"status" text collate "C" NOT NULL,
	"value_picousd" numeric(38, 0),
	"weight" smallint DEFAULT 1 NOT NULL,
	"evidence" text DEFAULT '' NOT NULL,
	"occurred_at" timestamp (6) with time zone NOT NULL,
	"recorded_at" timestamp (6) with time zone DEFAULT tollgate_now() NOT NULL,
	"recorded_by" text collate "C" NOT NULL,
	"posted_in" bigint DEFAULT pg_current_xact_id()::text::bigint NOT NULL,
	CONSTRAINT "outcomes_tenant_id_outcome_id_pk" PRIMARY KEY("tenant_id","outcome_id"),
	CONSTRAINT "outcomes_subject_is_known" CHECK ("outcomes"."subject_kind" in ('run', 'operation')),
	CONSTRAINT "outcomes_status_is_known" CHECK ("outcomes"."status" in ('success', 'failure', 'partial', 'reversed')),
	CONSTRAINT "outcomes_begin_or_supersede" CHECK (("outcomes"."supersedes" is null) = ("outcomes"."root_id" = "outcomes"."outcome_id")),
	CONSTRAINT "outcomes_weight_is_a_part" CHECK ("outcomes"."weight" between 0 and 1000),
	CONSTRAINT "outcomes_value_is_not_negative" CHECK ("outcomes"."value_picousd" >= 0)
);
--> statement-breakpoint
CREATE TABLE "period_closings" (
	"tenant_id" text collate "C" NOT NULL,
	"closing_id" text collate "C" NOT NULL,
	"begins_at" timestamp (6) with time zone NOT NULL,
	"ends_at" timestamp (6) with time zone NOT NULL,
	"closed_by" text collate "C" NOT NULL,
	"closed_at" timestamp (6) with time zone DEFAULT tollgate_now() NOT NULL,
	CONSTRAINT "period_closings_tenant_id_closing_id_pk" PRIMARY KEY("tenant_id","closing_id"),
	CONSTRAINT "period_closings_begin_before_they_end" CHECK ("period_closings"."begins_at" < "period_closings"."ends_at")
);
--> statement-breakpoint
CREATE TABLE "stale_outcomes" (
	"tenant_id" text collate "C" NOT NULL,
	"root_id" text collate "C" NOT NULL,
	"since" timestamp (6) with time zone DEFAULT tollgate_now() NOT NULL,
	"due_at" timestamp (6) with time zone DEFAULT tollgate_now() NOT NULL,
	CONSTRAINT "stale_outcomes_tenant_id_root_id_pk" PRIMARY KEY("tenant_id","root_id")
);
--> statement-breakpoint
CREATE TABLE "roll_up_state" (
	"one" smallint PRIMARY KEY DEFAULT 1 NOT NULL,
	"rolled_up_to" bigint DEFAULT 0 NOT NULL,
	"as_of" timestamp (6) with time zone DEFAULT tollgate_now() NOT NULL,
	"mark" bigint DEFAULT 0 NOT NULL,
	"mark_at" timestamp (6) with time zone DEFAULT tollgate_now() NOT NULL,
	CONSTRAINT "roll_up_state_is_one_row" CHECK ("roll_up_state"."one" = 1)
);
--> statement-breakpoint
CREATE TABLE "run_cells" (
	"tenant_id" text collate "C" NOT NULL,
	"run_id" text collate "C" NOT NULL,
	"bucket" timestamp (6) with time zone NOT NULL,
	"dimension_id" uuid NOT NULL,
	"step" text collate "C" NOT NULL,
	"attempts" bigint NOT NULL,
	"retries" bigint NOT NULL,
	"cost_picousd" numeric(38, 0) NOT NULL,
	"wasted_picousd" numeric(38, 0) NOT NULL,
	"tokens" bigint NOT NULL,
	CONSTRAINT "run_cells_tenant_id_run_id_bucket_dimension_id_step_pk" PRIMARY KEY("tenant_id","run_id","bucket","dimension_id","step")
);
--> statement-breakpoint
CREATE TABLE "run_costs" (
	"tenant_id" text collate "C" NOT NULL,
	"closing_id" text collate "C" DEFAULT '' NOT NULL,
	"run_id" text collate "C" NOT NULL,
	"started_at" timestamp (6) with time zone NOT NULL,
	"last_at" timestamp (6) with time zone NOT NULL,
	"outcomes" integer DEFAULT 0 NOT NULL,
	"key_id" text collate "C" NOT NULL,
	"customer" text NOT NULL,
	"workflow" text NOT NULL,
	"labels" jsonb NOT NULL,
	"attempts" bigint NOT NULL,
	"blocked" bigint NOT NULL,
	"retries" bigint NOT NULL,
	"unpriced" bigint NOT NULL,
	"cost_picousd" numeric(38, 0) NOT NULL,
	"failed_picousd" numeric(38, 0) NOT NULL,
	"wasted_picousd" numeric(38, 0) NOT NULL,
	"estimated_picousd" numeric(38, 0) NOT NULL,
	"tokens" bigint NOT NULL,
	CONSTRAINT "run_costs_tenant_id_closing_id_run_id_pk" PRIMARY KEY("tenant_id","closing_id","run_id")
);
--> statement-breakpoint
ALTER TABLE "decisions" ADD COLUMN "posted_in" bigint DEFAULT pg_current_xact_id()::text::bigint NOT NULL;--> statement-breakpoint
ALTER TABLE "settlements" ADD COLUMN "posted_in" bigint DEFAULT pg_current_xact_id()::text::bigint NOT NULL;--> statement-breakpoint
ALTER TABLE "outcome_types" ADD CONSTRAINT "outcome_types_tenant_id_tenants_tenant_id_fk" FOREIGN KEY ("tenant_id") REFERENCES "public"."tenants"("tenant_id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "period_closings" ADD CONSTRAINT "period_closings_tenant_id_tenants_tenant_id_fk" FOREIGN KEY ("tenant_id") REFERENCES "public"."tenants"("tenant_id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "operation_runs_of_a_run" ON "operation_runs" USING btree ("tenant_id","run_id");--> statement-breakpoint
CREATE INDEX "outcome_costs_by_occurrence" ON "outcome_costs" USING btree (("tenant_id" || "closing_id"),"occurred_at");--> statement-breakpoint
CREATE INDEX "outcome_costs_by_start" ON "outcome_costs" USING btree (("tenant_id" || "closing_id"),"started_at");--> statement-breakpoint
CREATE INDEX "outcome_runs_of_a_run" ON "outcome_runs" USING btree ("tenant_id","run_id");--> statement-breakpoint
CREATE UNIQUE INDEX "outcomes_are_superseded_once" ON "outcomes" USING btree ("tenant_id","supersedes") WHERE "outcomes"."supersedes" is not null;--> statement-breakpoint
CREATE UNIQUE INDEX "outcomes_begin_once" ON "outcomes" USING btree ("tenant_id","subject_kind","subject","type","key") WHERE "outcomes"."supersedes" is null;--> statement-breakpoint
CREATE INDEX "outcomes_of_a_root" ON "outcomes" USING btree ("tenant_id","root_id","outcome_id");--> statement-breakpoint
CREATE INDEX "outcomes_by_posting" ON "outcomes" USING btree ("posted_in");--> statement-breakpoint
CREATE UNIQUE INDEX "period_closings_are_made_once" ON "period_closings" USING btree ("tenant_id","begins_at","ends_at");--> statement-breakpoint
CREATE INDEX "run_cells_by_posting" ON "run_cells" USING btree ("tenant_id","bucket");--> statement-breakpoint
CREATE INDEX "stale_outcomes_due" ON "stale_outcomes" USING btree ("due_at");--> statement-breakpoint
CREATE INDEX "run_costs_by_start" ON "run_costs" USING btree (("tenant_id" || "closing_id"),"started_at");--> statement-breakpoint
CREATE INDEX "decisions_refused_by_posting" ON "decisions" USING btree ("posted_in") WHERE "decisions"."verdict" <> 'allow';--> statement-breakpoint
CREATE INDEX "runs_below" ON "runs" USING gin ("ancestors") WHERE "runs"."ancestors" <> '{}';--> statement-breakpoint
CREATE INDEX "settlements_by_posting" ON "settlements" USING btree ("posted_in");--> statement-breakpoint

insert into roll_up_state default values;
--> statement-breakpoint
create trigger outcomes_insert_only before update or delete on outcomes
  for each row execute function tollgate_insert_only();
--> statement-breakpoint
create trigger outcomes_never_truncated before truncate on outcomes
  for each statement execute function tollgate_insert_only();
--> statement-breakpoint
create trigger period_closings_insert_only before update or delete on period_closings
  for each row execute function tollgate_insert_only();
--> statement-breakpoint
create trigger period_closings_never_truncated before truncate on period_closings
  for each statement execute function tollgate_insert_only();
--> statement-breakpoint

create function tollgate_quarter(at timestamptz) returns timestamptz
language sql immutable
return date_bin('15 minutes', at, '2000-01-01T00:00:00Z');
--> statement-breakpoint

-- Whom a run is of: what its first call says.
create type tollgate_payer as (key_id text, customer text, workflow text, labels jsonb);
--> statement-breakpoint

-- One entry for each thing that was posted by transactions from `first` to before `last`: what it added to
-- the books, with all that a cost is grouped by. A correction is two, of opposite signs: it takes back what
-- was presumed and posts what was found out, both on its own day. What the gate refused costs nothing and
-- counts as an entry too.
create function tollgate_entries(first bigint, last bigint) returns table (
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
    select p.tenant_id, p.attempt_id, 1 as sign, p.ending, p.basis, '' as reason, p.price_version,
           p.settled_at as at, p.usage, coalesce(p.cost, 0) as cost, p.tokens
    from posted p where p.line = 0
    union all
    select p.tenant_id, p.attempt_id, side.sign,
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
    select d.tenant_id, d.attempt_id, 1, 'blocked', 'none', d.reason, null, d.decided_at, '{}', 0, 0
    from decisions d
    where d.verdict <> 'allow' and d.posted_in >= first and d.posted_in < last
  )
  select e.tenant_id, e.attempt_id, d.run_id, coalesce(d.step_id, ''), d.key_id, coalesce(c.customer, ''),
         coalesce(l.labels->>'workflow', ''), l.labels, d.door, d.operation, coalesce(d.upstream, ''),
         coalesce(d.model, ''), coalesce(c.tool, t.tool, ''), e.ending, e.basis, e.reason,
         coalesce(e.price_version, ''), e.at, d.decided_at,
         coalesce(c.operation, case when x.mode = 'enforce' then x.operation end),
         e.sign::bigint, e.sign * t.is_retry::int::bigint, e.sign * e.cost,
         e.sign * case when t.is_retry and (e.ending <> 'succeeded' or t.is_done) then e.cost else 0 end,
         e.sign * e.tokens,
         e.sign * (coalesce(u.input, 0) + coalesce(u.cache_read, 0) + coalesce(u.cache_write_5m, 0)
                   + coalesce(u.cache_write_1h, 0) + coalesce(u.audio_input, 0) + coalesce(u.image_input, 0)),
         e.sign * coalesce(u.cache_read, 0),
         e.sign * (coalesce(u.output, 0) + coalesce(u.reasoning, 0) + coalesce(u.audio_output, 0)
                   + coalesce(u.image_output, 0))
  -- By key, one by one, here and below: a plan made while the tables are empty must not read all of them
  -- for ever after.
  from entry e
  cross join lateral (
    select d.* from decisions d where d.tenant_id = e.tenant_id and d.attempt_id = e.attempt_id offset 0
  ) as d
  left join lateral (
    select r.labels from runs r where r.tenant_id = d.tenant_id and r.run_id = d.run_id offset 0
  ) as r on true
  cross join lateral json_to_record(d.record) as j(context json, tool text, act json)
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

-- Each outcome's part of each cell of its runs, for the roots named. A run that several outcomes share is
-- split by their weights, equally where all are 0; what does not divide goes to the oldest, so that the
-- parts are the whole.
create function tollgate_outcome_parts(tenants text[], roots text[]) returns table (
  tenant_id text, root_id text, run_id text, bucket timestamptz, dimension_id uuid, step text, attempts bigint,
  retries bigint, cost numeric, wasted numeric, tokens bigint
)
language sql stable
set enable_seqscan = off
set enable_mergejoin = off
set jit = off
as $$
  with wanted as (
    select u.t, u.r from unnest(tenants, roots) as u(t, r)
  ), shared as (
    select distinct o.tenant_id, o.run_id
    from wanted w
    cross join lateral (
      select b.tenant_id, b.run_id from outcome_runs b where b.tenant_id = w.t and b.root_id = w.r offset 0
    ) as o
  ), bearer as (
    select s.tenant_id, s.run_id, o.root_id, latest.weight,
           sum(latest.weight) over (partition by s.tenant_id, s.run_id) as whole,
           count(*) over (partition by s.tenant_id, s.run_id) as bearers,
           row_number() over (partition by s.tenant_id, s.run_id order by o.root_id) as place
    from shared s
    cross join lateral (
      select b.tenant_id, b.root_id from outcome_runs b
      where b.tenant_id = s.tenant_id and b.run_id = s.run_id offset 0
    ) as o
    cross join lateral (
      select l.weight from outcomes l
      where l.tenant_id = o.tenant_id and l.root_id = o.root_id
        and not exists (select from outcomes n where n.tenant_id = l.tenant_id and n.supersedes = l.outcome_id)
    ) as latest
  ), part as (
    select b.tenant_id, b.root_id, b.place, c.run_id, c.bucket, c.dimension_id, c.step, c.attempts, c.retries,
           c.cost_picousd as cost, c.wasted_picousd as wasted, c.tokens,
           case when b.whole = 0 then 1 else b.weight end::numeric as weight,
           case when b.whole = 0 then b.bearers else b.whole end::numeric as whole
    from bearer b
    cross join lateral (
      select c.* from run_cells c where c.tenant_id = b.tenant_id and c.run_id = b.run_id offset 0
    ) as c
  ), floored as (
    select part.*, div(cost * weight, whole) as cost_floor, div(wasted * weight, whole) as wasted_floor
    from part
  ), whole as (
    select f.*,
           f.cost - sum(f.cost_floor) over cell as cost_left, f.wasted - sum(f.wasted_floor) over cell as wasted_left
    from floored f
    window cell as (partition by f.tenant_id, f.run_id, f.bucket, f.dimension_id, f.step)
  )
  select p.tenant_id, p.root_id, p.run_id, p.bucket, p.dimension_id, p.step, p.attempts, p.retries,
         p.cost_floor + case p.place when 1 then p.cost_left else 0 end,
         p.wasted_floor + case p.place when 1 then p.wasted_left else 0 end, p.tokens
  from whole p
  join wanted w on w.t = p.tenant_id and w.r = p.root_id
$$;
--> statement-breakpoint

-- Brings the roll-ups up to what was posted: at most so many lines of each kind, more only where one
-- transaction posted more. One caller at a time: whoever comes meanwhile gets no answer and goes on.
-- Every transaction below the oldest that still runs has ended, so what is read up to there is complete.
create function tollgate_roll_up(most int) returns table (lines int, is_behind boolean)
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
  v_now timestamptz := tollgate_now();
  v_begun bigint := pg_snapshot_xmax(pg_current_snapshot())::text::bigint;
  v_lines int;
  r_tenant text[]; r_run text[]; r_new boolean[];
  o_tenant text[]; o_root text[];
begin
  select s.rolled_up_to into v_from from roll_up_state s where s.one = 1 for update skip locked;
  if v_from is null then
    return;
  end if;
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
           coalesce(sum(cost) filter (where ending <> 'succeeded'), 0) as failed, sum(wasted) as wasted,
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
      set started_at = least(c.started_at, excluded.started_at), last_at = greatest(c.last_at, excluded.last_at),
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
    returning tenant_id, run_id
  )
  select (select count(*) from entry), array_agg(t.tenant_id), array_agg(t.run_id),
         array_agg(t.is_new or exists (select from named n where n.tenant_id = t.tenant_id and n.run_id = t.run_id))
    into v_lines, r_tenant, r_run, r_new
  from runs_told t;

  -- Outcomes that were recorded, and those that a run joins which is new or newly works on an operation.
  with recorded as (
    select distinct o.tenant_id, o.root_id, o.subject_kind, o.subject
    from outcomes o where o.posted_in >= v_from and o.posted_in < v_to
  ), joined as (
    select n.tenant_id, n.root_id, n.subject as run_id from recorded n where n.subject_kind = 'run'
    union
    select n.tenant_id, n.root_id, below.run_id
    from recorded n
    cross join lateral (
      select r.run_id from runs r
      where r.tenant_id || '' = n.tenant_id and r.ancestors @> array[n.subject] and r.ancestors <> '{}' offset 0
    ) as below
    where n.subject_kind = 'run'
    union
    select n.tenant_id, n.root_id, p.run_id
    from recorded n
    cross join lateral (
      select p.run_id from operation_runs p where p.tenant_id = n.tenant_id and p.operation = n.subject offset 0
    ) as p
    where n.subject_kind = 'operation'
    union
    select u.tenant, o.root_id, u.run
    from unnest(r_tenant, r_run, r_new) as u(tenant, run, is_new)
    left join lateral (
      select r.ancestors from runs r where r.tenant_id = u.tenant and r.run_id = u.run offset 0
    ) as r on true
    cross join lateral (
      select 'run' as kind, family.run as name from unnest(coalesce(r.ancestors, '{}') || u.run) as family(run)
      union all
      select 'operation', p.operation from operation_runs p where p.tenant_id = u.tenant and p.run_id = u.run
    ) as about
    cross join lateral (
      select o.root_id from outcomes o
      where o.tenant_id = u.tenant and o.subject_kind = about.kind and o.subject = about.name
        and o.supersedes is null offset 0
    ) as o
    where u.is_new
  ), bound as (
    insert into outcome_runs (tenant_id, root_id, run_id)
    select tenant_id, root_id, run_id from joined
    on conflict do nothing
  ), moved as (
    select u.tenant as tenant_id, u.run as run_id from unnest(r_tenant, r_run) as u(tenant, run)
    union
    select tenant_id, run_id from joined
  )
  select array_agg(m.tenant_id), array_agg(m.run_id) into r_tenant, r_run from moved m;

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
  -- told here, with what they bear; what is beyond a step's measure waits for tollgate_tell_stale.
  with affected as (
    select o.tenant_id, o.root_id from outcomes o where o.posted_in >= v_from and o.posted_in < v_to
    union
    select o.tenant_id, o.root_id
    from unnest(r_tenant, r_run) as u(tenant, run)
    cross join lateral (
      select b.tenant_id, b.root_id from outcome_runs b where b.tenant_id = u.tenant and b.run_id = u.run offset 0
    ) as o
    union
    -- Whoever shares a run with an outcome that is new, or whose weight changed. Each run once: a run that
    -- handles thousands of tickets has as many outcomes, and told of each by each they are millions.
    select o.tenant_id, o.root_id
    from (
      select distinct b.tenant_id, b.run_id
      from outcomes n
      cross join lateral (
        select b.tenant_id, b.run_id from outcome_runs b where b.tenant_id = n.tenant_id and b.root_id = n.root_id offset 0
      ) as b
      where n.posted_in >= v_from and n.posted_in < v_to
    ) as mine
    cross join lateral (
      select b.tenant_id, b.root_id from outcome_runs b
      where b.tenant_id = mine.tenant_id and b.run_id = mine.run_id offset 0
    ) as o
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
    insert into stale_outcomes (tenant_id, root_id)
    select r.tenant_id, r.root_id from ranked r where not r.is_light
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

-- Tells what outcomes of one tenant cost now, the stalest first, at most so many. Answers how many: none also
-- where another connection rolls up or tells.
create function tollgate_tell_stale(tenant text, most int) returns int
language plpgsql
set enable_seqscan = off
set jit = off
as $$
declare
  roots text[];
begin
  perform from roll_up_state s where s.one = 1 for update skip locked;
  if not found then
    return 0;
  end if;
  with taken as (
    delete from stale_outcomes
    where tenant_id = tenant and root_id in (
      select o.root_id from stale_outcomes o where o.tenant_id = tenant and o.due_at <= tollgate_now()
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
--> statement-breakpoint

-- Writes what these outcomes cost now.
create function tollgate_tell_outcomes(tenants text[], roots text[]) returns void
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
           coalesce(sum(p.cost) filter (where d.ending <> 'succeeded'), 0) as failed, sum(p.wasted) as wasted,
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
