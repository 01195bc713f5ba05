/**
 * `npm start`: as many processes as the machine has cores for, or this one alone. What only a process that
 * serves needs is loaded only there: a supervisor is small, and has started the first one the sooner.
 */
import { availableParallelism } from "node:os";

import { Fault } from "../lib/assert.ts";
import { printBanner } from "./banner.ts";
import { DRAIN_MS_MAX, ENDING_SIGNALS } from "./closing.ts";
import { readConfig, type Config } from "./config.ts";
import { diskFiles } from "./config-files.ts";
import { survivesLostLookups } from "./lost-lookups.ts";
import { startFailure } from "./start-failure.ts";
import { toldOf } from "./told.ts";

/**
 * Starts everything and says so on standard output. The process ends by SIGINT, SIGTERM or SIGHUP. Throws a
 * Fault where an operator can mend what keeps it from starting.
 */
export async function serve(config: Config): Promise<void> {
  try {
    await serveOn(config);
  } catch (error) {
    throw startFailure(error, config);
  }
}

async function serveOn(config: Config): Promise<void> {
  const { count, why } = await processesFor(config);
  if (count > 1) {
    const { supervise } = await import("./supervisor.ts");
    await supervise(config, count, why);
    return;
  }
  survivesLostLookups();
  const { start } = await import("./node.ts");
  const { url, firstKeys, hasLimits, close } = await start(config);
  const { tenantKey } = firstKeys;
  printBanner(config, { url, tenantKey, hasLimits, processes: `one process${why}` });
  let isEnding = false;
  const end = (signal: string) => {
    if (isEnding) return;
    isEnding = true;
    process.stderr.write(
      `${signal}: finishing what is under way, at most ${DRAIN_MS_MAX / 1_000} s\n`,
    );
    void close().then(
      () => process.exit(0),
      (error: unknown) => {
        process.stderr.write(`could not end cleanly: ${String(error)}\n`);
        process.exit(1);
      },
    );
  };
  for (const signal of ENDING_SIGNALS) process.once(signal, () => end(signal));
  process.on("SIGUSR2", () => {
    process.stderr.write(
      "SIGUSR2: one process cannot take over from itself; a rolling restart needs TOLLGATE_PROCESSES of at least 2\n",
    );
  });
}

type Processes = {
  readonly count: number;
  /** For the banner: why not as many as there are cores, or nothing. */
  readonly why: string;
};

/**
 * As configured, else one for each core; never more than PostgreSQL has connections for when a rolling
 * restart is at its widest. Throws a Fault when what was configured needs more.
 */
async function processesFor({ processes, databaseUrl }: Config): Promise<Processes> {
  if (databaseUrl === null || processes === 1) return { count: 1, why: "" };
  const wanted = processes ?? availableParallelism();
  if (wanted === 1) return { count: 1, why: "" };
  const { lookAtDatabase } = await import("./database-checks.ts");
  const { CONNECTIONS_PER_PROCESS } = await import("../store/database.ts");
  const { connectionsMax } = await lookAtDatabase(databaseUrl);
  // Those that serve, those that finish their answers and one that starts: 2 × count + 1.
  const room = Math.floor((Math.floor(connectionsMax / CONNECTIONS_PER_PROCESS) - 1) / 2);
  if (wanted <= room) return { count: wanted, why: "" };
  const allows = `PostgreSQL allows ${connectionsMax} connections`;
  if (processes !== null) {
    throw new Fault(
      `TOLLGATE_PROCESSES is ${processes}, which may need ${(2 * processes + 1) * CONNECTIONS_PER_PROCESS} ` +
        `connections in a rolling restart, and ${allows}: raise max_connections (or a connection limit of the role or database), or lower TOLLGATE_PROCESSES`,
    );
  }
  return {
    count: Math.max(1, room),
    why: ` (of ${wanted} cores: ${allows}, see max_connections)`,
  };
}

/** Serves as the environment and the file say; ends the process with a sentence when it cannot. */
export async function serveAsConfigured(): Promise<void> {
  try {
    await serve(readConfig(process.env, diskFiles));
  } catch (error) {
    process.stderr.write(`${toldOf(error)}\n`);
    process.exit(1);
  }
}

const SHELL_LOOK_MS = 500;

/**
 * npm runs `start`, and npx `tollgate serve`, in a shell and passes a signal on to that, and a shell that waits keeps it
 * and ends without a word to this process, which then would hold its port and its database for nobody.
 */
export function endWithShellOfNpm(): void {
  if (process.env["npm_lifecycle_event"] === undefined) return;
  const shell = process.ppid;
  const look = setInterval(() => {
    if (process.ppid === shell) return;
    clearInterval(look);
    process.kill(process.pid, "SIGTERM");
  }, SHELL_LOOK_MS).unref();
}

export async function main(): Promise<void> {
  endWithShellOfNpm();
  await serveAsConfigured();
}

// Not awaited: what is loaded next may wait for this file to have been loaded.
if (import.meta.main) void main();
