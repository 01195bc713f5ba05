/**
 * Looking back, and at what is set up. It changes nothing of the ledger, and keeps the sums that reports read;
 * every question but the list of tenants names a tenant.
 */
import type { ToolsOf, ToolState } from "../core/tool.ts";
import type { Database } from "../store/database.ts";
import { readNow } from "../store/usage.ts";
import { countReservations } from "../store/settlement.ts";
import type { ApprovalState } from "../core/approval.ts";
import { countPendingApprovals, type ApprovalRef } from "../store/approvals.ts";
import { countDeliveries, type DeliveryRecord, type DeliveryRef } from "../store/outbox.ts";
import type { WebhookRef } from "../store/webhooks.ts";
import { adjustmentOf, adjustmentsOf, type AdjustmentView } from "./adjustments.ts";
import { approvalOf, approvalsOf, votesOf, type ApprovalView, type VoteView } from "./approvals.ts";
import type { CompiledBundle } from "../core/policy-bundle.ts";
import { type Backtest, createBacktest, replayOf, type ReplayView } from "./backtest.ts";
import { decisionOf, type AttemptView, type DecisionInRun } from "./explain.ts";
import {
  deliveriesOf,
  deliveryOf,
  webhookOf,
  webhooksOf,
  type DeliveryView,
  type WebhookView,
} from "./outbox.ts";
import type { OutcomeFilter } from "../store/outcomes.ts";
import {
  outcomeOf,
  outcomesOf,
  outcomeTypeOf,
  outcomeTypesOf,
  type OutcomeTypeView,
  type OutcomeView,
} from "./outcomes.ts";
import type { OperationName } from "../core/operation.ts";
import { operationOf, type OperationView } from "./operations.ts";
import type { Page, Paged } from "./paged.ts";
import {
  bundleOf,
  bundlesOf,
  candidateOf,
  checkOf,
  type CheckView,
  type BundleSummary,
  type BundleView,
  diffOf,
  type DiffView,
} from "./policies.ts";
import { closingOf, closingsOf, driftOf, type ClosingView, type DriftView } from "./closings.ts";
import { conservationOf, type ConservationView } from "./conservation.ts";
import { scheduleOf, schedulesOf, type ScheduleView } from "./report-schedules.ts";
import type { ScheduleRef } from "../store/report-schedules.ts";
import { createReports, type Reports } from "./reports.ts";
import type { ReconciliationState } from "../core/reconciliation-state.ts";
import {
  reconciliationOf,
  reconciliationsOf,
  reconciliationStatesOf,
  type Comparison,
  type ReconciliationView,
  type RecordedReconciliation,
} from "./reconciliation.ts";
import { exportOf } from "./run-export.ts";
import { shadowOf, type ShadowView } from "./shadow.ts";
import {
  eventsOf,
  keyOf,
  keysOf,
  limitOf,
  limitsOf,
  tenantOf,
  tenantsOf,
  type EventView,
  type KeyView,
  type LimitView,
  type TenantView,
} from "./register.ts";
import {
  decisionsOf,
  inFlightOf,
  runOf,
  runsOf,
  type InFlightView,
  type RunListed,
  type RunView,
} from "./timeline.ts";
import { definitionsOf, toolOf, toolsOf, type DefinitionsView, type ToolView } from "./tools.ts";
import { usageOf, type UsageView } from "./usage.ts";

export type Waiting = {
  readonly approvals: number;
  readonly deliveries: number;
  readonly deadDeliveries: number;
};

/** A null answer: there is no such thing in this tenant. */
export type Ledger = {
  /** By id or name. */
  readonly tenant: (idOrName: string) => Promise<TenantView | null>;
  /** Of the whole installation. */
  readonly tenants: (page: Page) => Promise<Paged<TenantView>>;
  readonly key: (tenantId: string, keyId: string) => Promise<KeyView | null>;
  readonly keys: (tenantId: string, page: Page) => Promise<Paged<KeyView>>;
  /** `subject` names one of the many that a limit on each run or customer counts apart. */
  readonly limit: (
    limit: { readonly tenantId: string; readonly limitId: string },
    subject: string | null,
  ) => Promise<LimitView | null>;
  readonly limits: (
    tenantId: string,
    page: Page & { readonly run: string | null; readonly subject: string | null },
  ) => Promise<Paged<LimitView>>;
  /** Declared or listed by a server. */
  readonly tool: (of: ToolsOf, name: string) => Promise<ToolView | null>;
  readonly tools: (
    of: ToolsOf,
    page: Page & { readonly state: ToolState | null },
  ) => Promise<Paged<ToolView>>;
  /** Null also of a tool that callers run themselves: no server says what it is. */
  readonly toolDefinitions: (of: ToolsOf, name: string) => Promise<DefinitionsView | null>;
  /** Declared, and not removed. */
  readonly outcomeType: (tenantId: string, name: string) => Promise<OutcomeTypeView | null>;
  readonly outcomeTypes: (tenantId: string, page: Page) => Promise<Paged<OutcomeTypeView>>;
  readonly outcome: (tenantId: string, outcomeId: string) => Promise<OutcomeView | null>;
  readonly outcomes: (tenantId: string, page: OutcomeFilter & Page) => Promise<Paged<OutcomeView>>;
  /** Also of an operation of which nothing was ever claimed. */
  readonly operation: (tenantId: string, operation: OperationName) => Promise<OperationView>;
  readonly events: (tenantId: string, page: Page) => Promise<Paged<EventView>>;
  /** Those that were named. `search` stands somewhere in the name. */
  readonly runs: (
    tenantId: string,
    page: Page & { readonly search: string | null },
  ) => Promise<Paged<RunListed>>;
  readonly adjustment: (tenantId: string, adjustmentId: string) => Promise<AdjustmentView | null>;
  readonly adjustments: (
    tenantId: string,
    page: Page & { readonly run: string | null },
  ) => Promise<Paged<AdjustmentView>>;
  readonly run: (
    tenantId: string,
    page: Page & { readonly run: string },
  ) => Promise<RunView | null>;
  readonly inFlight: (
    tenantId: string,
    run: { readonly runId: string; readonly rows: number },
  ) => Promise<readonly InFlightView[]>;
  readonly decisions: (
    tenantId: string,
    page: Page & { readonly run: string | null; readonly verdict: AttemptView["verdict"] | null },
  ) => Promise<Paged<AttemptView>>;
  /** By the id of the decision or of its attempt. */
  readonly decision: (tenantId: string, id: string) => Promise<DecisionInRun | null>;
  readonly bundles: (tenantId: string, page: Page) => Promise<Paged<BundleSummary>>;
  /** By its version, the beginning of one, or `active`. */
  readonly bundle: (tenantId: string, version: string) => Promise<BundleView | null>;
  readonly bundleDiff: (
    tenantId: string,
    versions: { readonly from: string; readonly to: string },
  ) => Promise<DiffView | null>;
  /** Whether a text is a bundle; nothing is stored. */
  readonly checkBundle: (source: string) => CheckView;
  /** A stored bundle, or the text of one, ready to judge. Throws InputError where it is neither. */
  readonly candidate: (
    tenantId: string,
    named: { readonly source: string | null; readonly version: string | null },
  ) => Promise<CompiledBundle>;
  /** What shadow policies and shadow limits would have done. */
  readonly shadow: (
    tenantId: string,
    period: { readonly from: Date; readonly to: Date },
  ) => Promise<ShadowView>;
  /** A part of a run's record as lines of JSON; null where nobody ever named the run. */
  readonly exportRun: (
    tenantId: string,
    page: Page & { readonly run: string },
  ) => Promise<string | null>;
  /** One decision judged again. */
  readonly replay: (
    tenantId: string,
    decision: { readonly id: string; readonly candidate: CompiledBundle | null },
  ) => Promise<ReplayView | null>;
  /** A part of a period judged again: by a candidate, or with null by what was recorded. */
  readonly backtest: Backtest;
  /** The database's clock, by which everything here was recorded. */
  readonly now: () => Promise<Date>;
  /** From the first moment to before the second. */
  readonly usage: (
    tenantId: string,
    period: { readonly from: Date; readonly to: Date },
  ) => Promise<UsageView>;
  readonly reports: Reports;
  readonly reportSchedule: (schedule: ScheduleRef) => Promise<ScheduleView | null>;
  readonly reportSchedules: (tenantId: string, page: Page) => Promise<Paged<ScheduleView>>;
  readonly closing: (tenantId: string, id: string) => Promise<ClosingView | null>;
  readonly closings: (tenantId: string, page: Page) => Promise<Paged<ClosingView>>;
  /** What has changed of a closed period since. */
  readonly drift: (tenantId: string, id: string) => Promise<DriftView | null>;
  /** Whether all sums of a tenant's ledger are the same sum. */
  readonly conservation: (tenantId: string) => Promise<ConservationView>;
  readonly approval: (approval: ApprovalRef) => Promise<ApprovalView | null>;
  readonly approvals: (
    tenantId: string,
    page: Page & { readonly state: ApprovalState | null; readonly resource: string | null },
  ) => Promise<Paged<ApprovalView>>;
  readonly votes: (approval: ApprovalRef) => Promise<readonly VoteView[]>;
  readonly webhook: (webhook: WebhookRef) => Promise<WebhookView | null>;
  readonly webhooks: (tenantId: string, page: Page) => Promise<Paged<WebhookView>>;
  readonly delivery: (delivery: DeliveryRef) => Promise<DeliveryView | null>;
  readonly deliveries: (
    tenantId: string,
    page: Page & { readonly state: DeliveryRecord["state"] | null },
  ) => Promise<Paged<DeliveryView>>;
  /** Compares the ledger with a provider's invoice; of the whole installation where no tenant is named. */
  readonly reconcile: (comparison: Comparison) => Promise<ReconciliationView>;
  readonly reconciliations: (
    whose: string | null,
    page: Page,
  ) => Promise<Paged<RecordedReconciliation>>;
  /** By upstream, of the days of UTC from the first to before the last. */
  readonly reconciliationStates: (
    whose: string | null,
    period: { readonly from: string; readonly to: string },
  ) => Promise<readonly ReconciliationState[]>;
  /** Of the whole installation: what waits for people, and for receivers. */
  readonly waiting: () => Promise<Waiting>;
  /** Of the whole installation: reservations by state. */
  readonly openReservations: () => Promise<{ readonly open: number; readonly unknown: number }>;
};

export function createLedger(db: Database): Ledger {
  return {
    tenant: (idOrName) => tenantOf(db, idOrName),
    tenants: (page) => tenantsOf(db, page),
    key: (tenantId, keyId) => keyOf(db, tenantId, keyId),
    keys: (tenantId, page) => keysOf(db, tenantId, page),
    limit: (limit, subject) => limitOf(db, limit, subject),
    limits: (tenantId, page) => limitsOf(db, tenantId, page),
    tool: (of, name) => toolOf(db, of, name),
    tools: (of, page) => toolsOf(db, of, page),
    toolDefinitions: (of, name) => definitionsOf(db, of, name),
    outcomeType: (tenantId, name) => outcomeTypeOf(db, tenantId, name),
    outcomeTypes: (tenantId, page) => outcomeTypesOf(db, tenantId, page),
    outcome: (tenantId, outcomeId) => outcomeOf(db, tenantId, outcomeId),
    outcomes: (tenantId, page) => outcomesOf(db, tenantId, page),
    operation: (tenantId, operation) => operationOf(db, tenantId, operation),
    events: (tenantId, page) => eventsOf(db, tenantId, page),
    adjustment: (tenantId, adjustmentId) => adjustmentOf(db, tenantId, adjustmentId),
    adjustments: (tenantId, page) => adjustmentsOf(db, tenantId, page),
    runs: (tenantId, page) => runsOf(db, tenantId, page),
    run: (tenantId, page) => runOf(db, tenantId, page),
    inFlight: (tenantId, run) => inFlightOf(db, tenantId, run),
    decisions: (tenantId, page) => decisionsOf(db, tenantId, page),
    decision: (tenantId, id) => decisionOf(db, tenantId, id),
    bundles: (tenantId, page) => bundlesOf(db, tenantId, page),
    bundle: (tenantId, version) => bundleOf(db, tenantId, version),
    bundleDiff: (tenantId, versions) => diffOf(db, tenantId, versions),
    checkBundle: checkOf,
    candidate: (tenantId, named) => candidateOf(db, tenantId, named),
    shadow: (tenantId, period) => shadowOf(db, tenantId, period),
    exportRun: (tenantId, page) => exportOf(db, tenantId, page),
    replay: (tenantId, decision) => replayOf(db, tenantId, decision),
    backtest: createBacktest(db),
    now: () => readNow(db.admin),
    usage: (tenantId, period) => usageOf(db, tenantId, period),
    reports: createReports(db),
    reportSchedule: (schedule) => scheduleOf(db, schedule),
    reportSchedules: (tenantId, page) => schedulesOf(db, tenantId, page),
    closing: (tenantId, id) => closingOf(db, tenantId, id),
    closings: (tenantId, page) => closingsOf(db, tenantId, page),
    drift: (tenantId, id) => driftOf(db, tenantId, id),
    conservation: (tenantId) => conservationOf(db, tenantId),
    approval: (approval) => approvalOf(db, approval),
    approvals: (tenantId, page) => approvalsOf(db, tenantId, page),
    votes: (approval) => votesOf(db, approval),
    webhook: (webhook) => webhookOf(db, webhook),
    webhooks: (tenantId, page) => webhooksOf(db, tenantId, page),
    delivery: (delivery) => deliveryOf(db, delivery),
    deliveries: (tenantId, page) => deliveriesOf(db, tenantId, page),
    reconcile: (comparison) => reconciliationOf(db, comparison),
    reconciliations: (whose, page) => reconciliationsOf(db, whose, page),
    reconciliationStates: (whose, period) => reconciliationStatesOf(db, whose, period),
    waiting: async () => {
      const { pending, dead } = await countDeliveries(db.admin);
      return {
        approvals: await countPendingApprovals(db.admin),
        deliveries: pending,
        deadDeliveries: dead,
      };
    },
    openReservations: () => countReservations(db.admin),
  };
}
