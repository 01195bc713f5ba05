/** What tools cost: how often each was called, tried again, refused and failed, and what of it was wasted. */
import { html } from "hono/html";

import type { Answered } from "../api.ts";
import { count, picosOf, usd, type Markup } from "../figures.ts";
import { card, problemBox, table } from "../page.ts";
import type { ToolCosts } from "../report-answers.ts";
import { countOrNone, usdOrNone } from "./runs.ts";

const TOOLS_SHOWN = 8;

/** Nothing where no tool was called: many a tenant has none. */
export function toolsCard(answer: Answered<ToolCosts>): Markup | string {
  if (answer.kind === "refused") return card("By tool", html`${problemBox(answer.message)}`);
  const tools = answer.body.rows
    .flatMap(({ groups: { tool }, ...sums }) => (tool === null ? [] : [{ tool, ...sums }]))
    .toSorted(dearestFirst);
  if (tools.length === 0) return "";
  const more = tools.length - TOOLS_SHOWN + answer.body.rows_left_off;
  const body = html`${table(
    "Spend by tool",
    [
      { title: "Tool", cell: ({ tool }) => tool },
      { title: "Calls", isNumber: true, cell: ({ attempts }) => count(attempts) },
      { title: "Retries", isNumber: true, cell: ({ retries }) => countOrNone(retries) },
      { title: "Refused", isNumber: true, cell: ({ blocked }) => countOrNone(blocked) },
      { title: "Failed", isNumber: true, cell: ({ failed }) => countOrNone(failed) },
      { title: "Cost", isNumber: true, cell: ({ cost_usd: cost }) => usd(cost) },
      { title: "Wasted", isNumber: true, cell: ({ waste_usd: waste }) => usdOrNone(waste) },
    ],
    tools.slice(0, TOOLS_SHOWN),
  )}
  ${
    more > 0
      ? html`<p class="note">
          ${count(more)} more: <code>npx tollgate report spend --group-by tool</code>
        </p>`
      : ""
  }`;
  return card("By tool", body);
}

type Tool = Omit<ToolCosts["rows"][number], "groups"> & { readonly tool: string };

/** Free ones by how often they were called. */
function dearestFirst(a: Tool, b: Tool): number {
  const [dear, dearer] = [picosOf(a.cost_usd), picosOf(b.cost_usd)];
  if (dear !== dearer) return dear < dearer ? 1 : -1;
  return b.attempts + b.blocked - a.attempts - a.blocked;
}
