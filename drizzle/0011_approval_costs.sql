-- What one answered question costs in people's time, where a tenant says so.

ALTER TABLE "tenants" ADD COLUMN "approval_picousd" numeric(38, 0);--> statement-breakpoint
ALTER TABLE "tenants" ADD CONSTRAINT "tenants_approval_costs_something" CHECK ("tenants"."approval_picousd" > 0);