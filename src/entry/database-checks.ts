/**
 * What a PostgreSQL must be for the gate's promises to hold on it. A decision that is answered before it
 * is on the disk, or that another server may forget, is none: so a start on such a database is refused.
 */
import { Fault } from "../lib/assert.ts";
import { inspectDatabase, type DatabaseFacts } from "../store/inspect.ts";

/** The oldest PostgreSQL that the migrations are made for. */
const SERVER_VERSION_MIN = 150_000;

/** What it found. Throws a Fault that tells everything that keeps Tollgate from starting on the database. */
export async function requireSoundDatabase(url: string): Promise<DatabaseFacts> {
  const facts = await inspectDatabase(url);
  const problems = databaseProblems(facts);
  if (problems.length === 0) return facts;
  const head = "Tollgate does not start on this database, on which its decisions would not hold:";
  throw new Fault([head, ...problems].join("\n  "));
}

/** One sentence for each thing that is wrong, which says what to change; none when it is sound. */
export function databaseProblems(facts: DatabaseFacts): readonly string[] {
  const version = Math.floor(facts.serverVersion / 10_000);
  const { role, encoding, rightsMissing } = facts;
  if (facts.isReplica) {
    // Nothing else that a replica says is about the server to which we must go.
    return ["it is a replica, which cannot record anything: name the primary in DATABASE_URL"];
  }
  const found: (string | false)[] = [
    facts.serverVersion < SERVER_VERSION_MIN &&
      `it is PostgreSQL ${version}: 15 or later is needed`,
    facts.isReadOnly &&
      `default_transaction_read_only is on for role ${role}: turn it off for this role, this database or the server`,
    !facts.fsync &&
      "fsync is off, so a crash of the machine corrupts what was decided: set fsync = on and reload",
    !facts.fullPageWrites &&
      "full_page_writes is off, so a crash may tear pages of the ledger: set full_page_writes = on and reload",
    facts.synchronousCommit === "off" &&
      `synchronous_commit is off for role ${role}, so a crash forgets decisions that calls were sent on: set it to on for this role, this database or the server`,
    encoding !== "UTF8" &&
      `its encoding is ${encoding}, which cannot hold every name: create a database with encoding UTF8`,
    facts.schemaApplied > facts.schemaKnown &&
      `it has schema version ${facts.schemaApplied} and this program knows ${facts.schemaKnown}: start the newer release`,
    facts.schemaApplied < facts.schemaKnown &&
      !facts.mayMigrate &&
      rightsMissing.length === 0 &&
      `role ${role} may not migrate it: grant create on the database and its schema, or start once with the role that owns the tables`,
    rightsMissing.length > 0 && `role ${role} lacks rights: grant ${rightsMissing.join(", ")}`,
  ];
  return found.filter((sentence) => sentence !== false);
}
