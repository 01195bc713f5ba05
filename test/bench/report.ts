/** What was measured, on what machine, as Markdown for people and JSON for the next comparison. */
import { execFileSync } from "node:child_process";
import os from "node:os";
import type { Admissions } from "./admissions.ts";
import { SCENARIOS } from "./scenario.ts";
import type { StreamMemory } from "./stream-memory.ts";
import { median, type Measurement, type Row } from "./summary.ts";
import type { Evidence, TargetName } from "./targets.ts";

export type Machine = {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryGib: number;
  readonly system: string;
  readonly node: string;
  readonly commit: string;
};

export type Report = {
  readonly startedAt: string;
  readonly machine: Machine;
  readonly plan: {
    readonly rounds: number;
    readonly seconds: number;
    readonly warmupSeconds: number;
    readonly connections: readonly number[];
    readonly targets: readonly TargetName[];
  };
  /** Null: not measured in this run. */
  readonly calls: Calls | null;
  readonly admissions: Admissions | null;
  readonly memory: readonly StreamMemory[] | null;
};

export type Calls = {
  readonly versions: Readonly<Partial<Record<TargetName, string>>>;
  readonly notes: Readonly<Partial<Record<TargetName, string>>>;
  /** Whether each target's answers were, byte for byte, the upstream's. */
  readonly identical: Readonly<Partial<Record<TargetName, boolean>>>;
  readonly evidence: Readonly<Partial<Record<TargetName, Evidence>>>;
  readonly rows: readonly Row[];
  readonly measurements: readonly Measurement[];
};

export const machineHere = (): Machine => {
  const cpus = os.cpus();
  return {
    cpu: cpus[0]?.model.trim() ?? "unknown",
    cores: os.availableParallelism(),
    memoryGib: Math.round(os.totalmem() / 2 ** 30),
    system: `${os.type()} ${os.release()} ${os.arch()}`,
    node: process.version,
    commit: commitHere(),
  };
};

const git = (...args: readonly string[]): string =>
  execFileSync("git", args, { cwd: import.meta.dirname, encoding: "utf8" }).trim();

/** The commit that was measured, marked when its sources were changed since; "unknown" outside git. */
const commitHere = (): string => {
  try {
    const changed = git("status", "--porcelain", "--", "../../src", "../../package-lock.json");
    return `${git("rev-parse", "--short", "HEAD")}${changed === "" ? "" : "-changed"}`;
  } catch {
    return "unknown";
  }
};

const figure = (value: number | null, digits: number): string =>
  value === null
    ? "–"
    : value.toLocaleString("en-US", {
        minimumFractionDigits: digits,
        maximumFractionDigits: digits,
      });

const COLUMNS = [
  "connections",
  "target",
  "per second",
  "(lowest–highest)",
  "/ Portkey",
  "/ raw",
  "p50 ms",
  "p99 ms",
  "added p50",
  "added p99",
  "first chunk p50 ms",
  "added",
  "CPU µs/call gateway",
  "PostgreSQL",
  "upstream",
  "generator",
  "reopened",
  "failed",
] as const;

const cellsOf = (row: Row): readonly string[] => [
  row.halfLoad === null
    ? String(row.connections)
    : `${row.connections}, ${figure(row.halfLoad.ratePerSecond, 0)}/s (half of ${row.halfLoad.of})`,
  row.target,
  figure(row.perSecond, 0),
  `${figure(row.perSecondLowest, 0)}–${figure(row.perSecondHighest, 0)}`,
  figure(row.perPortkey, 2),
  figure(row.perRaw, 2),
  figure(row.p50Ms, 2),
  figure(row.p99Ms, 2),
  figure(row.addedP50Ms, 2),
  figure(row.addedP99Ms, 2),
  figure(row.firstChunkP50Ms, 2),
  figure(row.addedFirstChunkP50Ms, 2),
  figure(row.cpuMicros.gateway, 0),
  figure(row.cpuMicros.database, 0),
  figure(row.cpuMicros.upstream, 0),
  figure(row.cpuMicros.generator, 0),
  String(row.reopened),
  String(row.failed),
];

const tableOf = (rows: readonly Row[]): readonly string[] => [
  `| ${COLUMNS.join(" | ")} |`,
  `|${COLUMNS.map((_, at) => (at === 1 ? " --- |" : " ---: |")).join("")}`,
  ...rows.map((row) => `| ${cellsOf(row).join(" | ")} |`),
];

const sectionOf = (title: string, intro: string, rows: readonly Row[]): readonly string[] =>
  rows.length === 0
    ? []
    : [`### ${title}`, "", ...(intro === "" ? [] : [intro, ""]), ...tableOf(rows), ""];

const introOf = (report: Report): readonly string[] => {
  const { machine, plan } = report;
  return [
    `# Bench, ${report.startedAt.slice(0, 10)}, commit ${machine.commit}`,
    "",
    `Machine: ${machine.cpu}, ${machine.cores} cores, ${machine.memoryGib} GiB, ${machine.system}, Node ${machine.node}.`,
    `Load generator, mock upstream, PostgreSQL and gateway share these ${machine.cores} cores, over loopback: so compare`,
    "within a table only, and read requests per second together with the CPU of each beside it.",
    "",
    `Medians of ${plan.rounds} interleaved rounds of ${plan.seconds} s (after ${plan.warmupSeconds} s of warm-up each). Ratios and`,
    "differences (“added”, against direct) are taken within a round, then their median.",
    "CPU is that of the whole process tree, in microseconds per call, user and system. Every answer was",
    "checked for status, framing, length and end.",
    "",
  ];
};

const targetLines = (plan: Report["plan"], calls: Calls): readonly string[] =>
  plan.targets.map((target) => {
    const identical = calls.identical[target];
    const bytes =
      identical === undefined ? "" : identical ? ", bytes identical" : ", bytes not identical";
    const note = calls.notes[target] === undefined ? "" : `; ${calls.notes[target]}`;
    return `- ${target}: ${calls.versions[target] ?? "no gateway"}${bytes}${note}`;
  });

const callSections = (calls: Calls): readonly string[] =>
  SCENARIOS.flatMap(({ name, title }) => {
    const rows = calls.rows.filter((row) => row.scenario === name);
    if (rows.length === 0) return [];
    const full = rows.filter((row) => row.halfLoad === null);
    const half = rows.filter((row) => row.halfLoad !== null);
    const evenly = "Calls fall due at an even rate; latency counts from then.";
    return [
      `## ${title}`,
      "",
      ...sectionOf("As fast as it goes", "", full),
      ...sectionOf("At half load", evenly, half),
    ];
  });

const failureLines = (rows: readonly Row[]): readonly string[] => {
  const failures = rows.filter((row) => row.firstFailure !== null);
  if (failures.length === 0) return [];
  const lines = failures.map(
    (row) =>
      `- ${row.scenario}, ${row.connections}, ${row.target}: ${row.failed} × ${row.firstFailure}`,
  );
  return ["## Failures", "", ...lines, ""];
};

const admissionLines = ({ callers, database, rounds, perRows }: Admissions): readonly string[] => {
  const cells = (strategy: "posting" | "rows", title: string): string => {
    const of = rounds.filter((each) => each.strategy === strategy);
    const told = [
      figure(median(of.map((each) => each.perSecond)), 0),
      figure(median(of.map((each) => each.p50Ms)), 2),
      figure(median(of.map((each) => each.p99Ms)), 2),
      figure(median(of.map((each) => each.nodeCpuMicros)), 0),
      figure(median(of.map((each) => each.databaseCpuMicros)), 0),
    ];
    return `| ${title} | ${told.join(" | ")} |`;
  };
  return [
    "## Admissions alone",
    "",
    `The posting function on one hot meter, and bare rows of the same size; ${callers} callers, one process,`,
    `the gate's own group commit; ${database}. Posting / rows: **${figure(perRows, 2)}**.`,
    "",
    "| | per second | p50 ms | p99 ms | CPU µs Node | PostgreSQL |",
    "| --- | ---: | ---: | ---: | ---: | ---: |",
    cells("posting", "posting"),
    cells("rows", "bare rows"),
    "",
  ];
};

const memoryLines = (memory: readonly StreamMemory[]): readonly string[] => [
  "## Memory of open streams",
  "",
  "Resident MiB of the gateway's process, and its growth per 1,000 open streams: since it was ready (its code",
  "and first buffers included), and since it had served some (streams that fit into spare room are hidden).",
  "",
  "| target | ready | warm | streams open | per 1,000 since ready | since warm |",
  "| --- | ---: | ---: | ---: | ---: | ---: |",
  ...memory.map(({ target, rounds, fromReadyMib, fromWarmMib }) => {
    const cells = [
      median(rounds.map((each) => each.readyMib)),
      median(rounds.map((each) => each.warmMib)),
      median(rounds.map((each) => each.openMib)),
      fromReadyMib,
      fromWarmMib,
    ];
    return `| ${target} | ${cells.map((each) => figure(each, 0)).join(" | ")} |`;
  }),
  "",
];

export const markdownOf = (report: Report): string => {
  const { calls, admissions, memory } = report;
  const lines = [
    ...introOf(report),
    ...(calls === null
      ? []
      : [
          ...targetLines(report.plan, calls),
          "",
          ...callSections(calls),
          ...failureLines(calls.rows),
        ]),
    ...(admissions === null ? [] : admissionLines(admissions)),
    ...(memory === null ? [] : memoryLines(memory)),
  ];
  return `${lines.join("\n").trimEnd()}\n`;
};
