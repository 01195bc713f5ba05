/** The configuration of a Worker: its bindings, read as Node reads its environment and its file. */
import { readConfig, ConfigError, type Config, type ConfigProblem, type Env } from "../config.ts";
import { didYouMean } from "../../lib/nearest.ts";
import type { Bindings } from "./platform.ts";

export type Settings = {
  readonly config: Config;
  readonly adminKey: string;
};

/** Variables and secrets of ours. The text of `tollgate.yaml` is one of them, for there are no files. */
const YAML = "TOLLGATE_YAML";
const ADMIN_KEY = "TOLLGATE_ADMIN_KEY";
const VARIABLES = [ADMIN_KEY, "TOLLGATE_SEALING_KEY", YAML] as const;

/**
 * `yaml`: the text of `tollgate.yaml` where it is part of the program; the variable goes before it.
 * Throws ConfigError with every mistake. It repeats no secret.
 */
export function readSettings(bindings: Bindings, yaml: string | null): Settings {
  const problems: ConfigProblem[] = [];
  const env: Record<string, string> = {};
  for (const [name, value] of Object.entries(bindings)) {
    if (typeof value !== "string" || name === YAML) continue;
    if (name.startsWith("TOLLGATE_") && !VARIABLES.some((known) => known === name)) {
      const guess = didYouMean(name, VARIABLES);
      const message = `no such variable on Workers.${guess} Known: ${VARIABLES.join(", ")}`;
      problems.push({ where: name, message });
    } else env[name] = value;
  }
  const given = bindings[YAML];
  const text = typeof given === "string" ? given : yaml;
  if (databaseUrlOf(bindings) === null) {
    const message = "required: the binding of a Hyperdrive, which holds the database's URL";
    problems.push({ where: "HYPERDRIVE", message });
  }
  if (env[ADMIN_KEY] === undefined) {
    const message = `required: openssl rand -base64 36 | npx wrangler secret put ${ADMIN_KEY}`;
    problems.push({ where: ADMIN_KEY, message });
  }
  const config = readOrReport(env, text, problems);
  if (config === null || config.adminKey === null || problems.length > 0) {
    throw new ConfigError(problems);
  }
  return { config, adminKey: config.adminKey };
}

function readOrReport(env: Env, yaml: string | null, problems: ConfigProblem[]): Config | null {
  // A file that is stated must be there, so it is stated only when there is one.
  const stated = yaml === null ? env : { ...env, TOLLGATE_CONFIG: YAML };
  try {
    return readConfig(stated, { read: () => yaml });
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    problems.push(...error.problems);
    return null;
  }
}

/**
 * Hyperdrive's, or where there is none the one of a variable: without a pooler, for a trial. Hyperdrive
 * makes its own for an invocation, so it is asked by each and never kept.
 */
export function databaseUrlOf({
  HYPERDRIVE: hyperdrive,
  DATABASE_URL: url,
}: Bindings): string | null {
  if (typeof hyperdrive === "object" && hyperdrive !== null && "connectionString" in hyperdrive) {
    const { connectionString } = hyperdrive;
    if (typeof connectionString === "string") return connectionString;
  }
  return typeof url === "string" && url !== "" ? url : null;
}
