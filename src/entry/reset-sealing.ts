/** The act of last resort when the secret that seals stored content is lost: a new data key at the next start. */
import { LEASE_MS } from "../core/limits.ts";
import { Fault } from "../lib/assert.ts";
import { appliedVersion } from "../store/applied-version.ts";
import { open, type Address } from "../store/database.ts";
import { hasLiveReplica, readSealedDataKey, replaceSealedDataKey } from "../store/installation.ts";
import { schemaVersion } from "../store/migrate.ts";
import type { Config } from "./config.ts";
import { openEmbedded } from "./pglite.ts";

/**
 * Answers false when there was no data key to forget. Throws a Fault while a process of the gate runs, for
 * it would go on sealing with a key that the next one does not have.
 */
export async function resetSealing(config: Config): Promise<boolean> {
  const embedded = config.databaseUrl === null ? await openEmbedded(config.dataDirectory) : null;
  const address: Address = embedded?.address ?? { kind: "url", url: config.databaseUrl ?? "" };
  const client = open(address, 1);
  try {
    if ((await appliedVersion(client)) !== schemaVersion()) {
      throw new Fault(
        "the database has another schema version than this release: migrate it first",
      );
    }
    // An embedded database was opened for this, so nobody else has it.
    if (embedded === null && (await hasLiveReplica(client, LEASE_MS))) {
      const seconds = LEASE_MS / 1_000;
      throw new Fault(
        `a Tollgate is running on this database, or was killed within the last ${seconds} s: stop it, and try again`,
      );
    }
    const sealed = await readSealedDataKey(client);
    if (sealed === null) return false;
    return await replaceSealedDataKey(client, sealed, null);
  } finally {
    await client.end({ timeout: 5 });
    await embedded?.close();
  }
}
