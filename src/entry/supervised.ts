/** One of several processes that serve one port: what a supervisor starts, orders and asks. */
import { Fault } from "../lib/assert.ts";
import { keepAnswer } from "../lib/kept.ts";
import type { Figures } from "../http/env.ts";
import { Unavailable } from "../gate/unavailable.ts";
import { DRAIN_MS_MAX, ENDING_SIGNALS, type Patience } from "./closing.ts";
import { readConfig, type Config } from "./config.ts";
import { diskFiles } from "./config-files.ts";
import { survivesLostLookups } from "./lost-lookups.ts";
import { KEEP_ALIVE_TIMEOUT_MS, start, type Running } from "./node.ts";
import { startFailure } from "./start-failure.ts";
import { orderFrom, type Report } from "./supervision.ts";
import { isExpected, toldOf } from "./told.ts";

/** The supervisor asks all processes, and does not wait for one that hangs. */
const FIGURES_MS_MAX = 3_000;

/**
 * How long a kept-alive connection may take to ask again, and so to hear that it is being closed. Clients
 * are told how long we keep one, and drop it before; one that was closed after five seconds met a
 * client's next call once in two thousand.
 */
const LINGER_MS = KEEP_ALIVE_TIMEOUT_MS + 5_000;

type Questions = Map<number, (figures: Figures) => void>;

/** Starts serving and does as it is told until it is told to end. */
async function beSupervised(): Promise<void> {
  const questions: Questions = new Map();
  const hurry = Promise.withResolvers<void>();
  const starting = Promise.withResolvers<Running>();
  let isEnding = false;
  const end = (patience: (config: Config) => Patience) => {
    if (isEnding) return;
    isEnding = true;
    void starting.promise.then((running) => endWith(running, patience(config)));
  };
  const endSoon = () => {
    hurry.resolve();
    end(() => ({ ...terms(hurry.promise), msMax: DRAIN_MS_MAX, lingerMs: 0 }));
  };
  process.on("message", (message) => {
    const order = orderFrom(message);
    switch (order?.kind) {
      case undefined:
        return;
      case "end":
        return endSoon();
      case "retire":
        return end((known) => ({ ...terms(hurry.promise), msMax: longestAnswerMs(known) }));
      case "tell_figures": {
        const { round } = order;
        void starting.promise.then(({ gateway }) =>
          report({ kind: "own_figures", round, figures: gateway.trust() }),
        );
        return;
      }
      case "all_figures":
        questions.get(order.question)?.(order.figures);
        questions.delete(order.question);
    }
  });
  // A terminal and a service manager send their signal to every process of the group.
  for (const signal of ENDING_SIGNALS) process.on(signal, endSoon);
  process.on("SIGUSR2", () => undefined);
  survivesLostLookups();
  const config = readConfig(process.env, diskFiles);
  // Asked once for all who scrape meanwhile. Not kept: the supervisor keeps them for all processes alike.
  const figures = keepAnswer(() => askFigures(questions), {
    msMax: 0,
    monotonicMs: () => performance.now(),
  });
  const running = await startAs(config, figures);
  starting.resolve(running);
  const { url, firstKeys, hasLimits } = running;
  report({ kind: "ready", url, tenantKey: firstKeys.tenantKey, hasLimits });
}

async function startAs(config: Config, figures: () => Promise<Figures>): Promise<Running> {
  try {
    return await start(config, { figures });
  } catch (error) {
    // Here, because a supervisor is told no more of an error than its words.
    throw startFailure(error, config);
  }
}

function terms(hurry: Promise<void>): Omit<Patience, "msMax"> {
  return { lingerMs: LINGER_MS, hurry, hurriedMsMax: DRAIN_MS_MAX };
}

/** Nobody waits for a process that another one has replaced: its answers take as long as they may. */
function longestAnswerMs({ upstreams }: Config): number {
  return LINGER_MS + Math.max(DRAIN_MS_MAX, ...upstreams.map(({ timeoutMs }) => timeoutMs));
}

async function endWith({ gateway, close }: Running, patience: Patience): Promise<void> {
  try {
    await close(patience);
  } catch (error) {
    process.stderr.write(`could not end cleanly: ${toldOf(error)}\n`);
    process.exit(1);
  }
  report({ kind: "own_figures", round: -1, figures: gateway.trust() }, () => process.exit(0));
}

/** The counters of all processes: one that answers alone would let a counter fall from scrape to scrape. */
async function askFigures(questions: Questions): Promise<Figures> {
  const question = Math.max(0, ...questions.keys()) + 1;
  const { promise, resolve, reject } = Promise.withResolvers<Figures>();
  const late = setTimeout(() => {
    questions.delete(question);
    reject(new Unavailable("the supervisor did not tell the counters of all processes"));
  }, FIGURES_MS_MAX);
  questions.set(question, resolve);
  report({ kind: "ask_figures", question });
  try {
    return await promise;
  } finally {
    clearTimeout(late);
  }
}

function report(message: Report, sent: () => void = () => undefined): void {
  if (process.send === undefined) throw new Fault("supervised.ts is started by a supervisor");
  process.send(message, undefined, {}, sent);
}

function fail(error: unknown): void {
  const code = error instanceof Error && "code" in error ? error.code : null;
  report(
    {
      kind: "failed",
      message: toldOf(error),
      code: typeof code === "string" ? code : null,
      isExpected: isExpected(error),
    },
    () => process.exit(1),
  );
}

/** Tells its supervisor that it serves, or why it does not. */
export async function main(): Promise<void> {
  try {
    await beSupervised();
  } catch (error) {
    fail(error);
  }
}
