import { afterEach, describe, expect, test } from "vitest";
import { createWorkerPool, type WorkerPool } from "../../src/entry/worker-pool.ts";
import type { UnrulyTask } from "../support/unruly-worker.ts";

const open: WorkerPool[] = [];
afterEach(async () => {
  for (const pool of open.splice(0)) await pool.close();
});

const SHORT_MS = 1_000;

function poolOf(deadlineMs: number, waitingMax = 4): WorkerPool {
  const file = new URL("../support/unruly-worker.ts", import.meta.url);
  const pool = createWorkerPool({ file, workersMax: 1, waitingMax, deadlineMs, idleMs: 60_000 });
  open.push(pool);
  return pool;
}

function ask(pool: WorkerPool, act: UnrulyTask["act"], name = act as string, owner = "one") {
  const task: UnrulyTask = { act, name };
  return pool.run({ owner, task, transfer: [] });
}

const later = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

describe("the worker pool", () => {
  test("more jobs than may wait are rejected at once, and their deadline passes without effect", async () => {
    const pool = poolOf(SHORT_MS);
    const spinning = ask(pool, "spin");
    const jobs = [spinning, ...Array.from({ length: 20 }, () => ask(pool, "tell"))];
    const settled = await Promise.allSettled(jobs);
    const reasons = settled.map((each) => (each.status === "rejected" ? String(each.reason) : ""));
    expect(reasons.filter((each) => each.includes("too many jobs wait"))).toHaveLength(16);
    expect(reasons[0]).toContain(`no answer within ${SHORT_MS} ms`);
    await later(2 * SHORT_MS);
    const calm = poolOf(60_000);
    expect(await ask(calm, "tell", "calm")).toMatchObject({ name: "calm" });
  });

  test("a job that waits past its deadline is given up, and the pool goes on", async () => {
    const pool = poolOf(SHORT_MS, 1);
    const jobs = [ask(pool, "spin"), ask(pool, "tell")];
    expect((await Promise.allSettled(jobs)).map(({ status }) => status)).toEqual([
      "rejected",
      "rejected",
    ]);
    expect(await untilAnswered(pool)).toMatchObject({ name: "after" });
  });

  test.each(["spin", "throw", "exit", "unclonable"] as const)(
    "a worker told to %s rejects its own job only, and another takes its place",
    async (act) => {
      const pool = poolOf(act === "spin" ? 2_000 : 60_000);
      const first = await untilAnswered(pool);
      const broken = ask(pool, act);
      await expect(broken).rejects.toThrow();
      const after = await untilAnswered(pool);
      expect(after).toMatchObject({ name: "after" });
      expect(threadOf(after)).not.toBe(threadOf(first));
    },
  );

  test("a task that cannot be cloned is rejected and the worker stays", async () => {
    const pool = poolOf(60_000);
    const first = await ask(pool, "tell");
    const uncloned = pool.run({ owner: "one", task: () => null, transfer: [] });
    await expect(uncloned).rejects.toThrow("cannot be handed");
    expect(threadOf(await ask(pool, "tell"))).toBe(threadOf(first));
  });

  test("an owner without running jobs goes before one that has many", async () => {
    const file = new URL("../support/unruly-worker.ts", import.meta.url);
    const pool = createWorkerPool({
      file,
      workersMax: 2,
      waitingMax: 20,
      deadlineMs: 60_000,
      idleMs: 60_000,
    });
    open.push(pool);
    // The first spins for ever, so all that follows runs on one thread, in the order of the pool.
    const order: string[] = [];
    const stuck = ask(pool, "spin", "stuck", "greedy").catch(() => order.push("stuck"));
    const told = (name: string, owner: string) =>
      ask(pool, "tell", name, owner).then(() => order.push(name));
    const greedy = ["g1", "g2", "g3", "g4"].map((name) => told(name, "greedy"));
    await Promise.all([...greedy, told("modest", "modest")]);
    expect(order).toEqual(["g1", "modest", "g2", "g3", "g4"]);
    await pool.close();
    await stuck;
  });

  test("closing rejects what runs, what waits and what comes later", async () => {
    const pool = poolOf(60_000);
    const jobs = [ask(pool, "spin"), ask(pool, "tell")];
    const settled = Promise.allSettled(jobs);
    await pool.close();
    for (const { status } of await settled) expect(status).toBe("rejected");
    await expect(ask(pool, "tell")).rejects.toThrow("closed");
  });
});

/** A new thread may need longer to start than a short deadline allows. */
async function untilAnswered(pool: WorkerPool): Promise<unknown> {
  for (let tries = 0; tries < 20; tries += 1) {
    try {
      return await ask(pool, "tell", "after");
    } catch {
      // The deadline came before the thread had started.
    }
  }
  throw new Error("the pool never answers again");
}

function threadOf(answer: unknown): number {
  return (answer as { threadId: number }).threadId;
}
