/** What the parts of a run measured; null where a part was not asked for. */
import type { Admissions } from "./admissions.ts";
import type { Calls } from "./calls.ts";
import type { Chunks } from "./chunks.ts";
import type { Overload } from "./overload.ts";
import type { Scaling } from "./scaling.ts";
import type { Start } from "./start.ts";
import type { StreamMemory } from "./stream-memory.ts";
import type { Tools } from "./tools.ts";

export type Results = {
  readonly calls: Calls | null;
  readonly scaling: Scaling | null;
  readonly overload: Overload | null;
  readonly admissions: Admissions | null;
  readonly chunks: Chunks | null;
  readonly memory: readonly StreamMemory[] | null;
  readonly start: Start | null;
  readonly tools: Tools | null;
};

/** Calls that failed in any part: a figure from those is no figure. */
export const failedIn = ({ calls, scaling, overload, tools }: Results): number =>
  [
    ...(calls?.rows ?? []),
    ...(scaling?.rounds ?? []),
    ...(overload?.rounds ?? []),
    ...(tools?.rounds ?? []),
  ].reduce((sum, each) => sum + each.failed, 0);

export const figure = (value: number | null, digits: number): string =>
  value === null
    ? "–"
    : value.toLocaleString("en-US", {
        minimumFractionDigits: digits,
        maximumFractionDigits: digits,
      });
