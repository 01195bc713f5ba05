/** What limits one run: its budget, and whatever else was set on it alone. They stand in no other list. */
import { html } from "hono/html";

import { Limit, listOf } from "../answers.ts";
import type { Markup } from "../figures.ts";
import { LIMITS_SHOWN } from "../limits.ts";
import { card } from "../page.ts";
import type { Visit } from "../visit.ts";
import { budgetCard } from "./budgets.ts";

export async function limitsOfRun(visit: Visit, run: string): Promise<Markup | string> {
  const asked = { run, limit: LIMITS_SHOWN };
  const { data } = await visit.api.get(listOf(Limit), "/limits", asked);
  if (data.length === 0) return "";
  // A run is not evenly busy: at the pace of its first second, any budget would be used up in a minute.
  const forecasts = new Map<string, never>();
  return card(
    "Limits of this run",
    html`<ul class="budgets">
      ${data.map((limit) => html`<li>${budgetCard(visit, limit, forecasts)}</li>`)}
    </ul>`,
  );
}
