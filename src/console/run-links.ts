/** The way to the page of a run, from wherever one is named. */
import { html } from "hono/html";

import type { Markup } from "./figures.ts";
import type { Visit } from "./visit.ts";

export function runHref(visit: Visit, run: string): string {
  return visit.href(`/runs/${encodeURIComponent(run)}`);
}

/** Only its name for a key that reads no runs: a link would lead it to a refusal. */
export function runLink(visit: Visit, run: string): Markup {
  if (!visit.may("report", "admin")) return html`${run}`;
  return html`<a href="${runHref(visit, run)}">${run}</a>`;
}
