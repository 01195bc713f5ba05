/** What an operator wants to know of a database before Tollgate starts on it. Reads only. */
import { appliedVersion } from "./applied-version.ts";
import { open } from "./database.ts";
import { schemaVersion } from "./migrate.ts";

export type DatabaseFacts = {
  /** PostgreSQL's `server_version_num`: 150004 is 15.4. */
  readonly serverVersion: number;
  /** Migrations applied; 0 is a database that Tollgate has never started on. */
  readonly schemaApplied: number;
  /** Migrations that this program knows. */
  readonly schemaKnown: number;
  readonly isReadOnly: boolean;
};

/** Throws what the driver throws when the database cannot be reached. Names no tenant: it reads no rows. */
export async function inspectDatabase(url: string): Promise<DatabaseFacts> {
  const client = open({ kind: "url", url }, 1);
  try {
    const [server] = await client`
      select current_setting('server_version_num')::int as version,
             current_setting('transaction_read_only') = 'on' as read_only`;
    return {
      serverVersion: Number(server?.["version"]),
      schemaApplied: await appliedVersion(client),
      schemaKnown: schemaVersion(),
      isReadOnly: server?.["read_only"] === true,
    };
  } finally {
    await client.end({ timeout: 5 });
  }
}
