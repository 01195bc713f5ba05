/** The disk under a database: how often a second it makes a write of one WAL page's size durable. */
import { closeSync, fdatasyncSync, openSync, rmSync, writeSync } from "node:fs";
import { join } from "node:path";
import { setImmediate as turn } from "node:timers/promises";
import { count, newHistogram, quantile } from "./histogram.ts";

/** A page of PostgreSQL's WAL, and a segment of it, which is written over and over. */
const WRITE_BYTES = 8_192;
const FILE_BYTES = 16 * 1024 * 1024;
/** The event loop is let go on so often, for signals to be heard. */
const SLICE_MS = 50;

export type FsyncFigures = {
  readonly perSecond: number;
  readonly p50Ms: number | null;
  readonly p99Ms: number | null;
};

/**
 * Writes 8 KiB and calls fdatasync, one after the other, for so long, in a file made beforehand in this
 * directory; so does PostgreSQL's pg_test_fsync, and so does a commit at the least.
 */
export const measureFsync = async (directory: string, seconds: number): Promise<FsyncFigures> => {
  const path = join(directory, "bench-fsync");
  const file = openSync(path, "w");
  try {
    const page = Buffer.alloc(WRITE_BYTES, "w");
    for (let at = 0; at < FILE_BYTES; at += WRITE_BYTES) writeSync(file, page, 0, WRITE_BYTES, at);
    fdatasyncSync(file);
    const latency = newHistogram();
    let done = 0;
    const from = performance.now();
    const until = from + seconds * 1_000;
    let sliceEnd = from + SLICE_MS;
    let now = from;
    for (; now < until || done === 0; done += 1) {
      writeSync(file, page, 0, WRITE_BYTES, (done * WRITE_BYTES) % FILE_BYTES);
      fdatasyncSync(file);
      const after = performance.now();
      count(latency, (after - now) * 1_000);
      now = after;
      if (now < sliceEnd) continue;
      await turn();
      now = performance.now();
      sliceEnd = now + SLICE_MS;
    }
    const ms = (share: number): number | null => {
      const micros = quantile(latency, share);
      return micros === null ? null : micros / 1_000;
    };
    return { perSecond: (done * 1_000) / (now - from), p50Ms: ms(0.5), p99Ms: ms(0.99) };
  } finally {
    closeSync(file);
    rmSync(path, { force: true });
  }
};
