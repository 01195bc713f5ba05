import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { expect, test } from "vitest";

test("what a test starts ends with it, even where it is killed", async () => {
  const parent = spawn(process.execPath, [join(import.meta.dirname, "kept-parent.ts")], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const [said] = (await once(parent.stdout, "data")) as [Buffer];
  expect(said.toString()).toBe("kept\n");
  parent.kill("SIGKILL");
  // The child has the other end of this pipe: it closes when both are gone.
  const [, signal] = (await once(parent, "close")) as [number | null, string | null];
  expect(signal).toBe("SIGKILL");
});
