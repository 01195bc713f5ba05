import type { Filters } from "../../src/core/report.ts";

/** A report of all. */
export const NO_FILTERS: Filters = {
  key: null,
  customer: null,
  workflow: null,
  label: null,
  model: null,
  upstream: null,
  tool: null,
  type: null,
  status: null,
  ending: null,
  basis: null,
};

export const ALL_GROUPINGS = [
  "tenant",
  "key",
  "customer",
  "workflow",
  "label",
  "run",
  "step",
  "model",
  "upstream",
  "tool",
  "door",
  "type",
  "ending",
  "basis",
  "reason",
  "day",
  "week",
  "month",
] as const;
