import type { Queryable } from "../../src/store/events.ts";

/**
 * What must hold of the ledger at every commit, by queries that share nothing with the gate's own SQL.
 * Answers one sentence per violation; `null` looks at every tenant. `neverLowered`: no limit was ever
 * lowered, so no meter may stand above its own.
 */
export async function ledgerViolations(
  sql: Queryable,
  tenantId: string | null,
  neverLowered = false,
): Promise<string[]> {
  const found: string[] = [];
  for (const [rule, query] of Object.entries(neverLowered ? { ...RULES, ...BOUND } : RULES)) {
    const rows = await sql.unsafe(query, [tenantId]);
    for (const row of rows) found.push(`${rule}: ${JSON.stringify(row)}`);
  }
  return found;
}

/** The part of a settlement line that each meter counts. */
const COUNTED = `
  select s.tenant_id, d.meter_id,
         case d.unit when 'usd' then coalesce(s.cost_picousd, 0) when 'tokens' then s.tokens else 0 end
           as amount, d.unit, s.attempt_id
  from settlements s, unnest(s.meter_ids, s.meter_units) as d(meter_id, unit)`;

const RULES: Readonly<Record<string, string>> = {
  "a meter reserves what its open reservations hold": `
    select m.meter_id::text, m.reserved::text, coalesce(held.amount, 0)::text as held
    from meters m
    left join (
      select r.tenant_id, d.meter_id, sum(d.amount) as amount
      from reservations r, unnest(r.meter_ids, r.amounts) as d(meter_id, amount)
      group by r.tenant_id, d.meter_id
    ) as held on held.tenant_id = m.tenant_id and held.meter_id = m.meter_id
    where ($1::text is null or m.tenant_id = $1::text) and m.reserved <> coalesce(held.amount, 0)`,
  "a meter of money or tokens has committed what was settled": `
    select m.meter_id::text, m.committed::text, coalesce(settled.amount, 0)::text as settled
    from meters m
    join limits l on l.tenant_id = m.tenant_id and l.limit_id = m.limit_id
      and l.unit in ('usd', 'tokens')
    left join (
      select c.tenant_id, c.meter_id, sum(c.amount) as amount from (${COUNTED}) as c
      group by c.tenant_id, c.meter_id
    ) as settled on settled.tenant_id = m.tenant_id and settled.meter_id = m.meter_id
    where ($1::text is null or m.tenant_id = $1::text) and m.committed <> coalesce(settled.amount, 0)`,
  "a meter of requests has committed the attempts that were not released": `
    select m.meter_id::text, m.committed::text, coalesce(settled.amount, 0)::text as settled
    from meters m
    join limits l on l.tenant_id = m.tenant_id and l.limit_id = m.limit_id and l.unit = 'requests'
    left join (
      select s.tenant_id, d.meter_id, count(*) as amount
      from (select distinct on (tenant_id, attempt_id) * from settlements
            order by tenant_id, attempt_id, line desc) as s, unnest(s.meter_ids) as d(meter_id)
      where s.ending <> 'released' group by s.tenant_id, d.meter_id
    ) as settled on settled.tenant_id = m.tenant_id and settled.meter_id = m.meter_id
    where ($1::text is null or m.tenant_id = $1::text) and m.committed <> coalesce(settled.amount, 0)`,
  "what is in flight is never committed": `
    select m.meter_id::text, m.committed::text from meters m
    join limits l on l.tenant_id = m.tenant_id and l.limit_id = m.limit_id
    where ($1::text is null or m.tenant_id = $1::text) and l.unit = 'in_flight' and m.committed <> 0`,
  "an attempt holds or has ended, never both": `
    select r.attempt_id from reservations r
    join settlements s on s.tenant_id = r.tenant_id and s.attempt_id = r.attempt_id
    where $1::text is null or r.tenant_id = $1::text`,
  "an attempt that was allowed holds or has ended": `
    select d.attempt_id from decisions d
    where ($1::text is null or d.tenant_id = $1::text) and d.verdict = 'allow'
      and not exists (select from reservations r
                      where r.tenant_id = d.tenant_id and r.attempt_id = d.attempt_id)
      and not exists (select from settlements s
                      where s.tenant_id = d.tenant_id and s.attempt_id = d.attempt_id and s.line = 0)`,
  "only what was allowed holds": `
    select r.attempt_id from reservations r
    where ($1::text is null or r.tenant_id = $1::text)
      and not exists (select from decisions d where d.tenant_id = r.tenant_id
                      and d.attempt_id = r.attempt_id and d.verdict = 'allow')`,
  "only what was allowed is settled": `
    select s.attempt_id from settlements s
    where ($1::text is null or s.tenant_id = $1::text)
      and not exists (select from decisions d where d.tenant_id = s.tenant_id
                      and d.attempt_id = s.attempt_id and d.verdict = 'allow')`,
  "a correction follows a presumption": `
    select s.attempt_id from settlements s
    where ($1::text is null or s.tenant_id = $1::text) and s.line = 1
      and not exists (select from settlements p
                      where p.tenant_id = s.tenant_id and p.attempt_id = s.attempt_id and p.line = 0
                        and (p.basis = 'presumed' or p.ending = 'unknown'))`,
};

const BOUND: Readonly<Record<string, string>> = {
  "no meter stands above its limit": `
    select m.meter_id::text, m.committed::text, m.reserved::text, l.amount::text from meters m
    join limits l on l.tenant_id = m.tenant_id and l.limit_id = m.limit_id
    where ($1::text is null or m.tenant_id = $1::text) and l.mode = 'enforce'
      and m.committed + m.reserved > l.amount`,
};
