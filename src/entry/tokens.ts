import type { CountTokens } from "../gate/ports.ts";
import { besideThis } from "./beside.ts";
import type { CountTask } from "./tokens-encoders.ts";
import { createWorkerPool } from "./worker-pool.ts";

export type TokenCounter = {
  readonly count: CountTokens;
  /** Ends the workers; counts still running answer null, and so does every later one. */
  readonly close: () => Promise<void>;
};

export type TokenCounterOptions = {
  /** After this a count is given up and its worker ended. */
  readonly deadlineMs?: number;
};

/** 1 MB takes 130 ms; four of them are what a count may be worth. Larger texts are not counted. */
const COUNTED_BYTES_MAX = 4 * 1024 * 1024;

/**
 * Ten times the longest count by measurement, and the start of its thread on a machine at a load of ten, which
 * took more than five seconds: so that only a runaway meets it. Whoever gives a count up ends its thread,
 * and the next one starts from nothing. Less than a process that ends waits for what is under way.
 */
const DEADLINE_MS = 20_000;

/** One counts while another starts; more would take the cores from the gate. */
const WORKERS_MAX = 2;

/** Counts waiting for a worker; beyond it none is the better answer. */
const COUNTS_WAITING_MAX = 256;

/** An idle worker holds about 60 MB of tables. */
const IDLE_MS = 60_000;

/**
 * The port `countTokens` on Node: exact counts by tiktoken, in a thread, never for longer than the
 * deadline. A count that cannot be had is not an error: it is answered by null.
 */
export function createTokenCounter(options: TokenCounterOptions = {}): TokenCounter {
  const { deadlineMs = DEADLINE_MS } = options;
  let isClosed = false;
  const pool = createWorkerPool({
    file: besideThis("tokens-worker"),
    workersMax: WORKERS_MAX,
    waitingMax: COUNTS_WAITING_MAX,
    deadlineMs,
    idleMs: IDLE_MS,
  });

  const countElsewhere = async (task: CountTask): Promise<number | null> => {
    try {
      // A count is short and its text at most 4 MB, so counts are taken as they come, whosever they are.
      const tokens = await pool.run({ owner: "", task, transfer: [] });
      return typeof tokens === "number" ? tokens : null;
    } catch {
      // Closed, past the deadline, too many waiting, or trapped in the WASM.
      return null;
    }
  };

  return {
    count: async (texts, encoding) => {
      const bytes = byteLengthOf(texts);
      if (bytes === 0) return 0;
      if (isClosed || bytes > COUNTED_BYTES_MAX) return null;
      return countElsewhere({ texts, encoding });
    },
    close: async () => {
      isClosed = true;
      await pool.close();
    },
  };
}

function byteLengthOf(texts: readonly string[]): number {
  let bytes = 0;
  for (const text of texts) bytes += Buffer.byteLength(text, "utf8");
  return bytes;
}
