/**
 * The acts of administration and their rules. Who may do an act is asked here again, whatever the door
 * asked before; every act that changes something is told in the ledger by an event of its own
 * transaction, and this replica judges by it before the answer leaves.
 */
import type { Mode, TenantTerms } from "../store/tenants.ts";
import type {
  Actor,
  AdministrationPorts,
  Changed,
  IssuedKey,
  LimitChange,
  NewKeyTerms,
  NewLimitTerms,
  RunTerms,
} from "./acts.ts";
import { postAdjustment, type AdjustmentTerms } from "./administer-adjustments.ts";
import { createKey, revokeKey, rotateKey } from "./administer-keys.ts";
import { changeLimit, createLimit, removeLimit } from "./administer-limits.ts";
import {
  type Activation,
  activatePolicies,
  type Applied,
  applyPolicies,
  type BundleTerms,
  deactivatePolicies,
} from "./administer-policies.ts";
import { importPrices, type Imported, type ImportTerms } from "./administer-prices.ts";
import { recordReconciliation, type NewReconciliation } from "./administer-reconciliations.ts";
import { putRun, stopRun } from "./administer-runs.ts";
import {
  createOutcomeTypeAdministration,
  type OutcomeTypeAdministration,
} from "./administer-outcome-types.ts";
import {
  createScheduleAdministration,
  type ScheduleAdministration,
} from "./administer-report-schedules.ts";
import { createWebhookAdministration, type WebhookAdministration } from "./administer-webhooks.ts";
import { closePeriod, type ClosingTerms } from "./administer-closings.ts";
import { createApproving, type Approving } from "./approve.ts";
import { changeTenant, createTenant } from "./administer-tenants.ts";
import { putTool, removeTool, type ToolTerms } from "./administer-tools.ts";

export type Administration = {
  readonly createTenant: (
    actor: Actor,
    terms: { readonly name: string; readonly mode: Mode },
  ) => Promise<{ readonly tenantId: string }>;
  /** What is absent stays as it is. */
  readonly changeTenant: (
    actor: Actor,
    change: { readonly tenantId: string } & Partial<TenantTerms>,
  ) => Promise<void>;
  readonly createKey: (actor: Actor, terms: NewKeyTerms) => Promise<IssuedKey>;
  /** Revoking twice is once. */
  readonly revokeKey: (actor: Actor, tenantId: string, keyId: string) => Promise<void>;
  /** The old key works on until it is revoked or expires. */
  readonly rotateKey: (
    actor: Actor,
    key: { readonly tenantId: string; readonly keyId: string; readonly expiresAt: Date | null },
  ) => Promise<IssuedKey>;
  readonly createLimit: (
    actor: Actor,
    terms: NewLimitTerms,
  ) => Promise<{ readonly limitId: string }>;
  readonly changeLimit: (actor: Actor, change: LimitChange) => Promise<Changed>;
  readonly removeLimit: (actor: Actor, tenantId: string, limitId: string) => Promise<void>;
  readonly putRun: (
    actor: Actor,
    terms: RunTerms,
  ) => Promise<Changed & { readonly created: boolean }>;
  /** After it no attempt of the run, or of one below it, is admitted. Stopping twice is once. */
  readonly stopRun: (actor: Actor, tenantId: string, runId: string) => Promise<void>;
  /** Stores a bundle of policies. */
  readonly applyPolicies: (actor: Actor, terms: BundleTerms) => Promise<Applied>;
  readonly activatePolicies: (
    actor: Actor,
    bundle: { readonly tenantId: string; readonly version: string },
  ) => Promise<Activation>;
  readonly deactivatePolicies: (actor: Actor, tenantId: string) => Promise<Activation>;
  readonly approvals: Approving;
  readonly webhooks: WebhookAdministration;
  readonly outcomeTypes: OutcomeTypeAdministration;
  readonly reportSchedules: ScheduleAdministration;
  /** Its reports are the same ever after. Answers the id of the closing. */
  readonly closePeriod: (
    actor: Actor,
    terms: ClosingTerms,
  ) => Promise<{ readonly closingId: string }>;
  readonly putTool: (actor: Actor, terms: ToolTerms) => Promise<void>;
  readonly removeTool: (actor: Actor, tenantId: string, name: string) => Promise<void>;
  /** Of the installation. */
  readonly importPrices: (actor: Actor, terms: ImportTerms) => Promise<Imported>;
  readonly postAdjustment: (
    actor: Actor,
    terms: AdjustmentTerms,
  ) => Promise<{ readonly adjustmentId: string }>;
  /** Answers its id. */
  readonly recordReconciliation: (
    actor: Actor,
    reconciliation: NewReconciliation,
  ) => Promise<string>;
};

export function createAdministration(ports: AdministrationPorts): Administration {
  return {
    createTenant: (actor, terms) => createTenant(ports, actor, terms),
    changeTenant: (actor, change) => changeTenant(ports, actor, change),
    createKey: (actor, terms) => createKey(ports, actor, terms),
    revokeKey: (actor, tenantId, keyId) => revokeKey(ports, actor, { tenantId, keyId }),
    rotateKey: (actor, key) => rotateKey(ports, actor, key),
    createLimit: (actor, terms) => createLimit(ports, actor, terms),
    changeLimit: (actor, change) => changeLimit(ports, actor, change),
    removeLimit: (actor, tenantId, limitId) => removeLimit(ports, actor, { tenantId, limitId }),
    putRun: (actor, terms) => putRun(ports, actor, terms),
    stopRun: (actor, tenantId, runId) => stopRun(ports, actor, { tenantId, runId }),
    applyPolicies: (actor, terms) => applyPolicies(ports, actor, terms),
    activatePolicies: (actor, bundle) => activatePolicies(ports, actor, bundle),
    deactivatePolicies: (actor, tenantId) => deactivatePolicies(ports, actor, tenantId),
    approvals: createApproving(ports),
    webhooks: createWebhookAdministration(ports),
    outcomeTypes: createOutcomeTypeAdministration(ports),
    reportSchedules: createScheduleAdministration(ports),
    closePeriod: (actor, terms) => closePeriod(ports, actor, terms),
    putTool: (actor, terms) => putTool(ports, actor, terms),
    removeTool: (actor, tenantId, name) => removeTool(ports, actor, { tenantId, name }),
    importPrices: (actor, terms) => importPrices(ports, actor, terms),
    postAdjustment: (actor, terms) => postAdjustment(ports, actor, terms),
    recordReconciliation: (actor, row) => recordReconciliation(ports, actor, row),
  };
}
