/** What was measured, on what machine, as Markdown for people and JSON for the next comparison. */
import { execFileSync } from "node:child_process";
import os from "node:os";
import { aimLines } from "./aims.ts";
import type { Calls } from "./calls.ts";
import type { Plan } from "./plan.ts";
import {
  admissionLines,
  chunkLines,
  memoryLines,
  overloadLines,
  scalingLines,
  startLines,
  toolLines,
} from "./report-parts.ts";
import { figure, type Results } from "./results.ts";
import { SCENARIOS } from "./scenario.ts";
import type { Row } from "./summary.ts";

export type Machine = {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryGib: number;
  readonly system: string;
  readonly node: string;
  readonly commit: string;
};

/** What of the plan is told: no folder, which would be one of this machine. */
export type ToldPlan = Omit<Plan, "out" | "name">;

export type Report = Results & {
  readonly startedAt: string;
  readonly machine: Machine;
  readonly plan: ToldPlan;
};

export const reportOf = (startedAt: string, machine: Machine, told: Told): Report => {
  const { out: _out, name: _name, ...plan } = told.plan;
  return { startedAt, machine, plan, ...told.results };
};

type Told = { readonly plan: Plan; readonly results: Results };

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

export const markdownOf = (report: Report): string => {
  const { calls, scaling, overload, admissions, chunks, memory, start, tools } = report;
  const lines = [
    ...introOf(report),
    ...aimLines(report),
    ...(calls === null
      ? []
      : [
          "## Calls",
          "",
          ...targetLines(report.plan, calls),
          "",
          ...callSections(calls),
          ...failureLines(calls.rows),
        ]),
    ...(scaling === null ? [] : scalingLines(scaling, report.machine.cores)),
    ...(overload === null ? [] : overloadLines(overload)),
    ...(admissions === null ? [] : admissionLines(admissions)),
    ...(chunks === null ? [] : chunkLines(chunks)),
    ...(memory === null ? [] : memoryLines(memory)),
    ...(start === null ? [] : startLines(start)),
    ...(tools === null ? [] : toolLines(tools)),
  ];
  return `${lines.join("\n").trimEnd()}\n`;
};
