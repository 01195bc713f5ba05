/** Reports that read the sums of days against the single outcomes, by queries that share nothing with them. */
import { expect, test } from "vitest";
import { usdOf } from "../../src/core/money.ts";
import { type Cohort, parseGroupings } from "../../src/core/report.ts";
import { createReports } from "../../src/ledger/reports.ts";
import { open } from "../../src/store/database.ts";
import type { Queryable } from "../../src/store/events.ts";
import { generateHistory } from "../history/generate.ts";
import { rollUpAll, rollUpViolations } from "../store/roll-up-violations.ts";
import { describeEachDatabase, type TestDatabase } from "../support/databases.ts";
import { post } from "../../src/store/posting.ts";
import { settle } from "../../src/store/settlement.ts";
import { resetClock, setClock } from "../support/clock.ts";
import { askOf, newTenant, settlementOf, tell } from "../support/ledger-history.ts";
import { ALL_GROUPINGS, NO_FILTERS } from "../support/report-terms.ts";

type Time = "day" | "week" | "month";
type Asked = {
  readonly tenantId: string;
  readonly from: string;
  readonly to: string;
  readonly timeZone: string;
  readonly cohort: Cohort;
  readonly times: readonly Time[];
};

const FORMATS = { day: "YYYY-MM-DD", week: 'IYYY-"W"IW', month: "YYYY-MM" };

/** Each group's outcomes, their cost and its percentiles, of the single outcomes; the last is of all. */
async function wanted(sql: Queryable, asked: Asked): Promise<readonly string[]> {
  const { tenantId, from, to, timeZone, cohort, times } = asked;
  const at = cohort === "outcome" ? "occurred_at" : "started_at";
  const keys = times.map((time) => `to_char(${at} at time zone $2, '${FORMATS[time]}')`);
  const groups = `array[${["type", ...keys].join(", ")}]`;
  const rows = await sql.unsafe(
    `select ${groups} as groups, grouping(${groups}) as whole, count(*)::int as outcomes,
            sum(cost_picousd)::text as cost,
            (percentile_disc(array[0.5, 0.95]) within group (order by cost_picousd))::text[] as percentiles
     from outcome_costs
     where tenant_id = $1 and closing_id = '' and ${at} >= $3::timestamp at time zone $2
       and ${at} < $4::timestamp at time zone $2
     group by grouping sets ((1), ())`,
    [tenantId, timeZone, from, to],
  );
  return rows.map((row) =>
    lineOf(row["whole"] === 1 ? [] : row["groups"], row["outcomes"], [
      usdOf(row["cost"]),
      ...row["percentiles"].map(usdOf),
    ]),
  );
}

function lineOf(groups: readonly unknown[], outcomes: number, amounts: readonly unknown[]): string {
  return [...groups, outcomes, ...amounts].join(" ");
}

async function told({ db }: TestDatabase, asked: Asked): Promise<readonly string[]> {
  const { times, ...rest } = asked;
  const report = await createReports(db).costPerOutcome({
    ...rest,
    named: null,
    closing: null,
    groupings: parseGroupings(times.join(","), ALL_GROUPINGS),
    filters: NO_FILTERS,
  });
  return [...report.rows, { groups: {}, ...report.total }].map(
    ({ groups, outcomes, cost_usd, cost_p50_usd, cost_p95_usd }) =>
      lineOf(
        Object.values(groups),
        Object.values(outcomes).reduce((sum, count) => sum + count, 0),
        [cost_usd, cost_p50_usd, cost_p95_usd],
      ),
  );
}

describeEachDatabase("a report that reads days", (database) => {
  test("says what the single outcomes say, to the pico-dollar, in each zone and by each time", async () => {
    const tenantId = await newTenant(database);
    const sql = open(database.address, 1);
    await generateHistory(sql, {
      tenants: [{ tenantId, keyIds: ["key_a"] }],
      attempts: 2_000,
      from: new Date("2030-01-20"),
      to: new Date("2030-02-12"),
      seed: 7,
      progress: () => undefined,
    });
    await rollUpAll(sql, 500);
    expect(await rollUpViolations(sql, tenantId)).toEqual([]);
    await sql.end();
    const groupings: readonly (readonly Time[])[] = [
      [],
      ["day"],
      ["week"],
      ["month"],
      ["week", "month"],
    ];
    for (const timeZone of ["UTC", "Asia/Kathmandu", "America/St_Johns"]) {
      for (const times of groupings) {
        for (const cohort of ["outcome", "run_start"] as const) {
          const asked = { tenantId, from: "2030-01-22", to: "2030-02-10", timeZone, cohort, times };
          const [said, truth] = [
            await told(database, asked),
            await wanted(database.db.admin, asked),
          ];
          expect({ asked, said: said.toSorted() }).toEqual({ asked, said: truth.toSorted() });
          expect(said.length).toBeGreaterThan(4);
        }
      }
    }
  });

  test("begins a day with the first of two midnights, where clocks are put back over it", async () => {
    const tenantId = await newTenant(database);
    const { admin, gate } = database.db;
    // In the Azores 00:30 of 25 October 2026 is twice: at 00:30 and at 01:30 in UTC.
    const moments = [
      ["2026-10-24T22:30:00Z", 1n],
      ["2026-10-25T00:30:00Z", 10n],
      ["2026-10-25T01:30:00Z", 100n],
      ["2026-10-25T12:00:00Z", 1_000n],
    ] as const;
    for (const [at, costPicousd] of moments) {
      await setClock(database.db, new Date(at));
      const runId = at.replaceAll(":", ".");
      const ask = askOf(tenantId, { runId });
      await post(gate, "rep", [ask]);
      await settle(gate, [settlementOf(ask, { costPicousd })]);
      await tell(database, tenantId, { subject: runId });
    }
    await setClock(database.db, new Date("2026-11-01T00:00:00Z"));
    await rollUpAll(admin);
    const asked = { tenantId, timeZone: "Atlantic/Azores", cohort: "outcome" } as const;
    const days = async (from: string, to: string) =>
      await told(database, { ...asked, from, to, times: ["day"] });
    expect(await days("2026-10-24", "2026-10-25")).toEqual([
      "ticket_resolved 2026-10-24 1 0.000000000001 0.000000000001 0.000000000001",
      "1 0.000000000001 0.000000000001 0.000000000001",
    ]);
    expect(await days("2026-10-25", "2026-10-26")).toEqual([
      "ticket_resolved 2026-10-25 3 0.00000000111 0.0000000001 0.000000001",
      "3 0.00000000111 0.0000000001 0.000000001",
    ]);
    // So does the window of a budget, which begins before all that is in it.
    const outside = await admin`
      select w.kind, q.at::text from generate_series('2026-10-24'::timestamptz, '2026-11-02', '15 minutes') as q(at)
      cross join (values ('day'), ('week'), ('month'), ('hour')) as w(kind)
      cross join (values ('Atlantic/Azores'), ('America/Havana'), ('Europe/Berlin'), ('America/St_Johns')) as z(name)
      where not (tollgate_window_start(w.kind, q.at, z.name) <= q.at and tollgate_window_end(w.kind, q.at, z.name) > q.at)`;
    expect(outside).toEqual([]);
    await resetClock(database.db);
  });
});
