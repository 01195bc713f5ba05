import { randomUUID } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import { openEmbedded, type Embedded } from "../../src/entry/pglite.ts";
import { Fault } from "../../src/lib/assert.ts";
import { open, type Address } from "../../src/store/database.ts";
import { appliedVersion, SCHEMA_VERSION } from "../../src/store/applied-version.ts";
import { migrate, schemaVersion } from "../../src/store/migrate.ts";
import { describeEachDatabase } from "../support/databases.ts";
import { urlOf } from "../support/templates.ts";

/** A database that no migration has touched. */
type Empty = { readonly address: Address; readonly close: () => Promise<void> };

async function emptyPostgres(): Promise<Empty> {
  const server = inject("postgres");
  const name = `empty_${randomUUID().replaceAll("-", "")}`;
  const sql = open(urlOf(server, "postgres"), 1);
  await sql.unsafe(`create database ${name}`);
  return {
    address: urlOf(server, name),
    close: async () => {
      await sql.unsafe(`drop database ${name} with (force)`);
      await sql.end();
    },
  };
}

async function emptyPglite(): Promise<Empty> {
  const directory = await mkdtemp(join(tmpdir(), "tollgate-migrate-"));
  const embedded: Embedded = await openEmbedded(directory);
  return {
    address: embedded.address,
    close: async () => {
      await embedded.close();
      await rm(directory, { recursive: true, force: true });
    },
  };
}

async function inspect<Result>(
  address: Address,
  look: (sql: ReturnType<typeof open>) => Promise<Result>,
): Promise<Result> {
  const sql = open(address, 1);
  try {
    return await look(sql);
  } finally {
    await sql.end();
  }
}

for (const [kind, make] of [
  ["PGlite", emptyPglite],
  ["PostgreSQL", emptyPostgres],
] as const) {
  describe(`migrating an empty database on ${kind}`, () => {
    let empty: Empty;
    beforeAll(async () => {
      empty = await make();
    });
    afterAll(() => empty.close());

    test("happens once when several start together, and again does nothing", async () => {
      expect(await inspect(empty.address, appliedVersion)).toBe(0);
      // The embedded database has one backend and one process: nobody starts beside it.
      const starts = kind === "PGlite" ? 1 : 4;
      await Promise.all(Array.from({ length: starts }, () => migrate(empty.address)));
      expect(await inspect(empty.address, appliedVersion)).toBe(schemaVersion());
      await migrate(empty.address);
      expect(await inspect(empty.address, appliedVersion)).toBe(schemaVersion());
      const functions = await inspect(
        empty.address,
        (sql) => sql`select count(*)::int as count from pg_proc where proname = 'tollgate_post'`,
      );
      expect(functions[0]?.["count"]).toBe(1);
    });

    test("is refused where a newer program was before, and changes nothing", async () => {
      await inspect(
        empty.address,
        (sql) => sql`
          insert into drizzle.__drizzle_migrations (hash, created_at) values ('newer', 9e15)`,
      );
      const newer = schemaVersion() + 1;
      await expect(migrate(empty.address)).rejects.toThrow(Fault);
      await expect(migrate(empty.address)).rejects.toThrow(
        `schema version ${newer}, this program knows ${schemaVersion()}`,
      );
      expect(await inspect(empty.address, appliedVersion)).toBe(newer);
    });

    test("goes on from a build before 0.1.0 only where that had come to its end", async () => {
      const leave = (count: number) =>
        inspect(empty.address, async (sql) => {
          await sql`delete from drizzle.__drizzle_migrations where id > ${count}`;
          await sql`update drizzle.__drizzle_migrations set hash = 'of that build'`;
        });
      await leave(schemaVersion());
      await migrate(empty.address);
      await leave(7);
      await expect(migrate(empty.address)).rejects.toThrow(Fault);
      await expect(migrate(empty.address)).rejects.toThrow("has only 7 of its 20 migrations");
      expect(await inspect(empty.address, appliedVersion)).toBe(7);
    });
  });
}

test("a runtime without files needs the schema that the migrations make", () => {
  expect(SCHEMA_VERSION).toBe(schemaVersion());
});

describeEachDatabase("the ledger", (database) => {
  const rows: Record<string, string> = {
    decisions: `insert into decisions (tenant_id, attempt_id, key_id, run_id, attempt, door, operation,
      resource, verdict, decided_at, meters, record)
      values ('t', 'a', 'k', 'r', 1, 'model', 'chat', 'm', 'allow', now(), '[]', '{}')`,
    settlements: `insert into settlements (tenant_id, attempt_id, line, ending, basis, cost_picousd,
      tokens, usage, record, meter_ids, meter_units, settled_at)
      values ('t', 'a', 0, 'succeeded', 'computed', 1, 1, '{}', '{}', '{}', '{}', now())`,
    events: `insert into events (tenant_id, event_id, kind, actor, subject, body)
      values ('t', 'e', 'k', 'a', 's', '{}')`,
    price_book: `insert into price_book (tenant_id, upstream, model, valid_from, revision, version)
      values ('t', 'u', 'm', 'epoch', 1, 'v')`,
    adjustments: `insert into adjustments (tenant_id, adjustment_id, amount_picousd, reason, actor)
      values ('t', 'adj', -1, 'r', 'a')`,
    prices: `insert into prices (version, upstream, model, valid_from, content, source)
      values ('v', 'u', 'm', now(), '{}', 's')`,
  };
  const changes = (table: string) => [
    `update ${table} set ${table === "prices" ? "source" : "tenant_id"} = 'x'`,
    `delete from ${table}`,
    `truncate ${table}`,
  ];
  const cases = Object.keys(rows).flatMap((table) =>
    changes(table).map((statement) => ({ table, statement })),
  );
  test.each(cases)("refuses: $statement", async ({ table, statement }) => {
    const { admin } = database.db;
    await admin.unsafe(`${rows[table]} on conflict do nothing`);
    await expect(admin.unsafe(statement).execute()).rejects.toThrow(
      `table ${table} is part of the ledger`,
    );
    const [row] = await admin.unsafe(`select count(*)::int as count from ${table}`);
    expect(row?.["count"]).toBe(1);
  });

  test("takes no second settlement of one attempt, whoever writes it", async () => {
    const { admin } = database.db;
    await admin.unsafe(`${rows["settlements"]} on conflict do nothing`);
    await expect(admin.unsafe(rows["settlements"]!).execute()).rejects.toThrow("duplicate key");
  });
});
