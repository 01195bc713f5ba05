/** What the bench must know of a PostgreSQL that it started. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import postgres from "postgres";

export type AboutPostgres = {
  readonly pid: number;
  readonly version: string;
  readonly durability: string;
  /** Its data directory: for those who measure its disk, not for a report. */
  readonly directory: string;
};

/** The postmaster's process id (each backend is a child of it), and what a report must say of it. */
export const aboutPostgres = async (url: string): Promise<AboutPostgres> => {
  const sql = postgres(url, { max: 1 });
  try {
    const setting = async (name: string): Promise<string> => {
      const rows = await sql`select current_setting(${name}) as value`;
      return String(rows[0]?.["value"]);
    };
    const directory = await setting("data_directory");
    const [line = ""] = (await readFile(join(directory, "postmaster.pid"), "utf8")).split("\n");
    const durability = `fsync ${await setting("fsync")}, synchronous_commit ${await setting("synchronous_commit")}`;
    const version = await setting("server_version");
    return { pid: Number(line), version, durability, directory };
  } finally {
    await sql.end();
  }
};
