/** Processes of the bench: how each is started, known to be ready, and ended by its own id. */
import { fork, spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { createServer, type AddressInfo, type Server } from "node:net";
import { fileURLToPath } from "node:url";

const READY_MS_MAX = 60_000;
const STOP_MS_MAX = 10_000;
/** What is kept of a child's output, to say why it did not start. */
const OUTPUT_CHARS_MAX = 8_000;

export const LOOPBACK = "127.0.0.1";

export type Child = {
  readonly process: ChildProcess;
  readonly pid: number;
  /** The end of what it wrote to stdout and stderr. */
  readonly output: () => string;
  readonly stop: () => Promise<void>;
};

const stopped = async (child: ChildProcess): Promise<void> => {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exit = once(child, "exit");
  child.kill("SIGTERM");
  const timer = setTimeout(() => child.kill("SIGKILL"), STOP_MS_MAX);
  await exit;
  clearTimeout(timer);
};

const watched = (child: ChildProcess): Child => {
  let output = "";
  const keep = (bytes: Buffer): void => {
    output = (output + bytes.toString("utf8")).slice(-OUTPUT_CHARS_MAX);
  };
  child.stdout?.on("data", keep);
  child.stderr?.on("data", keep);
  if (child.pid === undefined) throw new Error(`could not start ${child.spawnfile}`);
  return { process: child, pid: child.pid, output: () => output, stop: () => stopped(child) };
};

/** Starts `node args…` with exactly this environment beside PATH and HOME. */
export const startNode = (args: readonly string[], env: Readonly<Record<string, string>>): Child =>
  watched(
    spawn(process.execPath, args, {
      env: { PATH: process.env["PATH"] ?? "", HOME: process.env["HOME"] ?? "", ...env },
      stdio: ["ignore", "pipe", "pipe"],
    }),
  );

/** Starts a module of this folder that talks over IPC. */
export const startModule = (file: string, args: readonly string[]): Child =>
  watched(
    fork(fileURLToPath(new URL(file, import.meta.url)), args, {
      stdio: ["ignore", "pipe", "pipe", "ipc"],
    }),
  );

/** The next message of a child, or an error when it ends or stays silent. */
export const messageOf = async (child: Child, timeoutMs: number): Promise<unknown> => {
  const controller = new AbortController();
  const { signal } = controller;
  const timer = setTimeout(() => {
    controller.abort(new Error(`process ${child.pid} was silent for ${timeoutMs} ms`));
  }, timeoutMs);
  const said = once(child.process, "message", { signal }).then((values: unknown[]) => values[0]);
  const ended = once(child.process, "exit", { signal }).then(() => {
    throw new Error(`process ${child.pid} ended early: ${child.output()}`);
  });
  // The one that loses the race is aborted below; its rejection says nothing more.
  ended.catch(() => undefined);
  said.catch(() => undefined);
  try {
    return await Promise.race([said, ended]);
  } finally {
    clearTimeout(timer);
    controller.abort();
  }
};

/** In a child: listens on a free loopback port and says which. Ends with the parent. */
export const tellPort = (server: Server): void => {
  process.on("disconnect", () => process.exit(0));
  server.listen(0, LOOPBACK, () => {
    const address = server.address() as AddressInfo;
    process.send?.({ port: address.port });
  });
};

export const portOf = async (child: Child): Promise<number> => {
  const message = (await messageOf(child, READY_MS_MAX)) as { port?: unknown };
  if (typeof message.port !== "number") throw new Error("the child named no port");
  return message.port;
};

/** A port that was free a moment ago, for programs that cannot say which one they took. */
export const freePort = async (): Promise<number> => {
  const server = createServer();
  server.listen(0, LOOPBACK);
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
};

/** Waits until a URL answers 200, the child ends, or the time is over. */
export const readyAt = async (child: Child, url: string): Promise<void> => {
  const deadline = Date.now() + READY_MS_MAX;
  while (Date.now() < deadline) {
    if (child.process.exitCode !== null || child.process.signalCode !== null) {
      throw new Error(`process ended before ${url} answered: ${child.output()}`);
    }
    // Refused connections are what waiting for a server looks like; the deadline bounds them.
    const ok = await fetch(url, { signal: AbortSignal.timeout(2_000) }).then(
      async (response) => {
        await response.arrayBuffer();
        return response.ok;
      },
      () => false,
    );
    if (ok) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`${url} was not ready within ${READY_MS_MAX} ms: ${child.output()}`);
};
