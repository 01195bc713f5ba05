/**
 * How long Tollgate takes to be ready on a database that exists and is migrated: from the start of its
 * program to the first 200 of `/readyz`, one process, by a clock outside of it.
 */
import { get } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { readyAt, type Child } from "./child.ts";
import type { Plan } from "./plan.ts";
import type { Surroundings } from "./stage.ts";
import { median } from "./summary.ts";
import { installTollgate, startUpstream } from "./targets.ts";

/** A start is short beside the other measurements, and one is as long as the disk's mood. */
const STARTS_PER_ROUND = 5;
const READY_MS_MAX = 60_000;
const POLL_MS = 2;
const ANSWER_MS_MAX = 1_000;

export type Start = { readonly readyMs: readonly number[]; readonly medianMs: number | null };

export const measureStart = async (
  plan: Plan,
  { defer, progress }: Surroundings,
): Promise<Start> => {
  const upstream = await startUpstream(defer);
  const { origin, launch } = await installTollgate(upstream.port, defer);
  // The first start migrates, and the files are in the system's memory afterwards.
  const first = launch(1);
  await readyAt(first, `${origin}/readyz`);
  await first.stop();
  const readyMs: number[] = [];
  for (let at = 0; at < plan.rounds * STARTS_PER_ROUND; at += 1) {
    const from = performance.now();
    const child = launch(1);
    await untilReady(child, origin, from);
    readyMs.push(performance.now() - from);
    await child.stop();
  }
  progress(`ready after ${readyMs.map((ms) => ms.toFixed(0)).join(", ")} ms`);
  return { readyMs, medianMs: median(readyMs) };
};

const untilReady = async (child: Child, origin: string, from: number): Promise<void> => {
  while (performance.now() - from < READY_MS_MAX) {
    if (child.process.exitCode !== null || child.process.signalCode !== null) {
      throw new Error(`Tollgate ended before it was ready: ${child.output()}`);
    }
    if ((await statusOf(`${origin}/readyz`)) === 200) return;
    await sleep(POLL_MS);
  }
  throw new Error(`Tollgate was not ready within ${READY_MS_MAX} ms: ${child.output()}`);
};

/** Null while nobody answers, which is what waiting for a server looks like. */
const statusOf = (url: string): Promise<number | null> =>
  new Promise((resolve) => {
    const asking = get(url, { agent: false, timeout: ANSWER_MS_MAX }, (answer) => {
      answer.resume();
      answer.on("end", () => resolve(answer.statusCode ?? null));
      answer.on("error", () => resolve(null));
    });
    asking.on("timeout", () => asking.destroy());
    asking.on("error", () => resolve(null));
  });
