/** What a run of the bench measures, from its command line. */
import { join } from "node:path";
import { parseArgs } from "node:util";
import { SCENARIOS, type ScenarioName } from "./scenario.ts";
import { TARGET_NAMES, type TargetName } from "./targets.ts";

/** In the order of the report. */
const PARTS = [
  "calls",
  "scaling",
  "overload",
  "admissions",
  "chunks",
  "memory",
  "start",
  "tools",
] as const;
export type Part = (typeof PARTS)[number];

export const HELP = `npm run bench -- [options]

  --only parts          of: ${PARTS.join(", ")}; default: all
                          calls       JSON and streams through each target, closed loop and at half load
                          scaling     Tollgate in 1, 2 and 4 processes, 256 connections
                          overload    five times the peak of one process: answered, turned away, how fast
                          admissions  the posting function alone, beside bare rows and the disk's fsync
                          chunks      what each target adds to each chunk of a paced stream
                          memory      what a thousand open streams weigh in each target
                          start       from the start of the program to ready, on an existing database
                          tools       what the gate adds to a tool call, one call after the other
  --targets names       of: ${TARGET_NAMES.join(", ")}; default: all (calls, chunks, memory)
  --scenarios names     of: ${SCENARIOS.map(({ name }) => name).join(", ")}; default: all (calls)
  --connections counts  default: 1,64,256 (calls); the targets are told of 64
  --seconds n           of each measurement; default: 5
  --rounds n            default: 3
  --name short-name     of the files; default: the commit
  --out folder          where the files go; default: test/bench/results
  --quick               a smoke run: calls only, shorter, without half load, no files unless --out
  --help                this

Tollgate runs in one process everywhere but in scaling.
`;

const CONNECTIONS_MAX = 4_096;
const SECONDS_MAX = 600;
const ROUNDS_MAX = 100;

export type Plan = {
  /** Only to say what could be asked for. */
  readonly help: boolean;
  readonly only: readonly Part[];
  readonly targets: readonly TargetName[];
  readonly scenarios: readonly ScenarioName[];
  readonly connections: readonly number[];
  readonly seconds: number;
  readonly warmupSeconds: number;
  readonly rounds: number;
  readonly halfLoad: boolean;
  readonly name: string | null;
  readonly out: string | null;
};

const oneOf = <Name extends string>(names: readonly Name[], text: string, option: string): Name => {
  const found = names.find((name) => name === text);
  if (found === undefined) throw new Error(`${option}: ${text} is none of ${names.join(", ")}`);
  return found;
};

const numberIn = (text: string, option: string, max: number): number => {
  const value = Number(text);
  if (!(value > 0 && value <= max)) throw new Error(`${option}: ${text} is not in (0, ${max}]`);
  return value;
};

const wholeIn = (text: string, option: string, max: number): number => {
  const value = numberIn(text, option, max);
  if (!Number.isInteger(value)) throw new Error(`${option}: ${text} is no whole number`);
  return value;
};

/** Throws when an option is unknown or out of bounds. */
export const planOf = (args: readonly string[]): Plan => {
  const { values } = parseArgs({
    args: [...args],
    options: {
      quick: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
      only: { type: "string" },
      targets: { type: "string", default: TARGET_NAMES.join(",") },
      scenarios: { type: "string", default: "json,sse" },
      connections: { type: "string" },
      seconds: { type: "string" },
      rounds: { type: "string" },
      name: { type: "string" },
      out: { type: "string" },
    },
  });
  const { quick } = values;
  const scenarios = SCENARIOS.map((scenario) => scenario.name);
  const seconds = numberIn(values.seconds ?? (quick ? "1" : "5"), "--seconds", SECONDS_MAX);
  const name = values.name ?? null;
  if (name !== null && !/^[a-z0-9-]{1,40}$/u.test(name)) throw new Error("--name: a-z, 0-9 and -");
  const folder = join(import.meta.dirname, "results");
  const only = values.only ?? (quick ? "calls" : PARTS.join(","));
  return {
    help: values.help,
    only: only.split(",").map((text) => oneOf(PARTS, text, "--only")),
    targets: values.targets.split(",").map((text) => oneOf(TARGET_NAMES, text, "--targets")),
    scenarios: values.scenarios.split(",").map((text) => oneOf(scenarios, text, "--scenarios")),
    connections: (values.connections ?? (quick ? "1,64" : "1,64,256"))
      .split(",")
      .map((text) => wholeIn(text, "--connections", CONNECTIONS_MAX)),
    seconds,
    warmupSeconds: quick ? 0.5 : Math.max(1, seconds / 5),
    rounds: wholeIn(values.rounds ?? (quick ? "1" : "3"), "--rounds", ROUNDS_MAX),
    halfLoad: !quick,
    name,
    out: values.out ?? (quick ? null : folder),
  };
};
