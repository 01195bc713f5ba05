/**
 * The bench: direct, a raw Node proxy, Tollgate with everything on and Portkey with nothing on, side by
 * side in one run; and Tollgate's own limits. `npm run bench -- --help` names the parts and options.
 */
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { measureAdmissions } from "./admissions.ts";
import { measureCalls } from "./calls.ts";
import { measureChunks } from "./chunks.ts";
import { measureOverload } from "./overload.ts";
import { HELP, planOf, type Part, type Plan } from "./plan.ts";
import { machineHere, markdownOf, reportOf, type Report } from "./report.ts";
import { failedIn } from "./results.ts";
import { measureScaling } from "./scaling.ts";
import type { Surroundings } from "./stage.ts";
import { measureStart } from "./start.ts";
import { measureStreamMemory } from "./stream-memory.ts";
import type { Defer } from "./targets.ts";
import { measureTools } from "./tools.ts";

const progress = (text: string): void => void process.stderr.write(`${text}\n`);

const write = async (report: Report, plan: Plan): Promise<void> => {
  const markdown = markdownOf(report);
  process.stdout.write(markdown);
  if (plan.out === null) return;
  await mkdir(plan.out, { recursive: true });
  const name = `${report.startedAt.slice(0, 10)}-${plan.name ?? report.machine.commit}`;
  await writeFile(join(plan.out, `${name}.md`), markdown);
  await writeFile(join(plan.out, `${name}.json`), `${JSON.stringify(report, null, 1)}\n`);
  progress(`written: ${join(plan.out, name)}.{md,json}`);
};

/** Ends what was started, last first; one that cannot be ended does not keep the others alive. */
const endAll = async (ends: (() => Promise<void>)[]): Promise<void> => {
  for (let end = ends.pop(); end !== undefined; end = ends.pop()) {
    await end().catch((error: unknown) => progress(`could not end a process: ${String(error)}`));
  }
};

/** One part after the other; what one has started is ended before the next begins. */
const measureParts = async (plan: Plan, ends: (() => Promise<void>)[]): Promise<Report> => {
  const startedAt = new Date().toISOString();
  const defer: Defer = (end) => ends.push(end);
  const surroundings = { defer, progress };
  const part = async <Result>(
    name: Part,
    work: (plan: Plan, surroundings: Surroundings) => Promise<Result>,
  ): Promise<Result | null> => {
    if (!plan.only.includes(name)) return null;
    const result = await work(plan, surroundings);
    await endAll(ends);
    return result;
  };
  // The short parts first: should one of them fail, the hours of the calls are not lost with it.
  const start = await part("start", measureStart);
  const tools = await part("tools", measureTools);
  const memory = await part("memory", measureStreamMemory);
  const chunks = await part("chunks", measureChunks);
  const admissions = await part("admissions", measureAdmissions);
  const overload = await part("overload", measureOverload);
  const scaling = await part("scaling", measureScaling);
  const calls = await part("calls", measureCalls);
  const results = { calls, scaling, overload, admissions, chunks, memory, start, tools };
  return reportOf(startedAt, machineHere(), { plan, results });
};

const main = async (): Promise<void> => {
  const plan = planOf(process.argv.slice(2));
  if (plan.help) {
    process.stdout.write(HELP);
    return;
  }
  const ends: (() => Promise<void>)[] = [];
  let interrupted = false;
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.once(signal, () => {
      interrupted = true;
      void endAll(ends).finally(() => process.exit(130));
    });
  }
  try {
    const report = await measureParts(plan, ends);
    await write(report, plan);
    // A figure from calls that failed is no figure; the report says which, and so does the exit code.
    if (failedIn(report) > 0) process.exitCode = 1;
  } catch (error) {
    // What is measured fails because its process was ended just now: that is no news.
    if (!interrupted) throw error;
    process.exitCode = 130;
  } finally {
    await endAll(ends);
  }
};

await main();
