import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { measureFsync } from "./fsync.ts";

test("the disk is measured at least once, and its file is gone afterwards", async () => {
  const directory = await mkdtemp(join(tmpdir(), "tollgate-fsync-"));
  try {
    for (const seconds of [0, 0.1]) {
      const { perSecond, p50Ms, p99Ms } = await measureFsync(directory, seconds);
      expect(perSecond).toBeGreaterThan(0);
      expect(p99Ms).toBeGreaterThanOrEqual(p50Ms ?? Number.NaN);
      expect(await readdir(directory)).toEqual([]);
    }
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
});
