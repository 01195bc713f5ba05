/** What an outcome's cost consists of: its parts by model, workflow, customer, step or tool, beside the period before. */
import { html } from "hono/html";

import { barsChart } from "../charts.ts";
import { changeText, count, picosOf, usd, usdText, type Markup } from "../figures.ts";
import { DRIVERS_SHOWN } from "../limits.ts";
import { empty, table } from "../page.ts";
import type { CostPerOutcome, OutcomeRow } from "../report-answers.ts";

type Terms = {
  /** Null: it is not known by this. */
  readonly before: CostPerOutcome | null;
  readonly beforeName: string;
  readonly cut: string;
};

export function driversOf(report: CostPerOutcome, { before, beforeName, cut }: Terms): Markup {
  if (report.rows.length === 0) return empty("No outcome of this type occurred in this period.");
  const shown = report.rows.slice(0, DRIVERS_SHOWN);
  const more = report.rows.length - shown.length + report.rows_left_off;
  const what = `${cut.slice(0, 1).toUpperCase()}${cut.slice(1)}`;
  const nameOf = ({ groups }: OutcomeRow) => groups[cut] ?? `no ${cut}`;
  const perSuccess = (row: OutcomeRow) => eachOf(row, report);
  const past = new Map(before?.rows.map((row) => [nameOf(row), eachOf(row, before)]));
  return html`${barsChart({
      title: `Cost by ${cut}, ${usdText(picosOf(report.total.cost_usd))} in all`,
      what,
      measure: "Cost",
      bars: shown.map((row) => ({
        label: nameOf(row),
        value: picosOf(row.cost_usd),
        text: html`${usd(row.cost_usd)} · ${shareOf(row, report)}`,
      })),
    })}
    ${more === 0 ? "" : html`<p class="note">${count(more)} further ones are in the file.</p>`}
    <details>
      <summary>Figures, beside ${beforeName}</summary>
      ${table(
        `Per success, by ${cut}`,
        [
          { title: what, cell: nameOf },
          { title: "Per success", isNumber: true, cell: (row) => orDash(perSuccess(row)) },
          { title: "Before", isNumber: true, cell: (row) => orDash(past.get(nameOf(row)) ?? null) },
          {
            title: "Change",
            isNumber: true,
            cell: (row) => changed(perSuccess(row), past.get(nameOf(row)) ?? null),
          },
        ],
        shown,
      )}
    </details>`;
}

/** Its part of one success, so that the parts are the whole: by all successes, not by those it had a part in. */
function eachOf({ cost_usd: cost }: OutcomeRow, { total }: CostPerOutcome): bigint | null {
  const { success } = total.outcomes;
  return success === 0 ? null : picosOf(cost) / BigInt(success);
}

function orDash(value: bigint | null): string {
  return value === null ? "–" : usdText(value);
}

function changed(now: bigint | null, before: bigint | null): string {
  if (now === null || before === null) return "–";
  return changeText(now, before) ?? "–";
}

function shareOf({ cost_usd: cost }: OutcomeRow, { total }: CostPerOutcome): string {
  const whole = picosOf(total.cost_usd);
  return whole <= 0n ? "" : `${(picosOf(cost) * 100n + whole / 2n) / whole} %`;
}
