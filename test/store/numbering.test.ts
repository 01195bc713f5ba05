/** What it costs to give an attempt its number, in rows read: free calls could make it dear for everyone. */
import { expect, test } from "vitest";
import { RETRY_WINDOW_MS } from "../../src/core/limits.ts";
import { open, type Sql } from "../../src/store/database.ts";
import { post, type Ask } from "../../src/store/posting.ts";
import { newId } from "../gate/gate-on.ts";
import { describeOnPostgres } from "../support/databases.ts";

const ATTEMPTS = 3_000;

describeOnPostgres("the number of an attempt", (database) => {
  test("counts on after a failure for as long as callers are told", async () => {
    const [row] = await database.db.admin`
      select extract(epoch from tollgate_retry_window())::int as seconds`;
    expect(row?.["seconds"]).toBe(RETRY_WINDOW_MS / 1_000);
  });

  test("is found by one row, however many attempts and refusals its step has had", async () => {
    const { db } = database;
    await db.admin`insert into tenants (tenant_id, name) values ('ten_a', 'a')`;
    const sql = open(database.address, 1);
    // The plans of this connection are made here, while the tables are empty, and kept.
    for (let i = 0; i < 8; i += 1) await post(sql, "rep", [askOf("warm")]);
    await post(sql, "rep", [askOf("long"), askOf("long", "price_unknown")]);
    await db.admin`
      insert into decisions select (json_populate_record(d, json_build_object(
        'attempt_id', d.attempt_id || n, 'attempt', d.attempt + n))).*
      from decisions d, generate_series(1, ${ATTEMPTS}) as n where d.step_id = 'long'`;
    const read: number[] = [];
    const numbers: number[][] = [];
    for (const asks of [[askOf("long")], [askOf("long"), askOf("long")]]) {
      await sql.begin(async (begun) => {
        const tx = begun as unknown as Sql;
        const before = await readOf(tx, "decisions");
        numbers.push((await post(tx, "rep", asks)).map(({ attempt }) => attempt));
        read.push((await readOf(tx, "decisions")) - before);
      });
    }
    await sql.end();
    expect(numbers).toEqual([[ATTEMPTS + 2], [ATTEMPTS + 3, ATTEMPTS + 4]]);
    // One for each step, however many asks of a batch are of it.
    expect(read).toEqual([1, 1]);
  });

  test("is found without reading what else its tenant has in flight", async () => {
    const { db } = database;
    const sql = open(database.address, 1);
    // The plans of this connection are made here, before much is in flight, and kept.
    for (let i = 0; i < 8; i += 1) await post(sql, "rep", [askOf("warm")]);
    await post(sql, "rep", [askOf("flies")]);
    await db.admin`
      insert into reservations select (json_populate_record(r, json_build_object('attempt_id', 'att_' || n))).*
      from reservations r, generate_series(1, ${ATTEMPTS}) as n
      where r.attempt_id = (select min(attempt_id) from reservations)`;
    const read = await sql.begin(async (begun) => {
      const tx = begun as unknown as Sql;
      const before = await readOf(tx, "reservations");
      await post(tx, "rep", [askOf("flies")]);
      return (await readOf(tx, "reservations")) - before;
    });
    await sql.end();
    expect(read).toBe(1);
  });
});

describeOnPostgres("the step that an attempt repeats under another name", (database) => {
  // Plans are made once for each connection, and were different ones for tables of different sizes.
  test("is found by its content, whenever the plan was made", async () => {
    const { db } = database;
    await db.admin`insert into tenants (tenant_id, name) values ('ten_a', 'a')`;
    const made: Sql[] = [];
    for (const [turn, more] of [0, 60, 600, ATTEMPTS].entries()) {
      const sql = open(database.address, 1);
      made.push(sql);
      for (let i = 0; i < 8; i += 1) await post(sql, "rep", [withContent()]);
      await db.admin`
        insert into decisions select (json_populate_record(d, json_build_object(
          'attempt_id', d.attempt_id || ${turn}::int || ' ' || n, 'step_digest', d.step_digest || n,
          'content_digest', d.content_digest || n))).*
        from decisions d, generate_series(1, ${more}) as n
        where d.attempt_id = (select min(attempt_id) from decisions where content_digest is not null)`;
    }
    const read = await Promise.all(
      made.map((sql) =>
        sql.begin(async (begun) => {
          const tx = begun as unknown as Sql;
          const before = await readOf(tx, "decisions");
          await post(tx, "rep", [withContent(), withContent()]);
          return (await readOf(tx, "decisions")) - before;
        }),
      ),
    );
    await Promise.all(made.map((sql) => sql.end()));
    expect(read).toEqual([0, 0, 0, 0]);
  });
});

/** Entries of indexes and rows of scans that this connection has read of a table of late. */
async function readOf(sql: Sql, table: "decisions" | "reservations"): Promise<number> {
  const [row] = await sql`
    select (sum(pg_stat_get_xact_tuples_returned(indexrelid))
      + pg_stat_get_xact_tuples_returned(${table}::text::regclass))::int as count
    from pg_index where indrelid = ${table}::text::regclass`;
  return Number(row?.["count"]);
}

/** A step of its own, with a content of its own. */
function withContent(): Ask {
  const stepId = newId();
  return { ...askOf(stepId), contentDigest: `content ${stepId}` };
}

function askOf(stepId: string, judgedReason: Ask["judgedReason"] = null): Ask {
  return {
    attemptId: `att_${newId()}`,
    tenantId: "ten_a",
    keyId: "key_a",
    runId: "run_a",
    runNamed: true,
    stepId,
    stepDigest: `step ${stepId}`,
    contentDigest: null,
    retryResource: "model:m",
    door: "model",
    operation: "chat",
    resource: "m",
    upstream: "up",
    model: "m",
    judgedReason,
    costPicousd: 0n,
    tokens: 1,
    priceVersion: null,
    final: true,
    deadlineMs: 60_000,
    record: "{}",
    refs: [],
    extra: null,
  };
}
