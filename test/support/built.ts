import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";

import { ROOT, soundBundleIn } from "../../src/entry/bundle.js";

/**
 * Each gateway and each command that a test starts is a process of its own, and from the bundle it takes a third of the
 * CPU that it takes from the sources. `npm ci` has made the bundle; after a change of a source it is made here.
 */
export async function buildProgram(): Promise<void> {
  if (soundBundleIn(ROOT) !== null) return;
  await promisify(execFile)(process.execPath, [join(ROOT, "build.ts")]);
}

/** The environment of a process that a test starts: nothing of this one's but what Node itself needs. */
export function bareEnvironment(): Record<string, string> {
  const { PATH = "" } = process.env;
  return { PATH };
}
