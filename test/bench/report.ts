/** What was measured, on what machine, as Markdown for people and JSON for the next comparison. */
import { execFileSync } from "node:child_process";
import os from "node:os";
import { SCENARIOS } from "./scenario.ts";
import type { Measurement, Row } from "./summary.ts";
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

export const markdownOf = (report: Report): string => {
  const { machine, plan } = report;
  const lines = [
    `# Bench, ${report.startedAt.slice(0, 10)}, commit ${machine.commit}`,
    "",
    `Machine: ${machine.cpu}, ${machine.cores} cores, ${machine.memoryGib} GiB, ${machine.system}, Node ${machine.node}.`,
    "Load generator, mock upstream, gateway and PostgreSQL share these cores, over loopback; so compare",
    "within a table only, and read requests per second together with the CPU beside it.",
    "",
    `Medians of ${plan.rounds} interleaved rounds of ${plan.seconds} s (after ${plan.warmupSeconds} s of warm-up each). Ratios and`,
    "differences (“added”, against direct) are taken within a round, then their median.",
    "CPU is that of the whole process tree. Every answer was checked for status, length and end.",
    "",
    ...plan.targets.map((target) => {
      const identical = report.identical[target];
      const bytes =
        identical === undefined ? "" : identical ? ", bytes identical" : ", bytes not identical";
      const note = report.notes[target] === undefined ? "" : `; ${report.notes[target]}`;
      return `- ${target}: ${report.versions[target] ?? "no gateway"}${bytes}${note}`;
    }),
    "",
  ];
  for (const { name, title } of SCENARIOS) {
    const rows = report.rows.filter((row) => row.scenario === name);
    if (rows.length === 0) continue;
    lines.push(`## ${title}`, "");
    lines.push(
      ...sectionOf(
        "As fast as it goes",
        "",
        rows.filter((row) => row.halfLoad === null),
      ),
    );
    lines.push(
      ...sectionOf(
        "At half load",
        "Calls fall due at an even rate; latency counts from then.",
        rows.filter((row) => row.halfLoad !== null),
      ),
    );
  }
  const failures = report.rows.filter((row) => row.firstFailure !== null);
  if (failures.length > 0) {
    lines.push("## Failures", "");
    for (const row of failures) {
      lines.push(
        `- ${row.scenario}, ${row.connections}, ${row.target}: ${row.failed} × ${row.firstFailure}`,
      );
    }
    lines.push("");
  }
  return `${lines.join("\n").trimEnd()}\n`;
};
