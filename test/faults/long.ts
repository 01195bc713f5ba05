/**
 * The long tier: `node test/faults/long.ts --seeds 20 --minutes 20 --replicas 4`. Progress goes to
 * standard error, a table of every promise to standard output; the exit code is 1 on any violation.
 */
import { parseArgs } from "node:util";
import { startPostgres, type Cluster } from "../support/postgres.ts";
import { tryUnsafeBoots } from "./boots.ts";
import { check, PROMISES, violations, type Report } from "./checker.ts";
import type { History } from "./history.ts";
import { join } from "./joined.ts";
import { MUTANTS, ROOT } from "./mutants.ts";
import { EVERY_FAULT, playScenario } from "./scenario.ts";
import { playMutant } from "./verdict-on-mutants.ts";

const HELP = `node test/faults/long.ts [options]

  --seeds <n>      scenarios to play, each with a PostgreSQL of its own (20)
  --first <n>      the first of their seeds (1)
  --minutes <n>    how long all of them take together, about (20)
  --replicas <n>   processes of the gate (4)
  --agents <n>     clients at a time (16)
  --mutants        instead, play every mutant, and the same scenario without it
  --help           this

A seed plays the same calls and faults again; which meets which is up to the machine.
`;

/** What starting a fleet and waiting for its end take of a scenario's time. */
const AROUND_MS = 16_000;
const SCENARIO_MS_MIN = 5_000;

type Options = {
  readonly seeds: number;
  readonly first: number;
  readonly minutes: number;
  readonly replicas: number;
  readonly agents: number;
};

type Played = {
  readonly report: Report;
  readonly faults: History["faults"];
  readonly calls: number;
  readonly dispatched: number;
  /** All that is known of each call that a violation names. */
  readonly evidence: readonly string[];
};

const say = (line: string): void => void process.stderr.write(`${line}\n`);

async function playSeeds(options: Options): Promise<number> {
  const eachMs = (options.minutes * 60_000) / options.seeds - AROUND_MS;
  const forMs = Math.max(SCENARIO_MS_MIN, eachMs);
  const all: Played[] = [];
  for (let i = 0; i < options.seeds; i += 1) {
    const seed = options.first + i;
    say(`seed ${seed} (${i + 1} of ${options.seeds})`);
    const played = await onItsOwn((cluster) => playSeed(cluster, seed, { ...options, forMs }));
    all.push(played);
    const { ok, failed, indeterminate } = played.report.classes;
    say(`  ${ok} ok, ${failed} failed, ${indeterminate} indeterminate`);
    for (const line of violations(played.report)) say(`  VIOLATION ${line}`);
    for (const line of played.evidence) say(`  ${line}`);
  }
  process.stdout.write(tableOf(all, options));
  return all.some(({ report }) => violations(report).length > 0) ? 1 : 0;
}

async function playSeed(
  cluster: Cluster,
  seed: number,
  { replicas, agents, forMs }: Options & { readonly forMs: number },
): Promise<Played> {
  const past = await playScenario({
    seed,
    cluster,
    replicas,
    agents,
    forMs,
    deck: EVERY_FAULT,
    root: ROOT,
    say: (line) => say(`  ${line}`),
  });
  const boots = await tryUnsafeBoots(cluster, ROOT);
  const report = check({ ...past, boots });
  const { faults, observations, journal } = past;
  const named = new Set(violations(report).flatMap((line) => TAG.exec(line)?.[0] ?? []));
  const evidence = join(past)
    .cases.filter(({ tag }) => named.has(tag))
    .map((each) =>
      JSON.stringify(each, (_, value) => (typeof value === "bigint" ? `${value}` : value)),
    );
  return { report, faults, calls: observations.length, dispatched: journal.length, evidence };
}

const TAG = /s\d+-[a-z]+-\d+/u;

async function playMutants(): Promise<number> {
  const rows: string[] = ["| mutant | promises found broken | without it |", "| --- | --- | --- |"];
  let isBad = false;
  for (const mutant of MUTANTS) {
    say(mutant.name);
    const { broken, without } = await onItsOwn((cluster) => playMutant(mutant, cluster, 21));
    const isFound = broken.some((name) => mutant.breaks.includes(name));
    isBad ||= !isFound || without.length > 0;
    const clean = without.length === 0 ? "none" : without.join("; ");
    rows.push(`| ${mutant.name} | ${isFound ? broken.join(" ") : "NOT FOUND"} | ${clean} |`);
  }
  process.stdout.write(`${rows.join("\n")}\n`);
  return isBad ? 1 : 0;
}

async function onItsOwn<Result>(work: (cluster: Cluster) => Promise<Result>): Promise<Result> {
  const cluster = await startPostgres();
  try {
    return await work(cluster);
  } finally {
    await cluster.stop();
  }
}

function tableOf(all: readonly Played[], { replicas, seeds, first }: Options): string {
  const total = (read: (played: Played) => number): number =>
    all.reduce((sum, played) => sum + read(played), 0);
  const kinds = Map.groupBy(
    all.flatMap(({ faults }) => faults),
    ({ kind }) => kind,
  );
  const faults = [...kinds].map(([kind, played]) => `${kind} ${played.length}`).toSorted();
  const rows = PROMISES.map((name) => {
    const examined = total(({ report }) => report.findings[name].examined);
    const found = total(({ report }) => report.findings[name].violations.length);
    return `| ${name} | ${examined} | ${found} |`;
  });
  const short = all.reduce((sum, { report }) => sum + report.leftUncharged.picousd, 0n);
  const left = total(({ report }) => report.leftUncharged.left);
  return `
${seeds} seeds from ${first}, ${replicas} replicas: ${total(({ calls }) => calls)} calls, ${total(({ dispatched }) => dispatched)} dispatched;
ok ${total(({ report }) => report.classes.ok)}, failed ${total(({ report }) => report.classes.failed)}, indeterminate ${total(({ report }) => report.classes.indeterminate)}
faults: ${faults.join(", ")}
left by their clients: ${left} calls; left uncharged: ${short} pico-dollars in ${total(({ report }) => report.leftUncharged.uncharged)} of them

| promise | examined | violations |
| --- | ---: | ---: |
${rows.join("\n")}
`;
}

function countOf(text: string, name: string): number {
  const count = Number(text);
  if (!Number.isSafeInteger(count) || count < 1) throw new Error(`--${name} is a whole number`);
  return count;
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      seeds: { type: "string", default: "20" },
      first: { type: "string", default: "1" },
      minutes: { type: "string", default: "20" },
      replicas: { type: "string", default: "4" },
      agents: { type: "string", default: "16" },
      mutants: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) {
    process.stdout.write(HELP);
    return 0;
  }
  if (values.mutants) return await playMutants();
  return await playSeeds({
    seeds: countOf(values.seeds, "seeds"),
    first: countOf(values.first, "first"),
    minutes: countOf(values.minutes, "minutes"),
    replicas: countOf(values.replicas, "replicas"),
    agents: countOf(values.agents, "agents"),
  });
}

for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(1));
// Not by the exit code alone: of connections that were broken off Node waited once, for ever, for two to close.
process.exit(await main());
