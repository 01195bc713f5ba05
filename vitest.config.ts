import { defineConfig } from "vitest/config";
import { LongestFirst } from "./test/support/longest-first.ts";

export default defineConfig({
  test: {
    environment: "node",
    include: ["test/**/*.test.ts"],
    // One PostgreSQL for the whole run: see test/support/postgres.ts.
    globalSetup: ["test/support/postgres.ts"],
    // Each file gets its own process: databases, sockets and listeners of one file cannot leak into another.
    pool: "forks",
    sequence: { sequencer: LongestFirst },
    // On two cores: a third of the longest files' time is waiting, for a lease, a fault or a process to start.
    maxWorkers: 3,
    // Generous, because a machine that builds may be slow; no test asserts a duration.
    testTimeout: 60_000,
    hookTimeout: 60_000,
    teardownTimeout: 30_000,
    reporters: ["default"],
    // A test that is skipped, retried or left focused proves nothing.
    allowOnly: false,
    retry: 0,
    passWithNoTests: false,
  },
});
