/** What the console reads of the API's answers about tools. */
import { z } from "zod";

const maybe = z.string().nullable();

const Approval = z.object({ quorum: z.number(), role: maybe }).nullable();

const Output = z.object({
  bytes_max: z.number().nullable(),
  rows_max: z.number().nullable(),
  block: z.array(z.string()),
  redact: z.array(z.string()),
});

const Operation = z.object({ type: z.string(), pointers: z.array(z.string()), mode: z.string() });

export const TOOL_STATES = [
  "callable",
  "observed",
  "undeclared",
  "quarantined",
  "not_listed",
  "own",
] as const;

export const Tool = z.object({
  name: z.string(),
  state: z.enum(TOOL_STATES),
  listed: z.object({ sha256: z.string(), since: z.string() }).nullable(),
  effect: maybe,
  price_usd: maybe,
  operation: Operation.nullable(),
  definition: maybe,
  approval: Approval,
  output: Output,
  trusted: z.boolean(),
  created_at: maybe,
});
export type Tool = z.output<typeof Tool>;

export const ToolDefinitions = z.object({
  approved: maybe,
  current: maybe,
  difference: z
    .object({
      lines: z.array(z.object({ path: z.string(), before: maybe, after: maybe })),
      more: z.number(),
    })
    .nullable(),
  data: z.array(
    z.object({
      sha256: z.string(),
      content: z.unknown(),
      is_current: z.boolean(),
      is_approved: z.boolean(),
      first_seen_at: z.string(),
    }),
  ),
  more: z.number(),
});
export type ToolDefinitions = z.output<typeof ToolDefinitions>;
