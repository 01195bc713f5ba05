import { createHash } from "node:crypto";
import { lstatSync, readdirSync, readFileSync } from "node:fs";
import { mkdtemp, rename, rm } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { openEmbedded } from "../../src/entry/pglite.ts";
import { open, type Address } from "../../src/store/database.ts";
import { migrate } from "../../src/store/migrate.ts";
import type { PostgresAddress } from "./postgres.ts";

/** The migrated database that every test file's own one is a copy of. */
export const TEMPLATE_DATABASE = "tollgate_template";

const MIGRATIONS = fileURLToPath(new URL("../../drizzle", import.meta.url));

/** Migrates both templates, once per run; answers the directory of PGlite's. */
export async function buildTemplates(address: PostgresAddress): Promise<string> {
  const [directory] = await Promise.all([pgliteTemplate(), postgresTemplate(address)]);
  return directory;
}

export function urlOf(address: PostgresAddress, database: string): Address {
  const { user, host, port } = address;
  return { kind: "url", url: `postgres://${user}@${host}:${port}/${database}` };
}

async function postgresTemplate(address: PostgresAddress): Promise<void> {
  const sql = open(urlOf(address, "postgres"), 1);
  try {
    await sql.unsafe(`create database ${TEMPLATE_DATABASE}`);
  } finally {
    await sql.end();
  }
  await migrate(urlOf(address, TEMPLATE_DATABASE));
}

/**
 * Making and migrating a PGlite directory takes seconds, copying one a fraction of one: so it is made
 * once per set of migrations, and kept in the temp directory for the next run.
 */
async function pgliteTemplate(): Promise<string> {
  const owner = process.getuid?.() ?? 0;
  const template = join(tmpdir(), `tollgate-pglite-${owner}-${fingerprint()}`);
  if (isOurs(template, owner)) return template;
  const draft = await mkdtemp(join(tmpdir(), "tollgate-pglite-draft-"));
  const embedded = await openEmbedded(draft);
  try {
    await migrate(embedded.address);
  } finally {
    await embedded.close();
  }
  try {
    await rename(draft, template);
  } catch (error) {
    // Another run finished the same template first.
    await rm(draft, { recursive: true, force: true });
    if (!isOurs(template, owner)) throw error;
  }
  return template;
}

/** The temp directory is shared with strangers: a template that somebody else put there is not used. */
function isOurs(directory: string, owner: number): boolean {
  const status = lstatSync(directory, { throwIfNoEntry: false });
  if (status === undefined) return false;
  if (status.isDirectory() && status.uid === owner) return true;
  throw new Error(`${directory} belongs to someone else: remove it`);
}

/** All that decides what a migrated directory holds. */
function fingerprint(): string {
  const hash = createHash("sha256");
  for (const name of readdirSync(MIGRATIONS).toSorted()) {
    if (name.endsWith(".sql")) hash.update(name).update(readFileSync(join(MIGRATIONS, name)));
  }
  hash.update(readFileSync(join(MIGRATIONS, "meta", "_journal.json")));
  const pglite = createRequire(import.meta.url).resolve("@electric-sql/pglite");
  hash.update(readFileSync(join(pglite, "..", "..", "package.json")));
  return hash.digest("hex").slice(0, 16);
}
