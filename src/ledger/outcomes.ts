/** Outcomes and their types, as the API shows them. */
import { usdOf, usdOrNull } from "../core/money.ts";
import type { Database } from "../store/database.ts";
import {
  findOutcomeType,
  listOutcomeTypes,
  type OutcomeTypeRecord,
} from "../store/outcome-types.ts";
import {
  findOutcome,
  listOutcomes,
  type OutcomeFilter,
  type OutcomeRecord,
} from "../store/outcomes.ts";
import type { OutcomeStatus } from "../core/outcome.ts";
import { pageOf, type Page, type Paged } from "./paged.ts";

export type OutcomeTypeView = {
  readonly name: string;
  readonly tenant: string;
  readonly description: string;
  readonly value_usd: string | null;
  readonly created_at: string;
};

export type OutcomeView = {
  readonly id: string;
  readonly tenant: string;
  readonly type: string;
  /** One of the two. */
  readonly run: string | null;
  readonly operation: string | null;
  readonly key: string;
  readonly status: OutcomeStatus;
  readonly value_usd: string | null;
  readonly weight: number;
  readonly evidence: string;
  readonly occurred_at: string;
  readonly recorded_at: string;
  readonly recorded_by: string;
  /** The first of its chain, to which costs are attributed. */
  readonly root: string;
  readonly supersedes: string | null;
  /** Null: this one holds. */
  readonly superseded_by: string | null;
};

export async function outcomeOf(
  db: Database,
  tenantId: string,
  outcomeId: string,
): Promise<OutcomeView | null> {
  const row = await findOutcome(db.admin, tenantId, outcomeId);
  return row === null ? null : outcomeView(tenantId, row);
}

export async function outcomesOf(
  db: Database,
  tenantId: string,
  page: OutcomeFilter & Page,
): Promise<Paged<OutcomeView>> {
  const rows = await listOutcomes(db.admin, tenantId, { ...page, rows: page.rows + 1 });
  return pageOf(
    rows.map((row) => outcomeView(tenantId, row)),
    page,
    (outcome) => outcome.id,
  );
}

function outcomeView(tenant: string, row: OutcomeRecord): OutcomeView {
  const { subject, valuePicousd, status, type, key, weight, evidence, supersedes } = row;
  return {
    id: row.outcomeId,
    tenant,
    type,
    run: subject.kind === "run" ? subject.name : null,
    operation: subject.kind === "operation" ? subject.name : null,
    key,
    status,
    value_usd: valuePicousd === null ? null : usdOf(valuePicousd),
    weight,
    evidence,
    occurred_at: row.occurredAt.toISOString(),
    recorded_at: row.recordedAt.toISOString(),
    recorded_by: row.recordedBy,
    root: row.rootId,
    supersedes,
    superseded_by: row.supersededBy,
  };
}

export async function outcomeTypeOf(
  db: Database,
  tenantId: string,
  name: string,
): Promise<OutcomeTypeView | null> {
  const row = await findOutcomeType(db.admin, tenantId, name);
  return row === null ? null : typeView(tenantId, row);
}

export async function outcomeTypesOf(
  db: Database,
  tenantId: string,
  page: Page,
): Promise<Paged<OutcomeTypeView>> {
  const rows = await listOutcomeTypes(db.admin, tenantId, { ...page, rows: page.rows + 1 });
  return pageOf(
    rows.map((row) => typeView(tenantId, row)),
    page,
    (type) => type.name,
  );
}

function typeView(tenant: string, row: OutcomeTypeRecord): OutcomeTypeView {
  const { name, description, valuePicousd, createdAt } = row;
  const value_usd = usdOrNull(valuePicousd);
  return { name, tenant, description, value_usd, created_at: createdAt.toISOString() };
}
