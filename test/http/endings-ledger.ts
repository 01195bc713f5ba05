import { expect } from "vitest";
import type { Tenant, Tollgate } from "../support/tollgate.ts";

type State = {
  readonly running: number;
  readonly unknown: number;
  /** Of each unit over all meters. */
  readonly reserved: Readonly<Record<string, number>>;
};

/** What a tenant's attempts hold now. */
export async function stateOf(tollgate: Tollgate, tenant: Tenant): Promise<State> {
  const [counts] = await tollgate.rows<{ running: number; unknown: number }>(
    `select (select count(*)::int from decisions d where d.tenant_id = $1 and verdict = 'allow'
               and not exists (select from settlements s
                               where s.tenant_id = $1 and s.attempt_id = d.attempt_id)
               and not exists (select from reservations r where r.tenant_id = $1
                               and r.attempt_id = d.attempt_id and r.state = 'unknown')) as running,
            (select count(*)::int from reservations
             where tenant_id = $1 and state = 'unknown') as unknown`,
    [tenant.id],
  );
  const rows = await tollgate.rows<{ unit: string; reserved: number }>(
    `select l.unit, sum(m.reserved)::float8 as reserved
     from meters m join limits l using (tenant_id, limit_id) where m.tenant_id = $1 group by l.unit`,
    [tenant.id],
  );
  const reserved = Object.fromEntries(rows.map((row) => [row.unit, row.reserved]));
  return { running: counts?.running ?? 0, unknown: counts?.unknown ?? 0, reserved };
}

/** Each attempt is settled once, nothing is held, and the meters are the sum of the settlements. */
export async function checkLedger(
  tollgate: Tollgate,
  tenant: Tenant,
  attempts: readonly string[],
): Promise<void> {
  const settlements = await tollgate.ledger<{ attempt: string; line: number }>(
    `select ending || '/' || basis as attempt, line from settlements
     where tenant_id = $1 order by settled_at, attempt_id`,
    [tenant.id],
  );
  expect(settlements.map(({ attempt }) => attempt)).toEqual(attempts);
  expect(settlements.every(({ line }) => line === 0)).toBe(true);
  const [open] = await tollgate.ledger<{ open: number; allowed: number }>(
    `select (select count(*)::int from reservations where tenant_id = $1) as open,
            (select count(*)::int from decisions where tenant_id = $1) as allowed`,
    [tenant.id],
  );
  expect(open).toEqual({ open: 0, allowed: attempts.length });
  const meters = await tollgate.ledger<Record<string, string>>(
    `select l.unit, m.reserved, m.committed,
            coalesce(sum(case l.unit when 'usd' then s.cost_picousd when 'tokens' then s.tokens
                                     when 'requests' then (s.ending <> 'released')::int else 0 end), 0)
              as settled
     from meters m join limits l using (tenant_id, limit_id)
     left join settlements s on s.tenant_id = m.tenant_id and m.meter_id = any (s.meter_ids)
     where m.tenant_id = $1 group by l.unit, m.meter_id, m.tenant_id, m.reserved, m.committed`,
    [tenant.id],
  );
  expect(meters.length).toBeGreaterThanOrEqual(4);
  for (const { reserved, committed, settled } of meters) {
    expect({ reserved, committed }).toEqual({ reserved: "0", committed: settled });
  }
}
