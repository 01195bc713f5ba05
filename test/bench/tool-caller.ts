/**
 * Calls a tool again and again, one call after the other, and says how long each took: by the official client,
 * as an agent would, or by plain posts on one connection that is kept, so that the client's own work is left out.
 *
 * Started by fork; takes one `ToolJob` after the other. No two calls have the same arguments: a repeat would be
 * taken for a retry.
 */
import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { Pool } from "undici";
import { cpuTicks } from "./cpu.ts";
import { count, newHistogram, quantile, type Histogram } from "./histogram.ts";
import {
  answerOf,
  callBody,
  callHeaders,
  TOOL,
  type ToolJob,
  type ToolResult,
} from "./tool-call.ts";

/** A call that takes longer is a failure; the gate's own waits are shorter. */
const CALL_MS_MAX = 30_000;
const FAILURE_CHARS_MAX = 300;
/** After so many the figures say nothing any more. */
const FAILURES_MAX = 20;

type Caller = {
  /** Null when the answer is the expected one, otherwise what is wrong. */
  readonly call: (n: number) => Promise<string | null>;
  readonly close: () => Promise<void>;
};

const faultOf = (n: number, text: string): string | null =>
  text.includes(answerOf(n)) ? null : text.slice(0, FAILURE_CHARS_MAX);

const byLibrary = async ({ url, headers }: ToolJob): Promise<Caller> => {
  const client = new Client(
    { name: "bench", version: "1.0.0" },
    { versionNegotiation: { mode: "auto" } },
  );
  await client.connect(
    new StreamableHTTPClientTransport(new URL(url), { requestInit: { headers } }),
  );
  return {
    call: async (n) => {
      const params = { name: TOOL, arguments: { n } };
      const result = await client.callTool(params, { timeout: CALL_MS_MAX });
      return result.isError === true
        ? JSON.stringify(result).slice(0, FAILURE_CHARS_MAX)
        : faultOf(n, JSON.stringify(result.content));
    },
    close: () => client.close(),
  };
};

const byPosts = ({ url, headers }: ToolJob): Caller => {
  const { origin, pathname } = new URL(url);
  const pool = new Pool(origin, {
    connections: 1,
    headersTimeout: CALL_MS_MAX,
    bodyTimeout: CALL_MS_MAX,
  });
  return {
    call: async (n) => {
      const answer = await pool.request({
        path: pathname,
        method: "POST",
        headers: { ...callHeaders, ...headers },
        body: callBody(n),
      });
      const text = await answer.body.text();
      return answer.statusCode === 200
        ? faultOf(n, text)
        : `${answer.statusCode} ${text.slice(0, FAILURE_CHARS_MAX)}`;
    },
    close: () => pool.close(),
  };
};

const messageOf = (error: unknown): string => String(error).slice(0, FAILURE_CHARS_MAX);

type Told = { n: number; completed: number; failed: number; firstFailure: string | null };

/** Calls until the time is over; what took how long is counted where there is something to count it in. */
const callUntil = async (
  endMs: number,
  caller: Caller,
  told: Told,
  latency: Histogram | null,
): Promise<void> => {
  for (let now = performance.now(); now < endMs && told.failed < FAILURES_MAX; told.n += 1) {
    const fault = await caller.call(told.n).catch(messageOf);
    const after = performance.now();
    if (fault !== null) {
      told.failed += 1;
      told.firstFailure ??= fault;
    } else if (latency !== null) {
      told.completed += 1;
      count(latency, (after - now) * 1_000);
    }
    now = after;
  }
};

const run = async (job: ToolJob): Promise<ToolResult> => {
  const caller = job.by === "library" ? await byLibrary(job) : byPosts(job);
  const latency = newHistogram();
  const told: Told = { n: job.from, completed: 0, failed: 0, firstFailure: null };
  await callUntil(performance.now() + job.warmupMs, caller, told, null);
  const before = cpuTicks(job.pids);
  await callUntil(performance.now() + job.measureMs, caller, told, latency);
  const after = cpuTicks(job.pids);
  await caller.close();
  const { n: next, ...counted } = told;
  return {
    ...counted,
    next,
    latencyMicros: { p50: quantile(latency, 0.5), p99: quantile(latency, 0.99) },
    ticks:
      before === null || after === null ? null : after.map((each, at) => each - (before[at] ?? 0)),
  };
};

process.on("disconnect", () => process.exit(0));
process.on("message", (job: ToolJob) => {
  run(job).then(
    (result) => process.send?.(result),
    (error: unknown) => {
      process.stderr.write(`${String(error)}\n`);
      process.exit(1);
    },
  );
});
