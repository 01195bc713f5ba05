/** What the console reads of the reports' answers. */
import { z } from "zod";

const outcomeSums = {
  outcomes: z.object({
    success: z.number(),
    failure: z.number(),
    partial: z.number(),
    reversed: z.number(),
  }),
  cost_per_success_usd: z.string().nullable(),
  cost_usd: z.string(),
  cost_of_failures_usd: z.string(),
  waste_usd: z.string(),
  unpriced: z.number(),
  open: z.number(),
  is_floor: z.boolean(),
  value_usd: z.string().nullable(),
  margin_usd: z.string().nullable(),
};

const OutcomeRow = z.object({
  groups: z.record(z.string(), z.string().nullable()),
  ...outcomeSums,
});
export type OutcomeRow = z.output<typeof OutcomeRow>;

export const CostPerOutcome = z.object({
  as_of: z.string(),
  closed: z.string().nullable(),
  rows: z.array(OutcomeRow),
  rows_left_off: z.number(),
  total: z.object(outcomeSums),
  runs_without_outcome: z.number(),
  unattributed_usd: z.string(),
});
export type CostPerOutcome = z.output<typeof CostPerOutcome>;

export const ToolCosts = z.object({
  rows: z.array(
    z.object({
      groups: z.object({ tool: z.string().nullable() }),
      attempts: z.number(),
      blocked: z.number(),
      retries: z.number(),
      failed: z.number(),
      cost_usd: z.string(),
      waste_usd: z.string(),
    }),
  ),
  rows_left_off: z.number(),
});
export type ToolCosts = z.output<typeof ToolCosts>;

const RunCost = z.object({
  run: z.string(),
  workflow: z.string().nullable(),
  started_at: z.string(),
  cost_usd: z.string(),
  waste_usd: z.string(),
  attempts: z.number(),
  blocked: z.number(),
  unpriced: z.number(),
  outcome: z.array(z.object({ type: z.string(), status: z.string() })),
});
export type RunCost = z.output<typeof RunCost>;

export const RunCosts = z.object({ rows: z.array(RunCost) });
export type RunCosts = z.output<typeof RunCosts>;

export const Reconciled = z.object({
  upstreams: z.array(
    z.object({
      upstream: z.string(),
      days: z.number(),
      reconciled_days: z.number(),
      differing_days: z.number(),
    }),
  ),
});
export type Reconciled = z.output<typeof Reconciled>;

export const Budgets = z.object({
  rows: z.array(
    z.object({
      limit_id: z.string(),
      forecast: z.union([z.string(), z.number()]).nullable(),
      exhausted_at: z.string().nullable(),
      starts_at: z.string().nullable(),
      resets_at: z.string().nullable(),
    }),
  ),
});
export type Budgets = z.output<typeof Budgets>;
