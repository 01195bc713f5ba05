/** The targets that Tollgate sets itself, each beside what the run reached. */
import { OVERLOAD_CONNECTIONS, type Overload } from "./overload.ts";
import { figure, type Results } from "./results.ts";
import type { Scaling } from "./scaling.ts";
import type { ScenarioName } from "./scenario.ts";
import { median, type Row } from "./summary.ts";

/** Where the targets for calls are told. */
const CONNECTIONS = 64;
const BYTES_PER_MIB = 2 ** 20;

export type Aim = {
  readonly what: string;
  readonly unit: "×" | "ms" | "MB" | "";
  readonly kind: "at least" | "at most";
  /** Null when a figure of the run that it is made of is missing. */
  readonly aim: number | null;
  /** Null: not measured in this run. */
  readonly reached: number | null;
  /** Calls that failed while it was measured: then it is not reached, whatever the figure. */
  readonly failed: number;
};

type Figure = Pick<Aim, "reached" | "failed">;

const NOT_MEASURED: Figure = { reached: null, failed: 0 };

export const aimsOf = (results: Results): readonly Aim[] => {
  const { calls, scaling, overload, admissions, memory, start } = results;
  const rows = calls?.rows ?? [];
  const full = (scenario: ScenarioName, of: (row: Row) => number | null): Figure =>
    figureOf(rows.find(isFull(scenario)), of);
  const half = (of: (row: Row) => number | null): Figure => figureOf(rows.find(isHalf), of);
  const commitMs = median((admissions?.fsync ?? []).map((each) => each.p50Ms));
  const mib = memory?.find((each) => each.target === "tollgate")?.fromReadyMib ?? null;
  const atLeast = (what: string, aim: number, told: Figure): Aim => ({
    what,
    unit: "×",
    kind: "at least",
    aim,
    ...told,
  });
  const atMost = (what: string, unit: Aim["unit"], aim: number | null, told: Figure): Aim => ({
    what,
    unit,
    kind: "at most",
    aim,
    ...told,
  });
  const plain = (reached: number | null): Figure => ({ reached, failed: 0 });
  const slowest =
    "added p50 of JSON at half load, against one write and fdatasync of the disk + 0.5 ms";
  return [
    atLeast("JSON calls of one process / Portkey with nothing on", 10, full("json", perPortkey)),
    atLeast("JSON calls of one process / raw Node proxy", 0.6, full("json", perRaw)),
    atLeast("streams of one process / Portkey with nothing on", 6, full("sse", perPortkey)),
    atLeast("streams of one process / raw Node proxy", 0.75, full("sse", perRaw)),
    atMost(
      slowest,
      "ms",
      commitMs === null ? null : commitMs + 0.5,
      half((row) => row.addedP50Ms),
    ),
    atMost(
      "added p99 of JSON at half load",
      "ms",
      10,
      half((row) => row.addedP99Ms),
    ),
    atLeast("admissions on one hot meter / bare rows", 0.5, plain(admissions?.hotPerRows ?? null)),
    atLeast("two processes / one, 256 connections", 1.9, scalingOf(scaling)),
    ...OVERLOAD_CONNECTIONS.map((connections) =>
      atLeast(
        `goodput at five times the peak / peak, ${figure(connections, 0)} connections`,
        0.95,
        overloadOf(overload, connections),
      ),
    ),
    atMost(
      "memory of 1,000 open streams, since ready",
      "MB",
      40,
      plain(mib === null ? null : (mib * BYTES_PER_MIB) / 1e6),
    ),
    atMost("ready on an existing database", "ms", 400, plain(start?.medianMs ?? null)),
  ];
};

const perPortkey = (row: Row): number | null => row.perPortkey;
const perRaw = (row: Row): number | null => row.perRaw;

const isFull =
  (scenario: ScenarioName) =>
  (row: Row): boolean =>
    row.target === "tollgate" &&
    row.scenario === scenario &&
    row.connections === CONNECTIONS &&
    row.halfLoad === null;

const isHalf = (row: Row): boolean =>
  row.target === "tollgate" && row.scenario === "json" && row.halfLoad?.of === "tollgate";

const figureOf = (row: Row | undefined, of: (row: Row) => number | null): Figure =>
  row === undefined ? NOT_MEASURED : { reached: of(row), failed: row.failed };

const sumOfFailed = (rounds: readonly { readonly failed: number }[]): number =>
  rounds.reduce((sum, each) => sum + each.failed, 0);

const scalingOf = (scaling: Scaling | null): Figure =>
  scaling === null
    ? NOT_MEASURED
    : {
        reached: scaling.perOne.find((each) => each.processes === 2)?.ratio ?? null,
        failed: sumOfFailed(scaling.rounds.filter((each) => each.processes <= 2)),
      };

const overloadOf = (overload: Overload | null, connections: number): Figure =>
  overload === null
    ? NOT_MEASURED
    : {
        reached: overload.perPeak.find((each) => each.connections === connections)?.ratio ?? null,
        failed: sumOfFailed(overload.rounds.filter((each) => each.connections === connections)),
      };

/** What the table says of an aim. */
export const verdictOn = ({ kind, aim, reached, failed }: Aim): string => {
  if (reached === null || aim === null) return "not measured";
  if (failed > 0) return `no: ${failed} calls failed`;
  return (kind === "at least" ? reached >= aim : reached <= aim) ? "yes" : "no";
};

const told = (value: number | null, unit: Aim["unit"]): string =>
  value === null ? "–" : `${figure(value, unit === "MB" ? 0 : 2)}${unit === "" ? "" : ` ${unit}`}`;

export const aimLines = (results: Results): readonly string[] => [
  "## Against the targets",
  "",
  "| | aim | reached | |",
  "| --- | ---: | ---: | --- |",
  ...aimsOf(results).map((aim) => {
    const sign = aim.kind === "at least" ? "≥" : "≤";
    return `| ${aim.what} | ${sign} ${told(aim.aim, aim.unit)} | ${told(aim.reached, aim.unit)} | ${verdictOn(aim)} |`;
  }),
  "",
];
