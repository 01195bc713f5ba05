/** What an operator wants to know of a database before Tollgate starts on it. Reads only, and no rows of a tenant. */
import { appliedVersion } from "./applied-version.ts";
import { within } from "../lib/within.ts";
import { GRANTED, open, type Address, type Sql } from "./database.ts";
import { arrayLiteral } from "./literal.ts";
import { schemaVersion } from "./migrate.ts";
import { transaction } from "./transaction.ts";

export type DatabaseFacts = {
  /** PostgreSQL's `server_version_num`: 150004 is 15.4. */
  readonly serverVersion: number;
  /** Migrations applied; 0 is a database that Tollgate has never started on. */
  readonly schemaApplied: number;
  /** Migrations that this program knows. */
  readonly schemaKnown: number;
  /** The role that we are, for sentences. */
  readonly role: string;
  readonly isReplica: boolean;
  /** `default_transaction_read_only`, as it holds for this role in this database. */
  readonly isReadOnly: boolean;
  readonly fsync: boolean;
  readonly fullPageWrites: boolean;
  /** As it holds for this role in this database: `on`, `off`, `local`, `remote_write`, `remote_apply`. */
  readonly synchronousCommit: string;
  readonly encoding: string;
  /** Where tables are looked for first, in a session of ours; null: in no schema that the role may use. */
  readonly schema: string | null;
  /** What our statements take for granted, and a session of ours has not: `bytea_output = hex`. */
  readonly notGranted: readonly string[];
  /** In a session of ours, in ms; 0: none. A pooler may have swallowed what we asked for. */
  readonly statementTimeoutMs: number;
  /** Connections that ordinary roles may have, all together; this role's and database's limits included. */
  readonly connectionsMax: number;
  /** Whether the role may bring the schema to this program's version. */
  readonly mayMigrate: boolean;
  /** What the role may not do to the tables that are there: `insert on decisions`. */
  readonly rightsMissing: readonly string[];
};

const READ = ["select", "insert"];
const CHANGE = [...READ, "update"];
const KEEP = [...CHANGE, "delete"];

/** What the program does to its tables. The ledger's are never changed. */
const RIGHTS: Readonly<Record<string, readonly string[]>> = {
  decisions: READ,
  settlements: READ,
  events: READ,
  prices: READ,
  policy_bundles: READ,
  tool_definitions: READ,
  approval_votes: READ,
  outcomes: READ,
  period_closings: READ,
  price_book: READ,
  adjustments: READ,
  reconciliations: READ,
  cost_dimensions: READ,
  operation_runs: READ,
  outcome_runs: READ,
  installation: CHANGE,
  tenants: CHANGE,
  keys: CHANGE,
  limits: CHANGE,
  tools: CHANGE,
  tool_catalogue: CHANGE,
  webhooks: CHANGE,
  approvals: CHANGE,
  effects: CHANGE,
  runs: CHANGE,
  meters: CHANGE,
  outcome_types: CHANGE,
  cost_cells: CHANGE,
  cost_days: CHANGE,
  run_cells: CHANGE,
  run_costs: CHANGE,
  run_days: CHANGE,
  outcome_costs: CHANGE,
  outcome_days: CHANGE,
  roll_up_state: CHANGE,
  budget_alert_state: CHANGE,
  report_schedules: CHANGE,
  answers: KEEP,
  deliveries: KEEP,
  idempotency_keys: KEEP,
  reservations: KEEP,
  replicas: KEEP,
  stale_outcomes: KEEP,
  stale_runs: KEEP,
  budget_alerts: KEEP,
  reports_told: KEEP,
};

/** How long a backend may take to answer: longer than one that is only busy, at any load at which a start succeeds. */
const ANOTHER_MS_MAX = 5_000;

/**
 * Whether a pooler gives one session one backend after another. The one that it was given back last is the next that it
 * gives away: so another session has the one that we had, and holds it, while we ask again. Where ours is ours it
 * answers; else another one does, or none.
 *
 * To be asked before anything else: PgBouncer 1.18 lets a session wait for ever whose next statement came before the
 * answer to its last one.
 */
export async function sharesBackends(url: string): Promise<boolean> {
  const address: Address = { kind: "url", url };
  const ours = open(address, 1, { readsArrays: false });
  const other = open(address, 1, { readsArrays: false });
  try {
    const before = await backendOf(ours);
    return await transaction(other, async (tx) => {
      await backendOf(tx);
      const isAnother = backendOf(ours).then((backend) => backend !== before);
      return within(ANOTHER_MS_MAX, isAnother, () => true);
    });
  } finally {
    await Promise.all([ours.end({ timeout: 5 }), other.end({ timeout: 5 })]);
  }
}

async function backendOf(sql: Pick<Sql, "unsafe">): Promise<number> {
  const [row] = await sql.unsafe("select pg_backend_pid() as backend").simple();
  return Number(row?.["backend"]);
}

/** Throws what the driver throws when the database cannot be reached. */
export async function inspectDatabase(url: string): Promise<DatabaseFacts> {
  const client = open({ kind: "url", url }, 1, { readsArrays: false });
  try {
    // All at once, which is one way to the server and back.
    const serverAsked = client`
      select current_setting('server_version_num')::int as version,
             current_user::text as role,
             pg_is_in_recovery() as replica,
             current_setting('default_transaction_read_only') = 'on' as read_only,
             current_setting('fsync') = 'on' as fsync,
             current_setting('full_page_writes') = 'on' as full_page_writes,
             current_setting('synchronous_commit') as synchronous_commit,
             current_setting('server_encoding') as encoding,
             current_schema()::text as schema,
             (select setting from pg_settings where name = 'statement_timeout') as statement_timeout_ms,
             (select least(
                current_setting('max_connections')::int
                  - current_setting('superuser_reserved_connections')::int
                  - coalesce(current_setting('reserved_connections', true)::int, 0),
                case when r.rolconnlimit >= 0 then r.rolconnlimit end,
                case when d.datconnlimit >= 0 then d.datconnlimit end)
              from pg_roles r, pg_database d
              where r.rolname = current_user and d.datname = current_database()) as connections,
             case when to_regclass('decisions') is null
               then has_database_privilege(current_database(), 'create')
                 and coalesce(has_schema_privilege(current_schema(), 'create'), false)
               else (select pg_has_role(c.relowner, 'usage') from pg_class c
                     where c.oid = to_regclass('decisions')) end as may_migrate`;
    const [[server], schemaApplied, rightsMissing, notGranted] = await Promise.all([
      serverAsked,
      appliedIfReadable(client),
      missingRights(client),
      settingsNotGranted(client),
    ]);
    return {
      serverVersion: Number(server?.["version"]),
      schemaApplied,
      schemaKnown: schemaVersion(),
      role: String(server?.["role"]),
      isReplica: server?.["replica"] === true,
      isReadOnly: server?.["read_only"] === true,
      fsync: server?.["fsync"] === true,
      fullPageWrites: server?.["full_page_writes"] === true,
      synchronousCommit: String(server?.["synchronous_commit"]),
      encoding: String(server?.["encoding"]),
      schema: typeof server?.["schema"] === "string" ? server["schema"] : null,
      notGranted,
      statementTimeoutMs: Number(server?.["statement_timeout_ms"]),
      connectionsMax: Number(server?.["connections"]),
      mayMigrate: server?.["may_migrate"] === true,
      rightsMissing,
    };
  } finally {
    await client.end({ timeout: 5 });
  }
}

async function settingsNotGranted(client: Sql): Promise<readonly string[]> {
  // Another search_path may lead to the same tables: `schema` says whether it does.
  const { search_path: _, ...told } = GRANTED;
  const asked = Object.entries(told).map(([name, value]): [string, string] => [
    name,
    value === true ? "on" : value,
  ]);
  const rows = await client`
    select s.name || ' = ' || s.value as setting
    from unnest(${arrayLiteral(asked.map(([name]) => name))}::text::text[],
                ${arrayLiteral(asked.map(([, value]) => value))}::text::text[]) as s(name, value)
    where current_setting(s.name) <> s.value`;
  return rows.map((row) => String(row["setting"]));
}

/** Which right is missing is told by `missingRights`; without these nothing else could be. */
async function appliedIfReadable(client: Sql): Promise<number> {
  const [row] = await client`
    select coalesce(bool_and(has_schema_privilege(n.oid, 'usage')
                             and has_table_privilege(c.oid, 'select')), true) as readable
    from pg_namespace n
    left join pg_class c on c.relnamespace = n.oid and c.relname = '__drizzle_migrations'
    where n.nspname = 'drizzle'`;
  return row?.["readable"] === true ? appliedVersion(client) : 0;
}

async function missingRights(client: Sql): Promise<readonly string[]> {
  const wanted = Object.entries(RIGHTS).flatMap(([table, rights]) =>
    rights.map((right) => ({ table, right })),
  );
  const rows = await client`
    select u.what || ' on ' || u.name as missing
    from unnest(${arrayLiteral(wanted.map(({ table }) => table))}::text::text[],
                ${arrayLiteral(wanted.map(({ right }) => right))}::text::text[]) as u(name, what)
    where has_table_privilege(to_regclass(u.name), u.what) = false
    union all
    select 'usage on schema drizzle'
    where has_schema_privilege(to_regnamespace('drizzle'), 'usage') = false
    union all
    select 'select on drizzle.' || c.relname
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where n.nspname = 'drizzle' and c.relname = '__drizzle_migrations'
      and not has_table_privilege(c.oid, 'select')`;
  return rows.map((row) => String(row["missing"]));
}
