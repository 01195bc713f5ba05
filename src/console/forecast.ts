/** Where limits will be when their windows end: as the report of budgets says, which is the one forecast there is. */
import { Budgets } from "./report-answers.ts";
import type { Visit } from "./visit.ts";

export type Forecast = Budgets["rows"][number];

/** Of limits that count one thing, by their ids. Those of a run are read where it is named. */
export async function forecastsOf(
  visit: Visit,
  run: string | null = null,
): Promise<ReadonlyMap<string, Forecast>> {
  const { rows } = await visit.api.get(Budgets, "/reports/budgets", { run });
  return new Map(rows.map((row) => [row.limit_id, row]));
}
