/** Outcomes and their types, as the API shows them. */
import type { Database } from "../store/database.ts";
import {
  findOutcomeType,
  listOutcomeTypes,
  type OutcomeTypeRecord,
} from "../store/outcome-types.ts";
import { usdOrNull } from "./amounts.ts";
import { pageOf, type Page, type Paged } from "./paged.ts";

export type OutcomeTypeView = {
  readonly name: string;
  readonly tenant: string;
  readonly description: string;
  readonly value_usd: string | null;
  readonly created_at: string;
};

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
