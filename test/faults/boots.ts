import { randomBytes } from "node:crypto";
import type { Cluster } from "../support/postgres.ts";
import { runReplica } from "./fleet.ts";
import type { Boot } from "./history.ts";
import { connectTo } from "./nemesis.ts";

/** Settings under which a commit that was acknowledged may be gone after a crash. */
const UNSAFE: readonly { readonly setting: string; readonly scope: "system" | "database" }[] = [
  { setting: "fsync = off", scope: "system" },
  { setting: "full_page_writes = off", scope: "system" },
  { setting: "synchronous_commit = off", scope: "database" },
  { setting: "default_transaction_read_only = on", scope: "database" },
];

/** Tries to start the gate of that tree on each unsafe setting in turn, and puts the setting back. */
export async function tryUnsafeBoots(cluster: Cluster, root: string): Promise<readonly Boot[]> {
  const boots: Boot[] = [];
  const keeper = connectTo(cluster, "postgres");
  try {
    for (const { setting, scope } of UNSAFE) {
      const name = `boots_${randomBytes(6).toString("hex")}`;
      await keeper.unsafe(`create database ${name}`);
      const where = scope === "system" ? "system" : `database ${name}`;
      await keeper.unsafe(`alter ${where} set ${setting}`);
      await keeper`select pg_reload_conf()`;
      try {
        boots.push({ setting, ...(await tryBoot(cluster, root, name)) });
      } finally {
        const [parameter] = setting.split(" ");
        await keeper.unsafe(`alter ${where} reset ${parameter}`);
        await keeper`select pg_reload_conf()`;
      }
    }
  } finally {
    await keeper.end();
  }
  return boots;
}

async function tryBoot({ address }: Cluster, root: string, database: string) {
  const { host, port, user } = address;
  const options = {
    root,
    adminKey: randomBytes(24).toString("hex"),
    databaseUrl: `postgres://${user}@${host}:${port}/${database}`,
    yaml: "",
  };
  try {
    const replica = await runReplica(options);
    replica.signal("SIGKILL");
    await replica.exited;
    return { started: true, says: "" };
  } catch (error) {
    return { started: false, says: String(error) };
  }
}
