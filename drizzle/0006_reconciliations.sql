-- What was compared with a provider's invoice, and how it came out: insert-only, for a report may have said so.
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
create trigger reconciliations_insert_only before update or delete on reconciliations
  for each row execute function tollgate_insert_only();
--> statement-breakpoint
create trigger reconciliations_never_truncated before truncate on reconciliations
  for each statement execute function tollgate_insert_only();
