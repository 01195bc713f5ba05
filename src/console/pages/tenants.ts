/** Which tenant the installation's key looks at. */
import { html } from "hono/html";

import { listOf, Tenant } from "../answers.ts";
import { when } from "../figures.ts";
import { ROWS_SHOWN } from "../limits.ts";
import { empty, heading, pager, table } from "../page.ts";
import type { Routes } from "../visit.ts";

export function tenantsPage({ page }: Routes): void {
  page("/tenants", async ({ visit, query }) => {
    const asked = { cursor: query("cursor"), limit: ROWS_SHOWN };
    const { data, next } = await visit.wide.get(listOf(Tenant), "/tenants", asked);
    const columns = [
      {
        title: "Tenant",
        cell: ({ id, name }: Row) =>
          html`<a href="/console?${new URLSearchParams({ tenant: id }).toString()}">${name}</a>`,
      },
      { title: "Mode", cell: ({ mode }: Row) => mode },
      { title: "Created", cell: ({ created_at: at }: Row) => when(at, visit.now) },
    ];
    const body = html`${heading("Tenants", { lead: "Each has its own keys, runs and budgets." })}
    ${
      data.length === 0
        ? empty(html`There is none. <code>npx tollgate tenants create acme</code> makes one.`)
        : table("Tenants", columns, data)
    }
    ${pager(visit, "/tenants", { next })}`;
    return { title: "Tenants", body };
  });
}

type Row = {
  readonly id: string;
  readonly name: string;
  readonly mode: string;
  readonly created_at: string;
};
