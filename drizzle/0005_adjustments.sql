-- The price book, and adjustments.
--
-- price_book    which price holds for which tenant, upstream and model, and from when. An entry is never
--               changed: a correction is a newer one, and what was settled by the old one keeps its version.
-- adjustments   what an operator credits or debits beside the settlements. It moves no meter.

CREATE TABLE "adjustments" (
	"tenant_id" text collate "C" NOT NULL,
	"adjustment_id" text collate "C" NOT NULL,
	"amount_picousd" numeric(38, 0) NOT NULL,
	"reason" text NOT NULL,
	"actor" text collate "C" NOT NULL,
	"attempt_id" text collate "C",
	"run_id" text collate "C",
	"posted_at" timestamp (6) with time zone DEFAULT tollgate_now() NOT NULL,
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
ALTER TABLE "installation" ADD COLUMN "prices_revision" bigint DEFAULT 0 NOT NULL;--> statement-breakpoint
CREATE INDEX "adjustments_by_time" ON "adjustments" USING btree ("tenant_id","posted_at");--> statement-breakpoint
CREATE INDEX "adjustments_of_a_run" ON "adjustments" USING btree ("tenant_id","run_id") WHERE "adjustments"."run_id" is not null;
--> statement-breakpoint

create trigger price_book_insert_only before update or delete on price_book
  for each row execute function tollgate_insert_only();
--> statement-breakpoint
create trigger price_book_never_truncated before truncate on price_book
  for each statement execute function tollgate_insert_only();
--> statement-breakpoint
create trigger adjustments_insert_only before update or delete on adjustments
  for each row execute function tollgate_insert_only();
--> statement-breakpoint
create trigger adjustments_never_truncated before truncate on adjustments
  for each statement execute function tollgate_insert_only();
