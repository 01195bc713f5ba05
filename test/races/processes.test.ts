import { execFile } from "node:child_process";
import { createServer } from "node:net";
import { promisify } from "node:util";
import { Agent, request } from "undici";
import { afterEach, beforeEach, expect, test } from "vitest";
import { describeOnPostgres } from "../support/databases.ts";
import { chatAnswer, chatFrames } from "../support/openai-answers.ts";
import { startScriptedUpstream, type ScriptedUpstream } from "../support/scripted-upstream.ts";
import {
  MODEL,
  startTollgateProcess,
  type Tenant,
  type TollgateProcess,
} from "../support/tollgate.ts";
import { call, OPEN_RESERVATIONS, untilCount } from "./calls.ts";

const USAGE = { input: 10, output: 5 };
const LEASES = "select count(*)::int as count from replicas";

describeOnPostgres("several processes on one port", (database) => {
  let upstream: ScriptedUpstream;
  const started: TollgateProcess[] = [];
  beforeEach(async () => {
    upstream = await startScriptedUpstream();
    upstream.otherwise({ kind: "json", body: chatAnswer(MODEL, "c", USAGE), bill: USAGE });
  });
  afterEach(async () => {
    for (const each of started.splice(0)) await each.close();
    await upstream.close();
    await database.db.admin`delete from replicas`;
  });

  const begin = async (env: Readonly<Record<string, string>> = {}): Promise<TollgateProcess> => {
    const { address } = database;
    if (address.kind !== "url") throw new Error("a URL is needed");
    const options = { databaseUrl: address.url, upstream: upstream.url };
    const process = await startTollgateProcess({
      ...options,
      env: { TOLLGATE_PROCESSES: "2", ...env },
    });
    started.push(process);
    return process;
  };

  test("are replaced under load without a failed call, a cut stream or a lost settlement", async () => {
    const process = await begin();
    const tenant = await process.tenant();
    const before = await childrenOf(process);
    expect(before).toHaveLength(2);
    const release = Promise.withResolvers<void>();
    const frames = chatFrames(MODEL, ["a", "b"], USAGE);
    const held = frames.map((bytes, i) => (i === 2 ? { bytes, gate: release.promise } : bytes));
    upstream.onHeader("held", { kind: "sse", frames: held, bill: USAGE });
    const streams = Array.from({ length: 6 }, () => heldStream(process, tenant));
    await upstream.arrived(6);
    const load = loadOn(process, tenant);
    await load.atLeast(50);
    process.signal("SIGUSR2");
    await untilSaid(process, "all processes are replaced", 1);
    // The first ones hold their streams, and there is no end of processes that do.
    const after = await childrenOf(process);
    expect(after.filter((pid) => before.includes(pid))).toEqual(before);
    expect(after).toHaveLength(4);
    process.signal("SIGUSR2");
    await untilSaid(process, "still finish their answers; try again later", 1);
    await load.atLeast(50);
    release.resolve();
    expect(await Promise.all(streams)).toEqual(Array.from({ length: 6 }, () => "ab"));
    const called = await load.stop();
    expect(called.filter((each) => each !== "c")).toEqual([]);
    // The old ones end by themselves, with their leases, and two are left.
    await untilCount(database.db, LEASES, 2);
    await untilChildren(process, (pids) => pids.every((pid) => !before.includes(pid)));
    await untilCount(database.db, OPEN_RESERVATIONS, 0);
    const settled = await database.db.admin`
      select ending, basis, count(*)::int as count from settlements
      where tenant_id = ${tenant.id} group by ending, basis`;
    expect(settled).toEqual([{ ending: "succeeded", basis: "computed", count: called.length + 6 }]);
    expect(await admittedOf(process)).toBe(called.length + 6);
  });

  test("count together, whichever of them is asked, and those that have ended still count", async () => {
    const process = await begin();
    const tenant = await process.tenant();
    const load = loadOn(process, tenant);
    await load.atLeast(20);
    const count = (await load.stop()).length;
    const seen = new Set<number>();
    for (let i = 0; i < 10; i += 1) seen.add(await admittedOf(process));
    expect([...seen]).toEqual([count]);
    process.signal("SIGUSR2");
    await untilSaid(process, "all processes are replaced", 1);
    await untilCount(database.db, LEASES, 2);
    expect(await admittedOf(process)).toBe(count);
  });

  test("one that is killed is replaced, and the others serve meanwhile", async () => {
    const process = await begin();
    const tenant = await process.tenant();
    const [victim = 0, other = 0] = await childrenOf(process);
    globalThis.process.kill(victim, "SIGKILL");
    await untilSaid(process, `process ${victim} has ended (SIGKILL); starting another one`, 1);
    const terms = { url: process.url, key: tenant.key, model: MODEL, stream: false };
    expect((await call({ ...terms, name: "meanwhile" })).text).toBe("c");
    await untilChildren(process, (pids) => pids.length === 2 && !pids.includes(victim));
    expect(await childrenOf(process)).toContain(other);
  });

  test("that end at once, each time, are given up in a sentence", async () => {
    const process = await begin();
    const isOver = { value: false };
    void process.exited.then(() => (isOver.value = true));
    while (!isOver.value) {
      for (const pid of await childrenOf(process)) killIfAlive(pid);
      await new Promise((done) => setTimeout(done, 20));
    }
    expect(await process.exited).toBe(1);
    expect(process.output().stderr).toMatch(/5 in a row have ended at once: giving up\n$/u);
  });

  test("finish their streams when the supervisor is told to end, and end their leases", async () => {
    const process = await begin();
    const tenant = await process.tenant();
    const release = Promise.withResolvers<void>();
    const frames = chatFrames(MODEL, ["a", "b"], USAGE);
    const held = frames.map((bytes, i) => (i === 2 ? { bytes, gate: release.promise } : bytes));
    upstream.onHeader("held", { kind: "sse", frames: held, bill: USAGE });
    const streams = Array.from({ length: 6 }, () => heldStream(process, tenant));
    await upstream.arrived(6);
    process.signal("SIGTERM");
    await untilSaid(process, "SIGTERM", 1);
    release.resolve();
    expect(await Promise.all(streams)).toEqual(Array.from({ length: 6 }, () => "ab"));
    expect(await process.exited).toBe(0);
    await untilCount(database.db, LEASES, 0);
    await untilCount(database.db, OPEN_RESERVATIONS, 0);
  });

  test("do not outlive a supervisor that was killed", async () => {
    const process = await begin();
    const children = await childrenOf(process);
    await process.kill("SIGKILL");
    while (children.some(isAlive)) await new Promise((done) => setTimeout(done, 20));
  });

  test("that cannot start tell why, once, and end", async () => {
    const taken = createServer().listen(0, "127.0.0.1");
    await new Promise((done) => taken.once("listening", done));
    const address = taken.address();
    const port = typeof address === "object" && address !== null ? address.port : 0;
    try {
      await expect(begin({ PORT: String(port) })).rejects.toThrow(
        /^tollgate ended with 1:\n[^\n]*EADDRINUSE[^\n]*\n/u,
      );
    } finally {
      taken.close();
    }
  });
});

/** One stream that the upstream holds in its middle, on a connection of its own. */
async function heldStream({ url }: TollgateProcess, { key }: Tenant): Promise<string> {
  const { statusCode, body } = await request(`${url}/v1/chat/completions`, {
    reset: true,
    method: "POST",
    headers: {
      authorization: `Bearer ${key}`,
      "content-type": "application/json",
      "x-script": "held",
    },
    body: JSON.stringify({
      model: MODEL,
      stream: true,
      messages: [{ role: "user", content: "a" }],
    }),
  });
  const text = await body.text();
  if (!text.trimEnd().endsWith("data: [DONE]")) throw new Error(`cut: ${statusCode} ${text}`);
  return [...text.matchAll(/"content":"(?<part>[^"]+)"/gu)]
    .map(({ groups }) => groups?.["part"] ?? "")
    .join("");
}

type Load = {
  /** Resolves when so many more calls have been answered. */
  readonly atLeast: (more: number) => Promise<void>;
  /** What each call was answered; its connections are closed then. */
  readonly stop: () => Promise<readonly string[]>;
};

/** Calls one after another on eight kept-alive connections of its own, no one of them tried again. */
function loadOn({ url }: TollgateProcess, { key }: Tenant): Load {
  const agent = new Agent({ connections: 8 });
  const called: string[] = [];
  const state = { isOver: false };
  const work = async (): Promise<void> => {
    while (!state.isOver) called.push(await callOn(agent, url, key));
  };
  const working = Promise.all(Array.from({ length: 8 }, work));
  return {
    atLeast: async (more) => {
      const wanted = called.length + more;
      while (called.length < wanted) await new Promise((done) => setTimeout(done, 20));
    },
    stop: async () => {
      state.isOver = true;
      await working;
      await agent.close();
      return called;
    },
  };
}

/** The answer's text, or what went wrong. */
async function callOn(agent: Agent, url: string, key: string): Promise<string> {
  try {
    const { statusCode, body } = await request(`${url}/v1/chat/completions`, {
      dispatcher: agent,
      method: "POST",
      headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
      body: JSON.stringify({ model: MODEL, messages: [{ role: "user", content: "a" }] }),
    });
    const text = await body.text();
    const parsed = JSON.parse(text) as { choices?: { message: { content: string } }[] };
    return parsed.choices?.[0]?.message.content ?? `${statusCode} ${text}`;
  } catch (error) {
    return String(error);
  }
}

/** Each time on a connection of its own, so that any process may be asked. */
async function admittedOf({ url }: TollgateProcess): Promise<number> {
  const { body } = await request(`${url}/metrics`, { reset: true });
  const text = await body.text();
  return Number(/^tollgate_attempts_admitted_total (?<count>\d+)$/mu.exec(text)?.groups?.["count"]);
}

async function childrenOf({ pid }: TollgateProcess): Promise<readonly number[]> {
  try {
    const { stdout } = await promisify(execFile)("pgrep", ["-P", String(pid)]);
    return stdout.trim().split("\n").map(Number);
  } catch (error) {
    // It found none.
    if (error instanceof Error && "code" in error && error.code === 1) return [];
    throw error;
  }
}

async function untilChildren(
  process: TollgateProcess,
  isSo: (pids: readonly number[]) => boolean,
): Promise<void> {
  while (!isSo(await childrenOf(process))) await new Promise((done) => setTimeout(done, 50));
}

async function untilSaid(process: TollgateProcess, text: string, times: number): Promise<void> {
  while (process.output().stderr.split(text).length - 1 < times) {
    await new Promise((done) => setTimeout(done, 20));
  }
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

function killIfAlive(pid: number): void {
  if (isAlive(pid)) process.kill(pid, "SIGKILL");
}
