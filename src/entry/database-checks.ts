/**
 * What a PostgreSQL must be for the gate's promises to hold on it. A decision that is answered before it
 * is on the disk, or that another server may forget, is none: so a start on such a database is refused.
 */
import { Fault } from "../lib/assert.ts";
import { CONNECTIONS_PER_PROCESS, GRANTED, STATEMENT_TIMEOUT_MS } from "../store/database.ts";
import { inspectDatabase, sharesBackends, type DatabaseFacts } from "../store/inspect.ts";

/** The oldest PostgreSQL that the migrations are made for. */
const SERVER_VERSION_MIN = 150_000;

/** What a session of ours asks for when it begins, beside what poolers know. */
const SESSION_PARAMETERS = [
  "options",
  "statement_timeout",
  "idle_in_transaction_session_timeout",
  "lock_timeout",
  "synchronous_commit",
  ...Object.keys(GRANTED).filter((name) => name !== "DateStyle" && name !== "TimeZone"),
];

const POOLER_REMEDY =
  "set pool_mode = session for this database (in PgBouncer), or name PostgreSQL itself in DATABASE_URL";

/** By how TLS says that nobody vouches for a certificate. */
const UNKNOWN_AUTHORITY =
  /^(?:UNABLE_TO_(?:VERIFY_LEAF_SIGNATURE|GET_ISSUER_CERT.*)|SELF_SIGNED_CERT_IN_CHAIN|DEPTH_ZERO_SELF_SIGNED_CERT)$/;

/** What is there. Throws a Fault that says what to change where it cannot be asked. */
export async function lookAtDatabase(url: string): Promise<DatabaseFacts> {
  try {
    if (await sharesBackends(url)) {
      // What a session asks for is lost there, so nothing else that it says is of ours.
      throw new Fault(
        `the database cannot be used: a pooler in front of it gives one session one backend after another, and so loses prepared statements, locks and timeouts: ${POOLER_REMEDY}`,
      );
    }
    return await inspectDatabase(url);
  } catch (error) {
    const code = error instanceof Error && "code" in error ? error.code : null;
    if (!(error instanceof Error) || typeof code !== "string") throw error;
    throw new Fault(`the database cannot be used: ${unusableBecause(code, error.message)}`, {
      cause: error,
    });
  }
}

/** The driver's messages name host and role, never the password. */
export function unusableBecause(code: string, message: string): string {
  if (message.startsWith("unsupported startup parameter")) {
    return `a pooler in front of it refuses what sessions ask for (${message}): let it pass over that, in PgBouncer by ignore_startup_parameters = ${SESSION_PARAMETERS.join(", ")}, and ${POOLER_REMEDY}`;
  }
  if (UNKNOWN_AUTHORITY.test(code)) {
    return `nobody who is known here vouches for its certificate (${code}): set NODE_EXTRA_CA_CERTS to the file with the certificate of its authority, which is not read from DATABASE_URL`;
  }
  if (code === "ERR_SSL_WRONG_VERSION_NUMBER") {
    return "it speaks no TLS, which sslmode in DATABASE_URL demands: turn ssl on there, or ask for sslmode=disable";
  }
  if (code === "42704" && message.startsWith("unrecognized configuration parameter")) {
    return `${message}, which stands in DATABASE_URL: remove it there`;
  }
  return `${message === "" ? "no connection" : message} (${code}): check DATABASE_URL`;
}

/** What it found. Throws a Fault that tells everything that keeps Tollgate from starting on the database. */
export async function requireSoundDatabase(url: string): Promise<DatabaseFacts> {
  const facts = await lookAtDatabase(url);
  const problems = databaseProblems(facts);
  if (problems.length === 0) return facts;
  const head = "Tollgate does not start on this database, on which its decisions would not hold:";
  throw new Fault([head, ...problems].join("\n  "));
}

/** One sentence for each thing that is wrong, which says what to change; none when it is sound. */
export function databaseProblems(facts: DatabaseFacts): readonly string[] {
  const version = Math.floor(facts.serverVersion / 10_000);
  const { role, encoding, rightsMissing, connectionsMax, notGranted } = facts;
  if (facts.isReplica) {
    // Nothing else that a replica says is about the server to which we must go.
    return ["it is a replica, which cannot record anything: name the primary in DATABASE_URL"];
  }
  if (facts.schema !== "public") {
    // Its tables are looked for elsewhere, so nothing is known of them.
    return [
      `the schema public, in which Tollgate has its tables, is not the first that role ${role} finds: grant usage on schema public, and let neither DATABASE_URL nor a pooler set another search_path`,
    ];
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
    notGranted.length > 0 &&
      `sessions ask for ${notGranted.join(", ")} and have it not: leave it out of DATABASE_URL, or behind a pooler, which swallows it, set it for role ${role}`,
    (facts.statementTimeoutMs === 0 || facts.statementTimeoutMs > STATEMENT_TIMEOUT_MS) &&
      `statement_timeout is not the ${STATEMENT_TIMEOUT_MS} ms that sessions ask for, so nobody knows when what was not answered has ended: leave it out of DATABASE_URL, or behind a pooler, which swallows it: alter role ${role} set statement_timeout = '15s'`,
    connectionsMax < CONNECTIONS_PER_PROCESS &&
      `it allows ${connectionsMax} connections and one process may need ${CONNECTIONS_PER_PROCESS}: raise max_connections, or the connection limit of role ${role} or of the database`,
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
