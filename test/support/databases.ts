import { randomUUID } from "node:crypto";
import { cp, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, inject } from "vitest";
import { openEmbedded } from "../../src/entry/pglite.ts";
import { connect, open, type Address, type Database } from "../../src/store/database.ts";
import { TEMPLATE_DATABASE, urlOf } from "./templates.ts";

type DatabaseKind = "PGlite" | "PostgreSQL";

/** A migrated database of a test's own. Read its members inside tests and hooks, never while collecting. */
export type TestDatabase = {
  readonly kind: DatabaseKind;
  /** For what opens its own connections: a second process, a second gateway. */
  readonly address: Address;
  readonly db: Database;
};

export type OpenedDatabase = { readonly address: Address; readonly close: () => Promise<void> };

/** PGlite has one backend: more connections to it only queue there. */
const CONNECTIONS: Record<DatabaseKind, { gateConnections: number; adminConnections: number }> = {
  PGlite: { gateConnections: 1, adminConnections: 1 },
  PostgreSQL: { gateConnections: 3, adminConnections: 2 },
};

/** Runs the suite on the embedded database and on PostgreSQL, each with a database of its own. */
export function describeEachDatabase(name: string, suite: (database: TestDatabase) => void): void {
  describeOn("PGlite", name, suite);
  describeOn("PostgreSQL", name, suite);
}

/** For what only several backends can show: races, lost connections, crashes. */
export function describeOnPostgres(name: string, suite: (database: TestDatabase) => void): void {
  describeOn("PostgreSQL", name, suite);
}

/** For the few of what is shown on PostgreSQL whole that touch the database in another way. */
export function describeOnPglite(name: string, suite: (database: TestDatabase) => void): void {
  describeOn("PGlite", name, suite);
}

function describeOn(
  kind: DatabaseKind,
  name: string,
  suite: (database: TestDatabase) => void,
): void {
  describe(`${name} on ${kind}`, () => {
    let opened: OpenedDatabase | undefined;
    let db: Database | undefined;
    beforeAll(async () => {
      opened = kind === "PGlite" ? await openPglite() : await openPostgres();
      db = connect(opened.address, CONNECTIONS[kind]);
    });
    afterAll(async () => {
      await db?.close();
      await opened?.close();
    });
    suite({
      kind,
      get address() {
        return present(opened).address;
      },
      get db() {
        return present(db);
      },
    });
  });
}

function present<Value>(value: Value | undefined): Value {
  if (value === undefined) throw new Error("the database is open only inside tests and hooks");
  return value;
}

/** A new database in the run's PostgreSQL, copied from the migrated template (about 30 ms). */
export async function openPostgres(): Promise<OpenedDatabase> {
  const server = inject("postgres");
  const name = `test_${randomUUID().replaceAll("-", "")}`;
  const run = async (statement: string): Promise<void> => {
    const sql = open(urlOf(server, "postgres"), 1);
    try {
      await sql.unsafe(statement);
    } finally {
      await sql.end();
    }
  };
  await run(`create database ${name} template ${TEMPLATE_DATABASE}`);
  // `force`: a test that fails may leave connections behind, and must not hide its failure by that.
  return {
    address: urlOf(server, name),
    close: () => run(`drop database ${name} with (force)`),
  };
}

/** A new PGlite in a thread, as the program itself runs it, on a copy of the migrated template. */
async function openPglite(): Promise<OpenedDatabase> {
  const directory = await mkdtemp(join(tmpdir(), "tollgate-pglite-test-"));
  const remove = (): Promise<void> => rm(directory, { recursive: true, force: true });
  try {
    await cp(inject("pgliteTemplate"), directory, { recursive: true });
    const embedded = await openEmbedded(directory);
    return {
      address: embedded.address,
      close: async () => {
        await embedded.close();
        await remove();
      },
    };
  } catch (error) {
    await remove();
    throw error;
  }
}
