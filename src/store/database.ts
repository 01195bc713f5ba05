/**
 * The one driver. PostgreSQL is reached over its socket; the embedded PGlite serves the same protocol
 * on a socket of its own, so no other room can tell which of the two it talks to.
 */
import postgres from "postgres";

import { LOCK_MS_MAX } from "../core/limits.ts";
import { answered } from "./answered.ts";
import { readDatabaseUrl } from "./database-url.ts";

export type Sql = postgres.Sql<{ bigint: bigint }>;

/** Where the database is: a PostgreSQL URL, or the directory of PGlite's socket. */
export type Address =
  | { readonly kind: "url"; readonly url: string }
  | { readonly kind: "socket"; readonly path: string };

export type Database = {
  readonly address: Address;
  /** The gate's posting and settling statements, prepared. */
  readonly gate: Sql;
  /**
   * For what keeps this replica honest: its lease, and the revision of what it knows. Of its own, because
   * a report that takes seconds must not cost a lease or delay a revocation; on PostgreSQL two, because
   * the lease is a commit, and a disk may keep one waiting for longer than a revision may.
   */
  readonly control: Sql;
  /** Everything else: administration, looking back. */
  readonly admin: Sql;
  readonly close: () => Promise<void>;
};

export type ConnectOptions = {
  /** Connections for posting and settling; PGlite has one backend, so more than one only queues there. */
  readonly gateConnections: number;
  readonly adminConnections: number;
};

/** How long a new connection may take before the attempt to use it fails. */
const CONNECT_TIMEOUT_S = 5;
/** No statement of ours runs this long, in ms; one that does holds locks that others need. */
export const STATEMENT_TIMEOUT_MS = 15_000;

/**
 * After this long a statement that was not answered has committed, or been ended by its server, where it waited for no
 * other's connection.
 */
export const STATEMENT_MS_MAX = STATEMENT_TIMEOUT_MS + 1_000;

/** Of administration, which may have waited for another one's connection before. */
export const ADMIN_MS_MAX = 2 * STATEMENT_TIMEOUT_MS;

const CLOSE_TIMEOUT_S = 5;

/**
 * PGlite has one backend. On PostgreSQL fly at a time two postings of all tenants and two of tenants apart,
 * one settlement and one marking; none of them may queue behind one that waits for a lock.
 */
export const CONNECTIONS = {
  embedded: { gateConnections: 1, adminConnections: 1 },
  server: { gateConnections: 6, adminConnections: 4 },
} as const;

const CONTROL_CONNECTIONS = 2;

/** The most that one process has open at PostgreSQL: the ones above, and one that listens for changes. */
export const CONNECTIONS_PER_PROCESS =
  CONNECTIONS.server.gateConnections +
  CONNECTIONS.server.adminConnections +
  CONTROL_CONNECTIONS +
  1;

/**
 * Blanks in which the server finds no option. The driver sends what is shorter than 1 KiB in the next turn
 * of the event loop; a connection that closes while something waits for that turn never sends a short
 * message again, its greeting included, and ends in CONNECT_TIMEOUT for as long as the process lives
 * (postgres.js 3.4.9: `closed` does not forget the timer). A greeting of this length goes out at once.
 */
const LONG_GREETING = " ".repeat(1_024);

/**
 * What our statements take for granted, whatever role and database have as their own. Moments are read by the driver as
 * texts, and it takes the third of February of another `DateStyle` for the second of March. Postings that meet on a row
 * wait for each other; serializable ones fail. The tables are in `public`. The driver reads bytes in hex only, and what is
 * sealed opens as nothing else; an array has its nulls.
 */
export const GRANTED = {
  DateStyle: "ISO, MDY",
  TimeZone: "UTC",
  default_transaction_isolation: "read committed",
  search_path: "public",
  bytea_output: "hex",
  array_nulls: true,
} as const;

export type SessionTerms = {
  /** More parameters of each session. */
  readonly settings?: Readonly<Record<string, string>>;
  /**
   * Whether rows with array columns are read as arrays. For that the driver asks for their types on each
   * new connection, by a promise that nobody holds: a connection lost in that moment is an unhandled
   * rejection (see `entry/lost-lookups.ts`). Not to be wanted where it is not needed.
   */
  readonly readsArrays?: boolean;
};

export function open(address: Address, connections: number, terms: SessionTerms = {}): Sql {
  const { settings = {}, readsArrays = true } = terms;
  const options = {
    max: connections,
    connect_timeout: CONNECT_TIMEOUT_S,
    idle_timeout: 0,
    fetch_types: readsArrays,
    backoff: (attempt: number) => Math.min(0.1 * 2 ** attempt, 1),
    onnotice: () => undefined,
    types: { bigint: postgres.BigInt },
    connection: {
      application_name: "tollgate",
      ...(address.kind === "url"
        ? {
            options: LONG_GREETING,
            statement_timeout: STATEMENT_TIMEOUT_MS,
            idle_in_transaction_session_timeout: STATEMENT_TIMEOUT_MS,
            ...GRANTED,
            ...settings,
          }
        : {}),
    },
  };
  if (address.kind === "url") {
    const { url, place } = readDatabaseUrl(address.url);
    return postgres(url, { ...options, ...place });
  }
  return postgres({
    ...options,
    host: address.path,
    path: address.path,
    user: "postgres",
    database: "postgres",
  });
}

/** Opens no connection by itself: the first query does, and every later one again after a loss. */
export function connect(address: Address, options: ConnectOptions): Database {
  // Asked for by name: a default that is changed while we run must not make decisions forgettable.
  const settings = { synchronous_commit: "on", lock_timeout: String(LOCK_MS_MAX) };
  const gate = open(address, options.gateConnections, { settings, readsArrays: false });
  const controls = address.kind === "url" ? CONTROL_CONNECTIONS : 1;
  const control = open(address, controls, { readsArrays: false });
  const admin = open(address, options.adminConnections);
  return {
    address,
    gate: answered(gate, STATEMENT_MS_MAX),
    control: answered(control, STATEMENT_MS_MAX),
    admin: answered(admin, ADMIN_MS_MAX),
    close: () => endAll([gate, control, admin]),
  };
}

/**
 * For one request of a Worker: sockets are its own there, and a pooler (Hyperdrive) stands in between,
 * which takes no session settings, so that the role's own `statement_timeout` holds. One connection for
 * the gate; a second one, opened only when administration asks, which first reads the types of arrays.
 */
export function connectForRequest(url: string): Database {
  const options = {
    max: 1,
    connect_timeout: CONNECT_TIMEOUT_S,
    onnotice: () => undefined,
    types: { bigint: postgres.BigInt },
    connection: { application_name: "tollgate" },
  };
  const { url: read, place } = readDatabaseUrl(url);
  const gate = postgres(read, { ...options, ...place, fetch_types: false });
  const admin = postgres(read, { ...options, ...place });
  const gateInTime = answered(gate, STATEMENT_MS_MAX);
  return {
    address: { kind: "url", url },
    gate: gateInTime,
    control: gateInTime,
    admin: answered(admin, ADMIN_MS_MAX),
    close: () => endAll([gate, admin]),
  };
}

async function endAll(clients: readonly Sql[]): Promise<void> {
  await Promise.all(clients.map((client) => client.end({ timeout: CLOSE_TIMEOUT_S })));
}
