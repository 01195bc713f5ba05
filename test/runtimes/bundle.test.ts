import { gzipSync } from "node:zlib";
import { beforeAll, expect, test } from "vitest";
import { bundleWorker, type Bundle } from "./workers.ts";

/**
 * 420 KiB compressed in November 2026, 45 of them for outcomes and reports, more than half of it code of others (79 of them to evaluate policies) and a twelfth the list prices. Cloudflare
 * takes 3 MB on its free plan; what doubles the bundle should be noticed long before that, for it is
 * loaded and compiled where the first call waits.
 */
const COMPRESSED_BYTES_MAX = 480 * 1024;

let bundle: Bundle;
beforeAll(async () => {
  bundle = await bundleWorker();
});

test(`the Worker that wrangler would deploy has at most ${COMPRESSED_BYTES_MAX} bytes compressed`, () => {
  expect(gzipSync(bundle.script, { level: 9 }).byteLength).toBeLessThanOrEqual(
    COMPRESSED_BYTES_MAX,
  );
});

test("wrangler finds nothing to warn of", () => {
  expect(bundle.output).toContain("--dry-run: exiting now.");
  expect(bundle.output).not.toMatch(/warning|error/iu);
});

test.each(["drizzle-orm", "@electric-sql/pglite", "undici", "pino", "commander"])(
  "%s, which Node alone needs, is not in it",
  (name) => {
    expect(bundle.script).not.toContain(`node_modules/${name}`);
  },
);
