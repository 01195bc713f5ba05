/** The shapes of the management API: what it takes and what it answers. Unknown members are refused. */
import { z } from "@hono/zod-openapi";

import { SCOPES } from "../core/caller.ts";
import {
  CONTEXT_FIELD_BYTES_MAX,
  LABELS_MAX,
  NAME_LENGTH_MAX,
  PAGE_ROWS_DEFAULT,
  PAGE_ROWS_MAX,
} from "../core/limits.ts";
import { KEY_TOOLS_MAX } from "../core/limits-tools.ts";
import { SCOPE_KINDS, UNITS, WINDOWS } from "../core/verdict.ts";
import { isExactNumber, sourceOf } from "../lib/exact-json.ts";

/** One line without control characters: the store cannot hold NUL, and a terminal obeys the others. */
export const line = (charsMax: number) =>
  z
    .string()
    .min(1)
    .max(charsMax)
    .regex(/^\P{C}+$/u, "one line without control characters");

/** Ids, and the runs that callers name themselves. */
export const Id = z
  .string()
  .regex(/^[\x21-\x7e]{1,256}$/, "1 to 256 visible ASCII characters without spaces")
  .openapi({ example: "key_01jd5h2q7vexample0000000000" });

/** What the context carriers of the model door take for a run: printable, no space at either end. */
export const RunId = z
  .string()
  .max(CONTEXT_FIELD_BYTES_MAX)
  .regex(/^[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?$/, "visible ASCII characters")
  .openapi({ example: "nightly-report-7" });

export const TenantRef = line(NAME_LENGTH_MAX).openapi({
  description:
    "Id or name of a tenant. A key implies its own; the installation's key must name one.",
});

export const Name = line(NAME_LENGTH_MAX).refine((name) => name.trim() === name, {
  error: "no space at either end",
});

const AMOUNT_ERROR = 'a decimal string such as "1.50", or a number';

/** An amount as it was written, never as a float read it. */
export const AmountText = z
  .union([z.string().max(64), z.number(), z.custom(isExactNumber)], { error: AMOUNT_ERROR })
  .transform((value) => (isExactNumber(value) ? sourceOf(value) : String(value)))
  .openapi({ type: ["string", "number"], example: "1.50", description: `Exact: ${AMOUNT_ERROR}.` });

/** The years that both this program and the database can write. */
const isOrdinary = (at: Date) => at.getUTCFullYear() >= 1970 && at.getUTCFullYear() < 9999;

/** The database reads no offset beyond these; no place has one beyond 14:00. */
const OFFSET_BEYOND = /[+-](?:1[6-9]|2\d):\d\d$/;

export const Moment = z.iso
  .datetime({ offset: true, error: "a time such as 2026-11-22T10:00:00Z" })
  .refine((text) => !OFFSET_BEYOND.test(text), { error: "a time with an offset below 16:00" })
  .refine((text) => isOrdinary(new Date(text)), { error: "a time between 1970 and 9998" });

export const DayOrMoment = z
  .union([z.iso.date(), Moment], { error: "a day such as 2026-11-22, or a time" })
  .refine((text) => isOrdinary(new Date(text)), { error: "a time between 1970 and 9998" });

export const Labels = z
  .record(line(64), line(CONTEXT_FIELD_BYTES_MAX))
  .refine((labels) => Object.keys(labels).length <= LABELS_MAX, {
    error: `at most ${LABELS_MAX} labels`,
  });

/** Of names as `server/tool`; a star stands for any characters. */
export const ToolGlobs = z
  .array(RunId)
  .max(KEY_TOOLS_MAX)
  .refine((globs) => new Set(globs).size === globs.length, { error: "each glob once" })
  .openapi({ example: ["files/*"] });

export const Customer = line(CONTEXT_FIELD_BYTES_MAX);
export const ModelName = line(CONTEXT_FIELD_BYTES_MAX);
export const Mode = z.enum(["strict", "tolerant"]);
export const Scopes = z
  .array(z.enum(SCOPES))
  .min(1, "at least one")
  .max(SCOPES.length)
  .refine((scopes) => new Set(scopes).size === scopes.length, { error: "each scope once" });

/** Which tenant is meant: members of a query, and of a body; and a query or body that says no more. */
export const Tenanted = { tenant: TenantRef.optional() };
export const TenantOnly = z.strictObject(Tenanted);

export const Paging = {
  cursor: RunId.optional().openapi({ description: "The `next` of the page before." }),
  limit: z
    .string()
    .regex(/^\d{1,4}$/, "a whole number")
    .transform(Number)
    .refine((rows) => rows >= 1 && rows <= PAGE_ROWS_MAX, { error: `1 to ${PAGE_ROWS_MAX}` })
    .optional()
    .openapi({
      type: "integer",
      description: `Rows of a page: ${PAGE_ROWS_DEFAULT} if absent, ${PAGE_ROWS_MAX} at most.`,
    }),
};

/** A member that may hold any JSON, or be absent. */
export function anyJson(description: string) {
  const type = ["object", "array", "string", "number", "boolean", "null"] as const;
  return z
    .unknown()
    .optional()
    .openapi({ type: [...type], description });
}

export const time = z.string().openapi({ format: "date-time" });
export const usd = z
  .string()
  .openapi({ example: "0.0004125", description: "Exact decimal, in USD." });
export const amount = z
  .union([z.string(), z.number()])
  .openapi({ description: "A decimal string for `usd`, a whole number otherwise." });

export function pageOf<Row extends z.ZodType>(row: Row) {
  return z.object({ data: z.array(row).readonly(), next: z.string().nullable() });
}

export const ErrorAnswer = z
  .object({
    error: z.object({
      message: z.string(),
      type: z.string(),
      param: z.string().nullable(),
      code: z.string().nullable(),
    }),
  })
  .openapi("Error");

export const Tenant = z
  .object({
    id: z.string(),
    name: z.string(),
    mode: Mode,
    derived_attempts_max: z.int().nullable(),
    run_share_percent: z.int().nullable(),
    usd_per_approval: usd.nullable().openapi({
      description: "What an answered question costs in people's time; null: it is not counted.",
    }),
    alert_percents: z.array(z.int()).readonly().openapi({
      description:
        "At which parts of a budget webhooks are told, in percent; none where it is empty.",
    }),
    created_at: time,
  })
  .openapi("Tenant");

const keyMembers = {
  id: z.string(),
  tenant: z.string(),
  name: z.string(),
  scopes: z.array(z.enum(SCOPES)).readonly(),
  labels: z.record(z.string(), z.string()).readonly(),
  tools: z.array(z.string()).readonly().nullable().openapi({
    description: "Globs of the tools behind the tool door that it may call; null: all.",
  }),
  active: z.boolean(),
  created_by: z.string(),
  created_at: time,
  expires_at: time.nullable(),
  revoked_at: time.nullable(),
  rotated_from: z.string().nullable(),
};

export const Key = z.object(keyMembers).openapi("Key");
export const IssuedKey = z
  .object({ ...keyMembers, key: z.string().openapi({ description: "Shown once, here." }) })
  .openapi("IssuedKey");

export const Self = z
  .object({
    kind: z.enum(["installation", "key"]),
    key: z.string().nullable(),
    tenant: z.object({ id: z.string(), name: z.string() }).nullable(),
    scopes: z.array(z.enum(SCOPES)).readonly(),
  })
  .openapi("Self");

export const ScopeKinds = z.enum(SCOPE_KINDS);
export const Units = z.enum(UNITS);
export const Windows = z.enum(WINDOWS);
export const LimitModes = z.enum(["enforce", "shadow"]);
export const OnExceed = z.enum(["refuse", "clamp"]);

const limitMembers = {
  id: z.string(),
  tenant: z.string(),
  scope: z.object({ kind: ScopeKinds, id: z.string().nullable() }),
  resource: z.string().nullable(),
  unit: Units,
  window: Windows,
  limit: amount,
  mode: LimitModes,
  on_exceed: OnExceed,
  time_zone: z.string(),
  created_at: time,
  removed_at: time.nullable(),
  subject: z.string().nullable(),
  committed: amount.nullable(),
  reserved: amount.nullable(),
  remaining: amount.nullable(),
  resets_at: time.nullable(),
};

export const notice = z
  .string()
  .nullable()
  .openapi({ description: "What the change means, if unexpected." });

export const Limit = z.object(limitMembers).openapi("Limit");
export const ChangedLimit = z.object({ ...limitMembers, notice }).openapi("ChangedLimit");

export const Event = z
  .object({
    id: z.string(),
    kind: z.string(),
    actor: z.string(),
    subject: z.string(),
    body: z.unknown(),
    happened_at: time,
  })
  .openapi("Event");
