/** The port `log` on Workers: one line of JSON each, which `wrangler tail` and Workers Logs read. */
import type { Log } from "../../gate/ports.ts";
import { LOG_LEVELS, type LogLevel } from "../config.ts";

/** Causes of causes that are told. */
const CAUSES_MAX = 4;

export function createConsoleLog(least: LogLevel): Log {
  const at = (level: LogLevel, write: (line: string) => void) => {
    if (LOG_LEVELS.indexOf(level) < LOG_LEVELS.indexOf(least)) return () => {};
    return (fields: object, message: string) => {
      const told = Object.entries(fields).map(([name, value]) => [name, shown(value, 0)]);
      write(JSON.stringify({ level, message, ...Object.fromEntries(told) }));
    };
  };
  return {
    debug: at("debug", console.debug),
    info: at("info", console.info),
    warn: at("warn", console.warn),
    error: at("error", console.error),
  };
}

/** An error's own members only: a driver's may hold the statement and its values, or a password. */
function shown(value: unknown, depth: number): unknown {
  if (!(value instanceof Error)) return typeof value === "bigint" ? String(value) : value;
  const { name, message, stack, cause } = value;
  const code = "code" in value ? value.code : undefined;
  return {
    name,
    message,
    code,
    stack,
    cause: depth < CAUSES_MAX ? shown(cause, depth + 1) : undefined,
  };
}
