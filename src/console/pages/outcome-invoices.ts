/** Whether what a page counts agrees with the providers' invoices, as far as somebody compared them. */
import { html } from "hono/html";

import type { Answered } from "../api.ts";
import { count, type Markup } from "../figures.ts";
import type { Reconciled } from "../report-answers.ts";

export function invoicesOf(answer: Answered<Reconciled>): Markup {
  if (answer.kind === "refused") return html`${answer.message}`;
  const { upstreams } = answer.body;
  if (upstreams.length === 0) {
    return html`No provider's invoice was compared with this period
    (<code>docs/reconciliation.md</code>).`;
  }
  return html`Invoices: ${upstreams.map(stateOf).join("; ")}.`;
}

function stateOf({
  upstream,
  days,
  reconciled_days: agreeing,
  differing_days: differing,
}: Reconciled["upstreams"][number]): string {
  const compared = agreeing + differing;
  if (differing === 0 && agreeing === days) return `${upstream} agrees`;
  const uncompared = compared === days ? "" : ` (${daysText(days - compared)} not compared)`;
  if (differing === 0) return `${upstream} agrees on ${daysText(agreeing)}${uncompared}`;
  return `${upstream} differs on ${daysText(differing)}${uncompared}`;
}

function daysText(days: number): string {
  return `${count(days)} ${days === 1 ? "day" : "days"}`;
}
