-- All tables, with their indexes and constraints, as drizzle-kit writes them from `src/store/schema*.ts`. What each
-- table, column and index is for is said there.

CREATE TABLE "decisions" (
	"tenant_id" text collate "C" NOT NULL,
	"attempt_id" text collate "C" NOT NULL,
	"key_id" text collate "C" NOT NULL,
	"run_id" text collate "C" NOT NULL,
	"step_id" text collate "C",
	"step_digest" text collate "C",
	"content_digest" text collate "C",
	"attempt" integer NOT NULL,
	"door" text collate "C" NOT NULL,
	"operation" text collate "C" NOT NULL,
	"resource" text NOT NULL,
	"upstream" text collate "C",
	"model" text,
	"verdict" text collate "C" NOT NULL,
	"reason" text collate "C",
	"decided_at" timestamp (6) with time zone NOT NULL,
	"estimate_picousd" numeric(38, 0),
	"price_version" text collate "C",
	"approval_id" text collate "C",
	"retry" json,
	"meters" json NOT NULL,
	"record" json NOT NULL,
	"posted_in" bigint DEFAULT pg_current_xact_id()::text::bigint NOT NULL,
	CONSTRAINT "decisions_tenant_id_attempt_id_pk" PRIMARY KEY("tenant_id","attempt_id"),
	CONSTRAINT "decisions_verdict_is_known" CHECK ("decisions"."verdict" in ('allow', 'block', 'require_approval')),
	CONSTRAINT "decisions_only_allow_needs_no_reason" CHECK (("decisions"."verdict" = 'allow') = ("decisions"."reason" is null))
);
--> statement-breakpoint
CREATE TABLE "events" (
	"tenant_id" text collate "C" NOT NULL,
	"event_id" text collate "C" NOT NULL,
	"kind" text collate "C" NOT NULL,
	"actor" text collate "C" NOT NULL,
	"subject" text collate "C" NOT NULL,
	"body" json NOT NULL,
	"happened_at" timestamp (6) with time zone DEFAULT tollgate_now() NOT NULL,
	CONSTRAINT "events_tenant_id_event_id_pk" PRIMARY KEY("tenant_id","event_id")
);
--> statement-breakpoint
CREATE TABLE "installation" (
	"one" smallint PRIMARY KEY DEFAULT 1 NOT NULL,
	"revision" bigint DEFAULT 1 NOT NULL,
	"pepper" text NOT NULL,
	"admin_digest" text,
	"prices_digest" text,
	"prices_revision" bigint DEFAULT 0 NOT NULL,
	"sealed_data_key" text,
	"created_at" timestamp (6) with time zone DEFAULT tollgate_now() NOT NULL,
	CONSTRAINT "installation_is_one_row" CHECK ("installation"."one" = 1)
);
--> statement-breakpoint
CREATE TABLE "keys" (
	"tenant_id" text collate "C" NOT NULL,
	"key_id" text collate "C" NOT NULL,
	"name" text NOT NULL,
	"digest" text NOT NULL,
	"scopes" text[] NOT NULL,
	"labels" json DEFAULT '{}'::json NOT NULL,
	"tools" text[],
	"created_by" text collate "C" NOT NULL,
	"created_at" timestamp (6) with time zone DEFAULT tollgate_now() NOT NULL,
	"expires_at" timestamp (6) with time zone,
	"revoked_at" timestamp (6) with time zone,
	"rotated_from" text collate "C",
	CONSTRAINT "keys_tenant_id_key_id_pk" PRIMARY KEY("tenant_id","key_id"),
	CONSTRAINT "keys_id_is_unique" UNIQUE("key_id"),
	CONSTRAINT "keys_have_a_scope" CHECK (cardinality("keys"."scopes") > 0)
);
--> statement-breakpoint
CREATE TABLE "limits" (
	"tenant_id" text collate "C" NOT NULL,
	"limit_id" text collate "C" NOT NULL,
	"scope_kind" text collate "C" NOT NULL,
	"scope_id" text collate "C" DEFAULT '' NOT NULL,
	"resource" text DEFAULT '' NOT NULL,
	"unit" text collate "C" NOT NULL,
	"window_kind" text collate "C" NOT NULL,
	"amount" numeric(38, 0) NOT NULL,
	"mode" text collate "C" DEFAULT 'enforce' NOT NULL,
	"on_exceed" text collate "C" DEFAULT 'refuse' NOT NULL,
	"time_zone" text DEFAULT 'UTC' NOT NULL,
	"created_at" timestamp (6) with time zone DEFAULT tollgate_now() NOT NULL,
	"removed_at" timestamp (6) with time zone,
	CONSTRAINT "limits_tenant_id_limit_id_pk" PRIMARY KEY("tenant_id","limit_id"),
	CONSTRAINT "limits_are_not_negative" CHECK ("limits"."amount" >= 0),
	CONSTRAINT "limits_scope_is_known" CHECK ("limits"."scope_kind" in ('tenant', 'key', 'run', 'model', 'tool', 'each_run', 'each_customer', 'each_operation')),
	CONSTRAINT "limits_scope_names_its_subject" CHECK (("limits"."scope_kind" in ('key', 'run', 'model', 'tool')) = ("limits"."scope_id" <> '')),
	CONSTRAINT "limits_unit_is_known" CHECK ("limits"."unit" in ('usd', 'tokens', 'requests', 'attempts', 'in_flight')),
	CONSTRAINT "limits_resource_is_of_attempts" CHECK ("limits"."resource" = '' or "limits"."unit" = 'attempts'),
	CONSTRAINT "limits_window_is_known" CHECK ("limits"."window_kind" in ('none', 'minute', 'hour', 'day', 'week', 'month')),
	CONSTRAINT "limits_mode_is_known" CHECK ("limits"."mode" in ('enforce', 'shadow')),
	CONSTRAINT "limits_on_exceed_is_known" CHECK ("limits"."on_exceed" in ('refuse', 'clamp')),
	CONSTRAINT "limits_in_flight_has_no_window" CHECK ("limits"."unit" <> 'in_flight' or "limits"."window_kind" = 'none')
);
--> statement-breakpoint
CREATE TABLE "meters" (
	"tenant_id" text collate "C" NOT NULL,
	"meter_id" bigint GENERATED ALWAYS AS IDENTITY (sequence name "meters_meter_id_seq" INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1),
	"limit_id" text collate "C" NOT NULL,
	"subject" text collate "C" NOT NULL,
	"window_start" timestamp (6) with time zone NOT NULL,
	"committed" numeric(38, 0) DEFAULT '0' NOT NULL,
	"reserved" numeric(38, 0) DEFAULT '0' NOT NULL,
	CONSTRAINT "meters_tenant_id_meter_id_pk" PRIMARY KEY("tenant_id","meter_id"),
	CONSTRAINT "meters_one_per_window" UNIQUE("limit_id","subject","window_start","tenant_id"),
	CONSTRAINT "meters_reserved_is_not_negative" CHECK ("meters"."reserved" >= 0),
	CONSTRAINT "meters_committed_is_not_negative" CHECK ("meters"."committed" >= 0)
);
--> statement-breakpoint
CREATE TABLE "prices" (
	"version" text collate "C" PRIMARY KEY NOT NULL,
	"upstream" text collate "C" NOT NULL,
	"model" text NOT NULL,
	"valid_from" timestamp (6) with time zone NOT NULL,
	"content" json NOT NULL,
	"source" text NOT NULL,
	"recorded_at" timestamp (6) with time zone DEFAULT tollgate_now() NOT NULL
);
--> statement-breakpoint
CREATE TABLE "reservations" (
	"tenant_id" text collate "C" NOT NULL,
	"attempt_id" text collate "C" NOT NULL,
	"replica_id" text collate "C" NOT NULL,
	"state" text collate "C" DEFAULT 'open' NOT NULL,
	"meter_ids" bigint[] NOT NULL,
	"meter_units" text[] NOT NULL,
	"amounts" numeric(38,0)[] NOT NULL,
	"cost_picousd" numeric(38, 0),
	"tokens" bigint NOT NULL,
	"deadline_at" timestamp (6) with time zone NOT NULL,
	"left_at" timestamp (6) with time zone,
	"unknown_at" timestamp (6) with time zone,
	CONSTRAINT "reservations_tenant_id_attempt_id_pk" PRIMARY KEY("tenant_id","attempt_id"),
	CONSTRAINT "reservations_state_is_known" CHECK ("reservations"."state" in ('open', 'unknown')),
	CONSTRAINT "reservations_unknown_says_since_when" CHECK (("reservations"."state" = 'unknown') = ("reservations"."unknown_at" is not null)),
	CONSTRAINT "reservations_arrays_agree" CHECK (cardinality("reservations"."meter_ids") = cardinality("reservations"."amounts") and cardinality("reservations"."meter_ids") = cardinality("reservations"."meter_units"))
);
--> statement-breakpoint
CREATE TABLE "runs" (
	"tenant_id" text collate "C" NOT NULL,
	"run_id" text collate "C" NOT NULL,
	"state" text collate "C" DEFAULT 'open' NOT NULL,
	"ancestors" text[] DEFAULT '{}' NOT NULL,
	"labels" json DEFAULT '{}'::json NOT NULL,
	"derived_from" text collate "C",
	"created_by" text collate "C" NOT NULL,
	"created_at" timestamp (6) with time zone DEFAULT tollgate_now() NOT NULL,
	"stopped_at" timestamp (6) with time zone,
	CONSTRAINT "runs_tenant_id_run_id_pk" PRIMARY KEY("tenant_id","run_id"),
	CONSTRAINT "runs_state_is_known" CHECK ("runs"."state" in ('open', 'stopping', 'closed'))
);
--> statement-breakpoint
CREATE TABLE "settlements" (
	"tenant_id" text collate "C" NOT NULL,
	"attempt_id" text collate "C" NOT NULL,
	"line" smallint NOT NULL,
	"ending" text collate "C" NOT NULL,
	"basis" text collate "C" NOT NULL,
	"cost_picousd" numeric(38, 0),
	"reserved_picousd" numeric(38, 0),
	"overage_picousd" numeric(38, 0) DEFAULT '0' NOT NULL,
	"tokens" bigint NOT NULL,
	"price_version" text collate "C",
	"usage" json NOT NULL,
	"record" json NOT NULL,
	"meter_ids" bigint[] NOT NULL,
	"meter_units" text[] NOT NULL,
	"settled_at" timestamp (6) with time zone NOT NULL,
	"posted_in" bigint DEFAULT pg_current_xact_id()::text::bigint NOT NULL,
	CONSTRAINT "settlements_tenant_id_attempt_id_line_pk" PRIMARY KEY("tenant_id","attempt_id","line"),
	CONSTRAINT "settlements_line_is_known" CHECK ("settlements"."line" in (0, 1)),
	CONSTRAINT "settlements_ending_is_known" CHECK ("settlements"."ending" in ('succeeded', 'failed', 'aborted', 'released', 'unknown')),
	CONSTRAINT "settlements_basis_is_known" CHECK ("settlements"."basis" in ('computed', 'estimated', 'presumed', 'unpriced', 'none')),
	CONSTRAINT "settlements_unpriced_has_no_cost" CHECK (("settlements"."basis" = 'unpriced') = ("settlements"."cost_picousd" is null)),
	CONSTRAINT "settlements_settle_no_negative" CHECK ("settlements"."line" = 1 or "settlements"."cost_picousd" >= 0)
);
--> statement-breakpoint
CREATE TABLE "tenants" (
	"tenant_id" text collate "C" PRIMARY KEY NOT NULL,
	"name" text NOT NULL,
	"mode" text DEFAULT 'strict' NOT NULL,
	"derived_attempts_max" integer DEFAULT 5,
	"run_share_percent" integer DEFAULT 20,
	"approval_picousd" numeric(38, 0),
	"alert_percents" smallint[] DEFAULT '{50,80,100}' NOT NULL,
	"active_bundle" text collate "C",
	"created_at" timestamp (6) with time zone DEFAULT tollgate_now() NOT NULL,
	CONSTRAINT "tenants_name_is_unique" UNIQUE("name"),
	CONSTRAINT "tenants_mode_is_known" CHECK ("tenants"."mode" in ('strict', 'tolerant')),
	CONSTRAINT "tenants_derived_attempts_are_positive" CHECK ("tenants"."derived_attempts_max" >= 1),
	CONSTRAINT "tenants_approval_costs_something" CHECK ("tenants"."approval_picousd" > 0),
	CONSTRAINT "tenants_run_share_is_a_percentage" CHECK ("tenants"."run_share_percent" between 1 and 100),
	CONSTRAINT "tenants_alerts_are_percentages" CHECK (1 <= all("tenants"."alert_percents") and 100 >= all("tenants"."alert_percents") and cardinality("tenants"."alert_percents") <= 10)
);
--> statement-breakpoint
CREATE TABLE "answers" (
	"tenant_id" text collate "C" NOT NULL,
	"attempt_id" text collate "C" NOT NULL,
	"status" smallint NOT NULL,
	"sealed" "bytea" NOT NULL,
	"expires_at" timestamp (6) with time zone NOT NULL,
	CONSTRAINT "answers_tenant_id_attempt_id_pk" PRIMARY KEY("tenant_id","attempt_id")
);
--> statement-breakpoint
CREATE TABLE "approval_votes" (
	"tenant_id" text collate "C" NOT NULL,
	"approval_id" text collate "C" NOT NULL,
	"key_id" text collate "C" NOT NULL,
	"approves" boolean NOT NULL,
	"reason" text NOT NULL,
	"digest" text collate "C" NOT NULL,
	"voted_at" timestamp (6) with time zone DEFAULT tollgate_now() NOT NULL,
	CONSTRAINT "approval_votes_tenant_id_approval_id_key_id_pk" PRIMARY KEY("tenant_id","approval_id","key_id")
);
--> statement-breakpoint
CREATE TABLE "approvals" (
	"tenant_id" text collate "C" NOT NULL,
	"approval_id" text collate "C" NOT NULL,
	"digest" text collate "C" NOT NULL,
	"state" text collate "C" DEFAULT 'pending' NOT NULL,
	"requested_by" text collate "C" NOT NULL,
	"attempt_id" text collate "C" NOT NULL,
	"run_id" text collate "C" NOT NULL,
	"step_id" text collate "C",
	"door" text collate "C" NOT NULL,
	"operation" text,
	"resource" text NOT NULL,
	"sealed_call" "bytea",
	"policies" json NOT NULL,
	"estimate_picousd" numeric(38, 0),
	"quorum" smallint NOT NULL,
	"role" text,
	"created_at" timestamp (6) with time zone DEFAULT tollgate_now() NOT NULL,
	"expires_at" timestamp (6) with time zone NOT NULL,
	"decided_at" timestamp (6) with time zone,
	"consumed_by" text collate "C",
	CONSTRAINT "approvals_tenant_id_approval_id_pk" PRIMARY KEY("tenant_id","approval_id"),
	CONSTRAINT "approvals_one_per_digest" UNIQUE("tenant_id","digest"),
	CONSTRAINT "approvals_state_is_known" CHECK ("approvals"."state" in ('pending', 'approved', 'denied', 'cancelled', 'consumed')),
	CONSTRAINT "approvals_quorum_is_positive" CHECK ("approvals"."quorum" >= 1),
	CONSTRAINT "approvals_consumed_says_by_what" CHECK (("approvals"."state" = 'consumed') = ("approvals"."consumed_by" is not null))
);
--> statement-breakpoint
CREATE TABLE "deliveries" (
	"tenant_id" text collate "C" NOT NULL,
	"delivery_id" text collate "C" NOT NULL,
	"webhook_id" text collate "C" NOT NULL,
	"kind" text collate "C" NOT NULL,
	"body" text NOT NULL,
	"state" text collate "C" DEFAULT 'pending' NOT NULL,
	"tries" smallint DEFAULT 0 NOT NULL,
	"created_at" timestamp (6) with time zone DEFAULT tollgate_now() NOT NULL,
	"due_at" timestamp (6) with time zone DEFAULT tollgate_now() NOT NULL,
	"ended_at" timestamp (6) with time zone,
	"last_result" text,
	CONSTRAINT "deliveries_tenant_id_delivery_id_pk" PRIMARY KEY("tenant_id","delivery_id"),
	CONSTRAINT "deliveries_state_is_known" CHECK ("deliveries"."state" in ('pending', 'delivered', 'dead'))
);
--> statement-breakpoint
CREATE TABLE "effects" (
	"tenant_id" text collate "C" NOT NULL,
	"operation_type" text collate "C" NOT NULL,
	"operation_key" text NOT NULL,
	"effect" text NOT NULL,
	"content_digest" text collate "C" NOT NULL,
	"attempt_id" text collate "C" NOT NULL,
	"run_id" text collate "C" NOT NULL,
	"claimed_at" timestamp (6) with time zone DEFAULT tollgate_now() NOT NULL,
	CONSTRAINT "effects_tenant_id_operation_type_operation_key_effect_pk" PRIMARY KEY("tenant_id","operation_type","operation_key","effect")
);
--> statement-breakpoint
CREATE TABLE "idempotency_keys" (
	"tenant_id" text collate "C" NOT NULL,
	"door" text collate "C" NOT NULL,
	"key_digest" text collate "C" NOT NULL,
	"content_digest" text collate "C" NOT NULL,
	"attempt_id" text collate "C" NOT NULL,
	"claimed_at" timestamp (6) with time zone DEFAULT tollgate_now() NOT NULL,
	"expires_at" timestamp (6) with time zone NOT NULL,
	CONSTRAINT "idempotency_keys_tenant_id_door_key_digest_pk" PRIMARY KEY("tenant_id","door","key_digest")
);
--> statement-breakpoint
CREATE TABLE "policy_bundles" (
	"tenant_id" text collate "C" NOT NULL,
	"version" text collate "C" NOT NULL,
	"content" json NOT NULL,
	"source" text NOT NULL,
	"created_by" text collate "C" NOT NULL,
	"created_at" timestamp (6) with time zone DEFAULT tollgate_now() NOT NULL,
	CONSTRAINT "policy_bundles_tenant_id_version_pk" PRIMARY KEY("tenant_id","version")
);
--> statement-breakpoint
CREATE TABLE "replicas" (
	"replica_id" text collate "C" PRIMARY KEY NOT NULL,
	"seen_at" timestamp (6) with time zone DEFAULT tollgate_now() NOT NULL
);
--> statement-breakpoint
CREATE TABLE "webhooks" (
	"tenant_id" text collate "C" NOT NULL,
	"webhook_id" text collate "C" NOT NULL,
	"url" text NOT NULL,
	"kinds" text[] NOT NULL,
	"sealed_secret" "bytea" NOT NULL,
	"created_by" text collate "C" NOT NULL,
	"created_at" timestamp (6) with time zone DEFAULT tollgate_now() NOT NULL,
	"removed_at" timestamp (6) with time zone,
	CONSTRAINT "webhooks_tenant_id_webhook_id_pk" PRIMARY KEY("tenant_id","webhook_id")
);
--> statement-breakpoint
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
CREATE TABLE "outcome_types" (
	"tenant_id" text collate "C" NOT NULL,
	"name" text collate "C" NOT NULL,
	"description" text DEFAULT '' NOT NULL,
	"value_picousd" numeric(38, 0),
	"created_at" timestamp (6) with time zone DEFAULT tollgate_now() NOT NULL,
	"removed_at" timestamp (6) with time zone,
	"revalued_to" text collate "C",
	"revalued_since" timestamp (6) with time zone,
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
	"as_of" timestamp (6) with time zone,
	CONSTRAINT "period_closings_tenant_id_closing_id_pk" PRIMARY KEY("tenant_id","closing_id"),
	CONSTRAINT "period_closings_begin_before_they_end" CHECK ("period_closings"."begins_at" < "period_closings"."ends_at")
);
--> statement-breakpoint
CREATE TABLE "reconciliations" (
	"tenant_id" text collate "C" NOT NULL,
	"reconciliation_id" text collate "C" NOT NULL,
	"upstream" text collate "C" NOT NULL,
	"provider" text collate "C" NOT NULL,
	"from_day" date NOT NULL,
	"to_day" date NOT NULL,
	"state" text collate "C" NOT NULL,
	"summary" json NOT NULL,
	"recorded_by" text collate "C" NOT NULL,
	"recorded_at" timestamp (6) with time zone DEFAULT tollgate_now() NOT NULL,
	CONSTRAINT "reconciliations_tenant_id_reconciliation_id_pk" PRIMARY KEY("tenant_id","reconciliation_id"),
	CONSTRAINT "reconciliations_state_is_known" CHECK ("reconciliations"."state" in ('reconciled', 'differs')),
	CONSTRAINT "reconciliations_begin_before_they_end" CHECK ("reconciliations"."from_day" < "reconciliations"."to_day")
);
--> statement-breakpoint
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
CREATE TABLE "cost_days" (
	"tenant_id" text collate "C" NOT NULL,
	"utc_day" timestamp (6) with time zone NOT NULL,
	"dimension_id" uuid NOT NULL,
	"attempts" bigint NOT NULL,
	"retries" bigint NOT NULL,
	"cost_picousd" numeric(38, 0) NOT NULL,
	"wasted_picousd" numeric(38, 0) NOT NULL,
	"tokens" bigint NOT NULL,
	"input_tokens" bigint NOT NULL,
	"cached_tokens" bigint NOT NULL,
	"output_tokens" bigint NOT NULL,
	CONSTRAINT "cost_days_tenant_id_utc_day_dimension_id_pk" PRIMARY KEY("tenant_id","utc_day","dimension_id")
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
CREATE TABLE "outcome_days" (
	"tenant_id" text collate "C" NOT NULL,
	"closing_id" text collate "C" NOT NULL,
	"cohort" text collate "C" NOT NULL,
	"utc_day" timestamp (6) with time zone NOT NULL,
	"type" text collate "C" NOT NULL,
	"cost_class" numeric(38, 0) NOT NULL,
	"success" bigint NOT NULL,
	"failure" bigint NOT NULL,
	"partial" bigint NOT NULL,
	"reversed" bigint NOT NULL,
	"valued" bigint NOT NULL,
	"value_picousd" numeric(38, 0) NOT NULL,
	"attempts" bigint NOT NULL,
	"blocked" bigint NOT NULL,
	"retries" bigint NOT NULL,
	"unpriced" bigint NOT NULL,
	"cost_picousd" numeric(38, 0) NOT NULL,
	"failed_picousd" numeric(38, 0) NOT NULL,
	"wasted_picousd" numeric(38, 0) NOT NULL,
	"estimated_picousd" numeric(38, 0) NOT NULL,
	"failures_picousd" numeric(38, 0) NOT NULL,
	"tokens" bigint NOT NULL,
	CONSTRAINT "outcome_days_pk" PRIMARY KEY("tenant_id","closing_id","cohort","utc_day","type","cost_class")
);
--> statement-breakpoint
CREATE TABLE "outcome_runs" (
	"tenant_id" text collate "C" NOT NULL,
	"root_id" text collate "C" NOT NULL,
	"run_id" text collate "C" NOT NULL,
	CONSTRAINT "outcome_runs_tenant_id_root_id_run_id_pk" PRIMARY KEY("tenant_id","root_id","run_id")
);
--> statement-breakpoint
CREATE TABLE "roll_up_state" (
	"one" smallint PRIMARY KEY DEFAULT 1 NOT NULL,
	"rolled_up_to" bigint DEFAULT 0 NOT NULL,
	"as_of" timestamp (6) with time zone DEFAULT tollgate_now() NOT NULL,
	"mark" bigint DEFAULT 0 NOT NULL,
	"mark_at" timestamp (6) with time zone DEFAULT tollgate_now() NOT NULL,
	"stale_tenant" text collate "C" DEFAULT '' NOT NULL,
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
CREATE TABLE "run_days" (
	"tenant_id" text collate "C" NOT NULL,
	"closing_id" text collate "C" NOT NULL,
	"utc_day" timestamp (6) with time zone NOT NULL,
	"is_attributed" boolean NOT NULL,
	"runs" bigint NOT NULL,
	"attempts" bigint NOT NULL,
	"unpriced" bigint NOT NULL,
	"cost_picousd" numeric(38, 0) NOT NULL,
	"wasted_picousd" numeric(38, 0) NOT NULL,
	CONSTRAINT "run_days_pk" PRIMARY KEY("tenant_id","closing_id","utc_day","is_attributed")
);
--> statement-breakpoint
CREATE TABLE "stale_outcomes" (
	"tenant_id" text collate "C" NOT NULL,
	"root_id" text collate "C" NOT NULL,
	"since" timestamp (6) with time zone DEFAULT tollgate_now() NOT NULL,
	"due_at" timestamp (6) with time zone DEFAULT tollgate_now() NOT NULL,
	"bound_to" text collate "C",
	CONSTRAINT "stale_outcomes_tenant_id_root_id_pk" PRIMARY KEY("tenant_id","root_id")
);
--> statement-breakpoint
CREATE TABLE "stale_runs" (
	"tenant_id" text collate "C" NOT NULL,
	"run_id" text collate "C" NOT NULL,
	"marked_to" text collate "C" DEFAULT '' NOT NULL,
	"since" timestamp (6) with time zone DEFAULT tollgate_now() NOT NULL,
	"due_at" timestamp (6) with time zone DEFAULT tollgate_now() NOT NULL,
	CONSTRAINT "stale_runs_tenant_id_run_id_pk" PRIMARY KEY("tenant_id","run_id")
);
--> statement-breakpoint
CREATE TABLE "adjustments" (
	"tenant_id" text collate "C" NOT NULL,
	"adjustment_id" text collate "C" NOT NULL,
	"amount_picousd" numeric(38, 0) NOT NULL,
	"reason" text NOT NULL,
	"actor" text collate "C" NOT NULL,
	"attempt_id" text collate "C",
	"run_id" text collate "C",
	"posted_at" timestamp (6) with time zone DEFAULT tollgate_now() NOT NULL,
	"posted_in" bigint DEFAULT pg_current_xact_id()::text::bigint NOT NULL,
	CONSTRAINT "adjustments_tenant_id_adjustment_id_pk" PRIMARY KEY("tenant_id","adjustment_id"),
	CONSTRAINT "adjustments_adjust_something" CHECK ("adjustments"."amount_picousd" <> 0),
	CONSTRAINT "adjustments_say_why" CHECK ("adjustments"."reason" <> ''),
	CONSTRAINT "adjustments_of_an_attempt_name_its_run" CHECK ("adjustments"."attempt_id" is null or "adjustments"."run_id" is not null)
);
--> statement-breakpoint
CREATE TABLE "price_book" (
	"tenant_id" text collate "C" NOT NULL,
	"upstream" text collate "C" NOT NULL,
	"model" text NOT NULL,
	"valid_from" timestamp (6) with time zone NOT NULL,
	"revision" bigint NOT NULL,
	"valid_until" timestamp (6) with time zone,
	"version" text collate "C" NOT NULL,
	"recorded_at" timestamp (6) with time zone DEFAULT tollgate_now() NOT NULL,
	CONSTRAINT "price_book_tenant_id_upstream_model_valid_from_revision_pk" PRIMARY KEY("tenant_id","upstream","model","valid_from","revision"),
	CONSTRAINT "price_book_ends_after_it_begins" CHECK ("price_book"."valid_until" > "price_book"."valid_from"),
	CONSTRAINT "price_book_names_tenant_or_upstream" CHECK ("price_book"."tenant_id" <> '*' or "price_book"."upstream" <> '*')
);
--> statement-breakpoint
CREATE TABLE "tool_catalogue" (
	"tenant_id" text collate "C" NOT NULL,
	"server" text collate "C" NOT NULL,
	"tool" text NOT NULL,
	"sha256" text collate "C" NOT NULL,
	"since" timestamp (6) with time zone DEFAULT tollgate_now() NOT NULL,
	"gone_at" timestamp (6) with time zone,
	CONSTRAINT "tool_catalogue_tenant_id_server_tool_pk" PRIMARY KEY("tenant_id","server","tool")
);
--> statement-breakpoint
CREATE TABLE "tool_definitions" (
	"tenant_id" text collate "C" NOT NULL,
	"server" text collate "C" NOT NULL,
	"tool" text NOT NULL,
	"sha256" text collate "C" NOT NULL,
	"content" text NOT NULL,
	"first_seen_at" timestamp (6) with time zone DEFAULT tollgate_now() NOT NULL,
	CONSTRAINT "tool_definitions_tenant_id_server_tool_sha256_pk" PRIMARY KEY("tenant_id","server","tool","sha256")
);
--> statement-breakpoint
CREATE TABLE "tools" (
	"tenant_id" text collate "C" NOT NULL,
	"name" text NOT NULL,
	"effect_class" text collate "C" NOT NULL,
	"price_picousd" numeric(38, 0),
	"extractor" json,
	"definition_sha256" text collate "C",
	"approval" json,
	"output" json,
	"trusted" boolean DEFAULT false NOT NULL,
	"created_at" timestamp (6) with time zone DEFAULT tollgate_now() NOT NULL,
	"removed_at" timestamp (6) with time zone,
	CONSTRAINT "tools_tenant_id_name_pk" PRIMARY KEY("tenant_id","name"),
	CONSTRAINT "tools_effect_class_is_known" CHECK ("tools"."effect_class" in ('pure', 'idempotent', 'keyed', 'effectful')),
	CONSTRAINT "tools_price_is_not_negative" CHECK ("tools"."price_picousd" >= 0)
);
--> statement-breakpoint
ALTER TABLE "keys" ADD CONSTRAINT "keys_tenant_id_tenants_tenant_id_fk" FOREIGN KEY ("tenant_id") REFERENCES "public"."tenants"("tenant_id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "limits" ADD CONSTRAINT "limits_tenant_id_tenants_tenant_id_fk" FOREIGN KEY ("tenant_id") REFERENCES "public"."tenants"("tenant_id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "webhooks" ADD CONSTRAINT "webhooks_tenant_id_tenants_tenant_id_fk" FOREIGN KEY ("tenant_id") REFERENCES "public"."tenants"("tenant_id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "outcome_types" ADD CONSTRAINT "outcome_types_tenant_id_tenants_tenant_id_fk" FOREIGN KEY ("tenant_id") REFERENCES "public"."tenants"("tenant_id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "period_closings" ADD CONSTRAINT "period_closings_tenant_id_tenants_tenant_id_fk" FOREIGN KEY ("tenant_id") REFERENCES "public"."tenants"("tenant_id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "report_schedules" ADD CONSTRAINT "report_schedules_tenant_id_tenants_tenant_id_fk" FOREIGN KEY ("tenant_id") REFERENCES "public"."tenants"("tenant_id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "tool_catalogue" ADD CONSTRAINT "tool_catalogue_tenant_id_tenants_tenant_id_fk" FOREIGN KEY ("tenant_id") REFERENCES "public"."tenants"("tenant_id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "tool_definitions" ADD CONSTRAINT "tool_definitions_tenant_id_tenants_tenant_id_fk" FOREIGN KEY ("tenant_id") REFERENCES "public"."tenants"("tenant_id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "tools" ADD CONSTRAINT "tools_tenant_id_tenants_tenant_id_fk" FOREIGN KEY ("tenant_id") REFERENCES "public"."tenants"("tenant_id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "decisions_of_a_run" ON "decisions" USING btree ("tenant_id","run_id","verdict");--> statement-breakpoint
CREATE INDEX "decisions_of_a_content" ON "decisions" USING btree ("tenant_id","content_digest","step_digest") WHERE "decisions"."content_digest" is not null and "decisions"."verdict" = 'allow';--> statement-breakpoint
CREATE INDEX "decisions_refused_by_posting" ON "decisions" USING btree ("posted_in") WHERE "decisions"."verdict" <> 'allow';--> statement-breakpoint
CREATE INDEX "decisions_of_a_step" ON "decisions" USING btree (("tenant_id" || "step_digest"),"decided_at","attempt") WHERE "decisions"."verdict" = 'allow' and "decisions"."step_digest" is not null;--> statement-breakpoint
CREATE INDEX "limits_of_a_run" ON "limits" USING btree ("tenant_id","scope_id") WHERE "limits"."scope_kind" = 'run';--> statement-breakpoint
CREATE INDEX "runs_below" ON "runs" USING gin ("ancestors") WHERE "runs"."ancestors" <> '{}';--> statement-breakpoint
CREATE INDEX "settlements_by_posting" ON "settlements" USING btree ("posted_in");--> statement-breakpoint
CREATE INDEX "answers_by_expiry" ON "answers" USING btree ("expires_at");--> statement-breakpoint
CREATE INDEX "approvals_by_state" ON "approvals" USING btree ("tenant_id","state","expires_at");--> statement-breakpoint
CREATE INDEX "approvals_with_a_call" ON "approvals" USING btree ("expires_at") WHERE "approvals"."sealed_call" is not null;--> statement-breakpoint
CREATE INDEX "deliveries_due" ON "deliveries" USING btree ("due_at") WHERE "deliveries"."state" = 'pending';--> statement-breakpoint
CREATE INDEX "deliveries_by_end" ON "deliveries" USING btree ("ended_at") WHERE "deliveries"."state" <> 'pending';--> statement-breakpoint
CREATE INDEX "idempotency_keys_by_expiry" ON "idempotency_keys" USING btree ("expires_at");--> statement-breakpoint
CREATE INDEX "budget_alerts_by_end" ON "budget_alerts" USING btree ("window_end");--> statement-breakpoint
CREATE INDEX "outcome_types_to_revalue" ON "outcome_types" USING btree ("tenant_id") WHERE "outcome_types"."revalued_to" is not null;--> statement-breakpoint
CREATE UNIQUE INDEX "outcomes_are_superseded_once" ON "outcomes" USING btree ("tenant_id","supersedes") WHERE "outcomes"."supersedes" is not null;--> statement-breakpoint
CREATE UNIQUE INDEX "outcomes_begin_once" ON "outcomes" USING btree ("tenant_id","subject_kind","subject","type","key") WHERE "outcomes"."supersedes" is null;--> statement-breakpoint
CREATE INDEX "outcomes_of_a_root" ON "outcomes" USING btree ("tenant_id","root_id","outcome_id");--> statement-breakpoint
CREATE INDEX "outcomes_by_posting" ON "outcomes" USING btree ("posted_in");--> statement-breakpoint
CREATE UNIQUE INDEX "period_closings_are_made_once" ON "period_closings" USING btree ("tenant_id","begins_at","ends_at");--> statement-breakpoint
CREATE INDEX "report_schedules_by_end" ON "report_schedules" USING btree ("ends_at") WHERE "report_schedules"."removed_at" is null;--> statement-breakpoint
CREATE INDEX "operation_runs_of_a_run" ON "operation_runs" USING btree ("tenant_id","run_id");--> statement-breakpoint
CREATE INDEX "outcome_costs_by_occurrence" ON "outcome_costs" USING btree (("tenant_id" || "closing_id"),"occurred_at");--> statement-breakpoint
CREATE INDEX "outcome_costs_by_start" ON "outcome_costs" USING btree (("tenant_id" || "closing_id"),"started_at");--> statement-breakpoint
CREATE INDEX "outcome_costs_by_class_and_occurrence" ON "outcome_costs" USING btree (("tenant_id" || "closing_id"),"type",tollgate_cost_class("cost_picousd"),"occurred_at");--> statement-breakpoint
CREATE INDEX "outcome_costs_by_class_and_start" ON "outcome_costs" USING btree (("tenant_id" || "closing_id"),"type",tollgate_cost_class("cost_picousd"),"started_at");--> statement-breakpoint
CREATE INDEX "outcome_runs_of_a_run" ON "outcome_runs" USING btree ("tenant_id","run_id");--> statement-breakpoint
CREATE INDEX "run_cells_by_posting" ON "run_cells" USING btree ("tenant_id","bucket");--> statement-breakpoint
CREATE INDEX "run_costs_by_start" ON "run_costs" USING btree (("tenant_id" || "closing_id"),"started_at");--> statement-breakpoint
CREATE INDEX "run_costs_by_cost" ON "run_costs" USING btree (("tenant_id" || "closing_id"),"cost_picousd" DESC NULLS FIRST,"run_id","started_at");--> statement-breakpoint
CREATE INDEX "stale_outcomes_unbound" ON "stale_outcomes" USING btree ("tenant_id","root_id") WHERE "stale_outcomes"."bound_to" is not null;--> statement-breakpoint
CREATE INDEX "stale_outcomes_due" ON "stale_outcomes" USING btree ("tenant_id","due_at");--> statement-breakpoint
CREATE INDEX "adjustments_by_time" ON "adjustments" USING btree ("tenant_id","posted_at");--> statement-breakpoint
CREATE INDEX "adjustments_of_a_run" ON "adjustments" USING btree ("tenant_id","run_id") WHERE "adjustments"."run_id" is not null;--> statement-breakpoint
CREATE INDEX "adjustments_by_posting" ON "adjustments" USING btree ("posted_in");
