import { execFile } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

const ROOT = join(import.meta.dirname, "..", "..");

/** What the processes of the tests load: the gateway as a process, and the command line. */
const PROGRAMS = ["src/entry/serve.ts", "src/entry/node.ts", "src/entry/cli/program.ts"];

/** Names the directory to the test files; Node itself is told only where it pays, by its own name. */
const VARIABLE = "COMPILED_FOR_TESTS";

/**
 * Each gateway that a test starts is a process of its own, and half of what it costs to start one (1.8 s of
 * CPU) is to compile the same modules again. Node keeps what it compiled in this directory, by name and
 * content of the source; it is filled once here, because a process that is killed leaves nothing.
 */
export async function keepCompiled(): Promise<() => Promise<void>> {
  const directory = await mkdtemp(join(tmpdir(), "tollgate-compiled-"));
  const imports = PROGRAMS.map(
    (program) => `await import(${JSON.stringify(join(ROOT, program))});`,
  );
  await promisify(execFile)(
    process.execPath,
    ["--input-type=module", "--eval", imports.join("\n")],
    { env: { NODE_COMPILE_CACHE: directory } },
  );
  process.env[VARIABLE] = directory;
  return () => rm(directory, { recursive: true, force: true, maxRetries: 5 });
}

/** The environment of a process that a test starts: nothing of this one's but what Node itself needs. */
export function bareEnvironment(): Record<string, string> {
  const { PATH = "", [VARIABLE]: compiled } = process.env;
  return compiled === undefined ? { PATH } : { PATH, NODE_COMPILE_CACHE: compiled };
}
