-- Tools behind the tool door: what their servers list, what of it was approved, and who may call which.
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
ALTER TABLE "limits" DROP CONSTRAINT "limits_scope_is_known";--> statement-breakpoint
ALTER TABLE "limits" DROP CONSTRAINT "limits_scope_names_its_subject";--> statement-breakpoint
ALTER TABLE "keys" ADD COLUMN "tools" text[];--> statement-breakpoint
ALTER TABLE "tools" ADD COLUMN "definition_sha256" text collate "C";--> statement-breakpoint
ALTER TABLE "tools" ADD COLUMN "approval" json;--> statement-breakpoint
ALTER TABLE "tools" ADD COLUMN "output" json;--> statement-breakpoint
ALTER TABLE "tools" ADD COLUMN "trusted" boolean DEFAULT false NOT NULL;--> statement-breakpoint
ALTER TABLE "tool_catalogue" ADD CONSTRAINT "tool_catalogue_tenant_id_tenants_tenant_id_fk" FOREIGN KEY ("tenant_id") REFERENCES "public"."tenants"("tenant_id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "tool_definitions" ADD CONSTRAINT "tool_definitions_tenant_id_tenants_tenant_id_fk" FOREIGN KEY ("tenant_id") REFERENCES "public"."tenants"("tenant_id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "limits" ADD CONSTRAINT "limits_scope_is_known" CHECK ("limits"."scope_kind" in ('tenant', 'key', 'run', 'model', 'tool', 'each_run', 'each_customer', 'each_operation'));--> statement-breakpoint
ALTER TABLE "limits" ADD CONSTRAINT "limits_scope_names_its_subject" CHECK (("limits"."scope_kind" in ('key', 'run', 'model', 'tool')) = ("limits"."scope_id" <> ''));
--> statement-breakpoint
create trigger tool_definitions_insert_only before update or delete on tool_definitions
  for each row execute function tollgate_insert_only();
--> statement-breakpoint
create trigger tool_definitions_never_truncated before truncate on tool_definitions
  for each statement execute function tollgate_insert_only();
