import type { Database } from "../../src/store/database.ts";
import { ASK_PICOUSD } from "./gate-on.ts";

/** Room for one ask and no more. */
export const BUDGET = [{ id: "lim_1", scope: "tenant", unit: "usd", amount: ASK_PICOUSD }] as const;

/** What the ledger says of a tenant with one meter and one attempt. */
export type Figures = { committed: string; reserved: string; states: unknown[]; lines: unknown[] };

export async function figures(db: Database, tenantId: string): Promise<Figures> {
  const [meter] =
    await db.admin`select committed, reserved from meters where tenant_id = ${tenantId}`;
  const held = await db.admin`select state from reservations where tenant_id = ${tenantId}`;
  const lines = await db.admin`
    select line, ending, basis, cost_picousd from settlements
    where tenant_id = ${tenantId} order by line`;
  return {
    committed: String(meter?.["committed"]),
    reserved: String(meter?.["reserved"]),
    states: held.map((row) => row["state"]),
    lines: lines.map((row) => Object.values(row).join(" ")),
  };
}

/** The port: a database that is away for the first three statements that hold this text. */
export function awayFor(db: Database, text: string): { db: Database; tries: () => number } {
  let tries = 0;
  const gate = new Proxy(db.gate, {
    get: (target, name) => {
      if (name !== "unsafe") return Reflect.get(target, name) as unknown;
      return (...values: Parameters<typeof target.unsafe>) => {
        if (!values[0].includes(text)) return target.unsafe(...values);
        tries += 1;
        if (tries > 3) return target.unsafe(...values);
        return Promise.reject(new Error("connection refused"));
      };
    },
  });
  return { db: { ...db, gate }, tries: () => tries };
}
