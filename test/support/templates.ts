import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import postgres from "postgres";
import type { PostgresAddress } from "./postgres.ts";

export const TEMPLATE_DATABASE = "tollgate_template";

const MIGRATE = fileURLToPath(new URL("../../src/store/migrate.ts", import.meta.url));

export async function buildTemplates(address: PostgresAddress): Promise<string> {
  const sql = postgres({ ...address, database: "postgres", max: 1 });
  try {
    await sql.unsafe(`create database ${TEMPLATE_DATABASE}`);
  } finally {
    await sql.end();
  }
  if (!existsSync(MIGRATE)) return "";
  return "";
}
