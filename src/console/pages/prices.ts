/** What upstreams charge, as the gate knows it. */
import { html } from "hono/html";

import { listOf, Price } from "../answers.ts";
import { count, exactTime, usd, type Markup } from "../figures.ts";
import { ROWS_SHOWN } from "../limits.ts";
import { empty, heading, pager, table, worded } from "../page.ts";
import type { Routes } from "../visit.ts";
import { searchForm } from "./runs.ts";

export function pricesPage({ page }: Routes): void {
  page("/prices", async ({ visit, query }) => {
    const search = query("search");
    const asked = { search, cursor: query("cursor"), limit: ROWS_SHOWN };
    const { data, next } = await visit.wide.get(listOf(Price), "/prices", asked);
    const lead =
      "In dollars per million units, as they hold now. What has no price is never taken for free.";
    const nothing = html`No price is known for <q>${search ?? ""}</q>. Give it one in
      <code>tollgate.yaml</code>, under <code>prices</code>.`;
    const body = html`${heading("Prices", { lead })}
    ${searchForm(visit, "/prices", { label: "Search upstream or model", search })}
    ${data.length === 0 ? empty(nothing) : pricesTable(data)}
    ${pager(visit, "/prices", { next, query: { search } })}`;
    return { title: "Prices", body };
  });
}

function pricesTable(prices: readonly Price[]): Markup {
  return table(
    "Prices",
    [
      {
        title: "Model",
        cell: ({ upstream, model }) => html`<small>${upstream ?? "any"}/</small>${model}`,
      },
      { title: "Input", isNumber: true, cell: rateOf("input") },
      { title: "Cached", isNumber: true, cell: rateOf("cache_read") },
      { title: "Output", isNumber: true, cell: rateOf("output") },
      { title: "More", cell: moreOf },
      { title: "Source", cell: sourceOf },
    ],
    prices,
  );
}

const SHOWN: ReadonlySet<string> = new Set(["input", "cache_read", "output"]);

function rateOf(kind: string): (price: Price) => Markup {
  return ({ usd_per_million: rates }) => {
    const rate = rates[kind];
    return rate === undefined ? html`<span class="none">–</span>` : usd(rate);
  };
}

function moreOf(price: Price): Markup {
  const { usd_per_million: rates, tiers, output_tokens_max: most } = price;
  const others = Object.entries(rates).filter(([kind]) => !SHOWN.has(kind));
  return html`<ul class="plain small">
    ${others.map(([kind, rate]) => html`<li>${worded(kind)} ${usd(rate)}</li>`)} ${hourOf(price)}
    ${soldAs(Object.keys(price.service_tiers))}
    ${tiers.map(
      ({ above_input_tokens: above, usd_per_million: tier }) =>
        html`<li>
          above ${count(above)} tokens:
          ${Object.entries(tier).map(([kind, rate], index) => html`${index === 0 ? "" : ", "}${worded(kind)} ${usd(rate)}`)}
        </li>`,
    )}
    ${most === null ? "" : html`<li>answers up to ${count(most)} tokens</li>`}
  </ul>`;
}

function soldAs(tiers: readonly string[]): Markup {
  return tiers.length === 0 ? html`` : html`<li>other rates in ${tiers.join(", ")}</li>`;
}

function hourOf({ usd_per_hour: hour, concurrency }: Price): Markup {
  if (hour === null) return html``;
  const shared =
    concurrency === null || concurrency === 1 ? "" : `, shared by ${count(concurrency)} calls`;
  return html`<li>${usd(hour)} an hour of the time that calls take${shared}</li>`;
}

/** A price of the shipped list holds since ever, which is no date to tell. */
function sourceOf({ source, from }: Price): Markup {
  const since = new Date(from);
  const text = since.getTime() === 0 ? "" : `, from ${exactTime(since).slice(0, 10)}`;
  return html`<small>${source}${text}</small>`;
}
