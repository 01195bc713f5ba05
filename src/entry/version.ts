import { readFileSync } from "node:fs";

import { isRecord } from "../lib/json.ts";

/** Of this release, as its package says. */
export function version(): string {
  const url = new URL("../../package.json", import.meta.url);
  const described: unknown = JSON.parse(readFileSync(url, "utf8"));
  return isRecord(described) ? String(described["version"]) : "unknown";
}
