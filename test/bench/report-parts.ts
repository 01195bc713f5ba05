/** The sections of a report beside those of the calls. */
import type { Admissions, Strategy } from "./admissions.ts";
import type { Chunks } from "./chunks.ts";
import { ratioOf, type Overload, type OverloadRound } from "./overload.ts";
import { figure } from "./results.ts";
import type { Scaling } from "./scaling.ts";
import type { Start } from "./start.ts";
import type { StreamMemory } from "./stream-memory.ts";
import { median } from "./summary.ts";
import { TARGET_NAMES } from "./targets.ts";
import type { ToolClient } from "./tool-call.ts";
import type { Tools } from "./tools.ts";

type Maybe = number | null;

const ms = (micros: Maybe): Maybe => (micros === null ? null : micros / 1_000);

/** A row of a table: its name, then figures with so many digits. */
const rowOf = (name: string, figures: readonly (readonly [Maybe, number])[]): string =>
  `| ${name} | ${figures.map(([value, digits]) => figure(value, digits)).join(" | ")} |`;

const headOf = (...columns: readonly string[]): readonly string[] => [
  `| ${columns.join(" | ")} |`,
  `|${columns.map((_, at) => (at === 0 ? " --- |" : " ---: |")).join("")}`,
];

/** One line for each failure told, so that a figure is not taken for one. */
const failuresOf = (
  rounds: readonly { readonly round: number; readonly firstFailure: string | null }[],
): readonly string[] => {
  const failures = rounds.filter((each) => each.firstFailure !== null);
  if (failures.length === 0) return [];
  return ["", ...failures.map((each) => `- round ${each.round} FAILED: ${each.firstFailure}`)];
};

export const scalingLines = (
  { connections, rounds, perOne }: Scaling,
  cores: number,
): readonly string[] => [
  "## Scaling",
  "",
  `JSON on ${connections} connections to Tollgate in so many processes. The machine has ${cores} cores, and load generator,`,
  "upstream and PostgreSQL share them: processes beyond the cores that those leave free can bring nothing.",
  "",
  ...headOf(
    "processes",
    "per second",
    "/ one process",
    "p50 ms",
    "p99 ms",
    "CPU µs/call Tollgate",
    "PostgreSQL",
    "upstream",
    "generator",
    "failed",
  ),
  ...perOne.map(({ processes, ratio }) => {
    const of = rounds.filter((each) => each.processes === processes);
    return rowOf(String(processes), [
      [median(of.map((each) => each.perSecond)), 0],
      [ratio, 2],
      [ms(median(of.map((each) => each.p50Micros))), 2],
      [ms(median(of.map((each) => each.p99Micros))), 2],
      [median(of.map((each) => each.cpuMicros.gateway)), 0],
      [median(of.map((each) => each.cpuMicros.database)), 0],
      [median(of.map((each) => each.cpuMicros.upstream)), 0],
      [median(of.map((each) => each.cpuMicros.generator)), 0],
      [of.reduce((sum, each) => sum + each.failed, 0), 0],
    ]);
  }),
  ...failuresOf(rounds),
  "",
];

const inOrder = (a: OverloadRound, b: OverloadRound): number =>
  a.connections - b.connections || a.round - b.round;

export const overloadLines = ({ factor, rounds, perPeak }: Overload): readonly string[] => [
  "## Overload",
  "",
  `JSON to one process. The peak is the higher one of the closed loops; then ${factor} times of it falls due, at an even`,
  "rate. A shed is 503 with Retry-After. Calls that fell due while every connection was busy were left out: no",
  "gateway has seen them. Latency counts from falling due. Goodput / peak, median of the rounds:",
  `${perPeak.map((each) => `**${figure(each.ratio, 2)}** on ${figure(each.connections, 0)} connections`).join(", ")}.`,
  "",
  ...headOf(
    "round",
    "peak per second",
    "on connections",
    "offered",
    "on connections",
    "answered",
    "/ peak",
    "shed",
    "left out",
    "answered p50 ms",
    "p99 ms",
    "shed p50 ms",
    "p99 ms",
    "CPU µs/answer at the peak",
    "CPU µs/shed",
    "failed",
  ),
  ...rounds.toSorted(inOrder).map((each) =>
    rowOf(String(each.round), [
      [each.peakPerSecond, 0],
      [each.peakConnections, 0],
      [each.offeredPerSecond, 0],
      [each.connections, 0],
      [each.goodputPerSecond, 0],
      [ratioOf(each), 2],
      [each.shedPerSecond, 0],
      [each.leftOutPerSecond, 0],
      [ms(each.answeredMicros.p50), 1],
      [ms(each.answeredMicros.p99), 1],
      [ms(each.shedMicros.p50), 1],
      [ms(each.shedMicros.p99), 1],
      [each.answeredCpuMicros, 0],
      [each.shedCpuMicros, 0],
      [each.failed, 0],
    ]),
  ),
  ...failuresOf(rounds),
  "",
];

const STRATEGY_TITLES: Readonly<Record<Strategy, string>> = {
  hot: "posting, one hot meter",
  tenants: "posting, tenants in turn",
  rows: "bare rows",
};

export const admissionLines = (told: Admissions): readonly string[] => {
  const { callers, tenants, database, rounds, fsync } = told;
  const cells = (strategy: Strategy): string => {
    const of = rounds.filter((each) => each.strategy === strategy);
    return rowOf(STRATEGY_TITLES[strategy], [
      [median(of.map((each) => each.perSecond)), 0],
      [median(of.map((each) => each.p50Ms)), 2],
      [median(of.map((each) => each.p99Ms)), 2],
      [median(of.map((each) => each.nodeCpuMicros)), 0],
      [median(of.map((each) => each.databaseCpuMicros)), 0],
    ]);
  };
  const disk = rowOf("the disk: 8 KiB written, fdatasync", [
    [median(fsync.map((each) => each.perSecond)), 0],
    [median(fsync.map((each) => each.p50Ms)), 2],
    [median(fsync.map((each) => each.p99Ms)), 2],
    [null, 0],
    [null, 0],
  ]);
  return [
    "## Admissions alone",
    "",
    `The posting function on one hot meter and on those of ${tenants} tenants in turn, and bare rows of the same size;`,
    `${callers} callers, one process, the gate's own group commit; ${database}. The disk is the file`,
    "system of its data directory; one commit, of many admissions, costs one such write at the least.",
    `One hot meter / rows: **${figure(told.hotPerRows, 2)}**; ${tenants} tenants / rows: **${figure(told.tenantsPerRows, 2)}**.`,
    "",
    ...headOf("", "per second", "p50 ms", "p99 ms", "CPU µs Node", "PostgreSQL"),
    cells("hot"),
    cells("tenants"),
    cells("rows"),
    disk,
    "",
  ];
};

export const chunkLines = ({ streams, everyMs, rounds, added }: Chunks): readonly string[] => {
  const targets = TARGET_NAMES.filter((name) => rounds.some((each) => each.target === name));
  return [
    "## Chunks of a stream",
    "",
    `${streams} streams whose events leave the upstream every ${everyMs} ms; from the upstream's write of an event to its`,
    "arrival at the client. “Added” is against direct.",
    "",
    ...headOf("target", "p50 µs", "p99 µs", "added p50 µs", "added p99 µs", "CPU µs/chunk gateway"),
    ...targets.map((target) => {
      const of = rounds.filter((each) => each.target === target);
      const more = added.find((each) => each.target === target);
      return rowOf(target, [
        [median(of.map((each) => each.p50Micros)), 0],
        [median(of.map((each) => each.p99Micros)), 0],
        [more?.p50Micros ?? null, 0],
        [more?.p99Micros ?? null, 0],
        [median(of.map((each) => each.gatewayCpuMicros)), 0],
      ]);
    }),
    "",
  ];
};

export const memoryLines = (memory: readonly StreamMemory[]): readonly string[] => [
  "## Memory of open streams",
  "",
  "Resident MiB of the gateway's process, and its growth per 1,000 open streams: since it was ready (its code",
  "and first buffers included), and since it had served some (streams that fit into spare room are hidden).",
  "",
  ...headOf("target", "ready", "warm", "streams open", "per 1,000 since ready", "since warm"),
  ...memory.map(({ target, rounds, fromReadyMib, fromWarmMib }) =>
    rowOf(target, [
      [median(rounds.map((each) => each.readyMib)), 0],
      [median(rounds.map((each) => each.warmMib)), 0],
      [median(rounds.map((each) => each.openMib)), 0],
      [fromReadyMib, 0],
      [fromWarmMib, 0],
    ]),
  ),
  "",
];

export const startLines = ({ readyMs, medianMs }: Start): readonly string[] => [
  "## Start",
  "",
  `One process on a database that exists, from the start of the program to the first 200 of /readyz: **${figure(medianMs, 0)} ms**`,
  `(median of ${readyMs.length}; ${figure(Math.min(...readyMs), 0)} to ${figure(Math.max(...readyMs), 0)}).`,
  "",
];

const CLIENTS: Readonly<Record<ToolClient, string>> = {
  library: "the official client",
  posts: "plain posts",
};

export const toolLines = ({ version, rounds, added }: Tools): readonly string[] => [
  "## Tool calls",
  "",
  "One call after the other on one connection, straight to a fast MCP server and through Tollgate: the official",
  "client, which works itself, too, and plain posts of the same calls. “Added” is against direct.",
  `Tollgate: ${version}.`,
  "",
  ...headOf(
    "by, to",
    "per second",
    "p50 ms",
    "p99 ms",
    "added p50 ms",
    "added p99 ms",
    "CPU µs/call Tollgate",
    "PostgreSQL",
    "failed",
  ),
  ...added.flatMap((more) =>
    (["direct", "tollgate"] as const).map((target) => {
      const of = rounds.filter((each) => each.by === more.by && each.target === target);
      return rowOf(`${CLIENTS[more.by]}, ${target}`, [
        [median(of.map((each) => each.perSecond)), 0],
        [ms(median(of.map((each) => each.p50Micros))), 2],
        [ms(median(of.map((each) => each.p99Micros))), 2],
        [target === "direct" ? null : ms(more.p50Micros), 2],
        [target === "direct" ? null : ms(more.p99Micros), 2],
        [median(of.map((each) => each.cpuMicros.gateway)), 0],
        [median(of.map((each) => each.cpuMicros.database)), 0],
        [of.reduce((sum, each) => sum + each.failed, 0), 0],
      ]);
    }),
  ),
  ...failuresOf(rounds),
  "",
];
