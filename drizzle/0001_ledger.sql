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
	CONSTRAINT "limits_scope_is_known" CHECK ("limits"."scope_kind" in ('tenant', 'key', 'run', 'model', 'each_run', 'each_customer', 'each_operation')),
	CONSTRAINT "limits_scope_names_its_subject" CHECK (("limits"."scope_kind" in ('key', 'run', 'model')) = ("limits"."scope_id" <> '')),
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
CREATE TABLE "replicas" (
	"replica_id" text collate "C" PRIMARY KEY NOT NULL,
	"seen_at" timestamp (6) with time zone DEFAULT tollgate_now() NOT NULL
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
	"active_bundle" text collate "C",
	"created_at" timestamp (6) with time zone DEFAULT tollgate_now() NOT NULL,
	CONSTRAINT "tenants_name_is_unique" UNIQUE("name"),
	CONSTRAINT "tenants_mode_is_known" CHECK ("tenants"."mode" in ('strict', 'tolerant')),
	CONSTRAINT "tenants_derived_attempts_are_positive" CHECK ("tenants"."derived_attempts_max" >= 1),
	CONSTRAINT "tenants_run_share_is_a_percentage" CHECK ("tenants"."run_share_percent" between 1 and 100)
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
	"run_id" text collate "C" NOT NULL,
	"step_id" text collate "C",
	"door" text collate "C" NOT NULL,
	"operation" text,
	"resource" text NOT NULL,
	"sealed_call" "bytea",
	"policies" json NOT NULL,
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
CREATE TABLE "tools" (
	"tenant_id" text collate "C" NOT NULL,
	"name" text NOT NULL,
	"effect_class" text collate "C" NOT NULL,
	"price_picousd" numeric(38, 0),
	"extractor" json,
	"created_at" timestamp (6) with time zone DEFAULT tollgate_now() NOT NULL,
	"removed_at" timestamp (6) with time zone,
	CONSTRAINT "tools_tenant_id_name_pk" PRIMARY KEY("tenant_id","name"),
	CONSTRAINT "tools_effect_class_is_known" CHECK ("tools"."effect_class" in ('pure', 'idempotent', 'keyed', 'effectful')),
	CONSTRAINT "tools_price_is_not_negative" CHECK ("tools"."price_picousd" >= 0)
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
ALTER TABLE "keys" ADD CONSTRAINT "keys_tenant_id_tenants_tenant_id_fk" FOREIGN KEY ("tenant_id") REFERENCES "public"."tenants"("tenant_id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "limits" ADD CONSTRAINT "limits_tenant_id_tenants_tenant_id_fk" FOREIGN KEY ("tenant_id") REFERENCES "public"."tenants"("tenant_id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "tools" ADD CONSTRAINT "tools_tenant_id_tenants_tenant_id_fk" FOREIGN KEY ("tenant_id") REFERENCES "public"."tenants"("tenant_id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "webhooks" ADD CONSTRAINT "webhooks_tenant_id_tenants_tenant_id_fk" FOREIGN KEY ("tenant_id") REFERENCES "public"."tenants"("tenant_id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "decisions_of_a_run" ON "decisions" USING btree ("tenant_id","run_id","verdict");--> statement-breakpoint
CREATE INDEX "decisions_of_a_step" ON "decisions" USING btree ("tenant_id","step_digest","decided_at","attempt") WHERE "decisions"."verdict" = 'allow' and "decisions"."step_digest" is not null;--> statement-breakpoint
CREATE INDEX "decisions_of_a_content" ON "decisions" USING btree ("tenant_id","content_digest","step_digest") WHERE "decisions"."content_digest" is not null and "decisions"."verdict" = 'allow';--> statement-breakpoint
CREATE INDEX "limits_of_a_run" ON "limits" USING btree ("tenant_id","scope_id") WHERE "limits"."scope_kind" = 'run';--> statement-breakpoint
CREATE INDEX "answers_by_expiry" ON "answers" USING btree ("expires_at");--> statement-breakpoint
CREATE INDEX "approvals_by_state" ON "approvals" USING btree ("tenant_id","state","expires_at");--> statement-breakpoint
CREATE INDEX "approvals_with_a_call" ON "approvals" USING btree ("expires_at") WHERE "approvals"."sealed_call" is not null;--> statement-breakpoint
CREATE INDEX "deliveries_due" ON "deliveries" USING btree ("due_at") WHERE "deliveries"."state" = 'pending';--> statement-breakpoint
CREATE INDEX "deliveries_by_end" ON "deliveries" USING btree ("ended_at") WHERE "deliveries"."state" <> 'pending';--> statement-breakpoint
CREATE INDEX "idempotency_keys_by_expiry" ON "idempotency_keys" USING btree ("expires_at");