/** The members of `tollgate.yaml`, each with the sentence that says what it must be. */
import * as z from "zod";

import { InputError } from "../core/errors.ts";
import { ratePerMillion } from "../core/money.ts";
import { concurrencySchema, hourSchema } from "../core/price-file-schema.ts";
import type { UsageClass } from "../core/usage.ts";

/** Upstreams, and globs of one upstream: a lookup tries them one by one. */
export const UPSTREAMS_MAX = 64;
const GLOBS_MAX = 256;
/** MCP servers: each tenant has a connection of its own to each that it uses. */
const SERVERS_MAX = 64;
/** Tenants of one server. */
const SERVER_TENANTS_MAX = 1_000;
const ALIASES_MAX = 1_000;
const PRICES_MAX = 10_000;
const HEADERS_MAX = 32;

/** Model names are told in headers and rows: see CONTEXT_FIELD_BYTES_MAX. */
const MODEL = /^[\x21-\x7e]{1,256}$/;
const NAME = /^[a-z0-9](?:[a-z0-9_-]{0,61}[a-z0-9])?$/;
const HEADER_NAME = /^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}$/;
const HEADER_VALUE = /^[\x20-\x7e\t]{0,4096}$/;
const API_KEY = /^[\x21-\x7e]{1,4096}$/;
const DATE = /^\d{4}-\d{2}-\d{2}(?:T\d{2}:\d{2}:\d{2}Z)?$/;

/** An hour: a call that is silent for longer has been forgotten by everyone. */
const TIMEOUT_MS_MAX = 3_600_000;

/** Headers that belong to the connection or are made by the gateway. */
const OWN_HEADERS: ReadonlySet<string> = new Set([
  "accept-encoding",
  "connection",
  "content-encoding",
  "content-length",
  "expect",
  "host",
  "keep-alive",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
]);

/** The YAML word of a cached input token; the ledger calls it `cache_read`, and so may the file. */
export type RateKey = UsageClass | "cached_input";

export type UpstreamEntry = z.infer<ReturnType<typeof upstreamSchema>>;
export type ServerEntry = z.infer<ReturnType<typeof serverSchema>>;
export type PriceEntry = z.infer<ReturnType<typeof priceSchema>>;

/** The sections, each still unread: one broken entry must not hide the mistakes of another. */
export function rootSchema() {
  return z.strictObject(
    {
      upstreams: z.array(z.unknown(), list("of upstreams")).max(UPSTREAMS_MAX).nullish(),
      aliases: z.record(z.string(), z.unknown(), "an object: alias to model").nullish(),
      prices: z.array(z.unknown(), list("of prices")).max(PRICES_MAX).nullish(),
      mcp_servers: z.array(z.unknown(), list("of MCP servers")).max(SERVERS_MAX).nullish(),
      webhooks: z.unknown().optional(),
    },
    "an object with upstreams, aliases, prices, mcp_servers or webhooks",
  );
}

export function upstreamSchema() {
  return z.strictObject(
    {
      name: matching(NAME, "1 to 63 lowercase letters, digits, - or _"),
      kind: z.enum(["openai"], "openai (the wire it speaks)"),
      base_url: z.string("a URL in text").superRefine((text, context) => {
        const wrong = wrongBaseUrl(text, "api_key");
        if (wrong !== null) context.addIssue({ code: "custom", message: wrong });
      }),
      api_key: matching(
        API_KEY,
        "a key in printable ASCII without spaces, as ${OPENAI_API_KEY}",
      ).nullish(),
      models: z
        .array(matching(MODEL, 'a glob in quotes, as "gpt-*"'), list('of globs, as ["gpt-*"]'))
        .max(GLOBS_MAX, `at most ${GLOBS_MAX} globs`),
      headers: z
        .record(z.string(), z.string("text: put it in quotes"), "an object: name to text")
        .nullish(),
      timeout_ms: z
        .int("whole milliseconds, as 600000")
        .min(1, "at least 1 millisecond")
        .max(TIMEOUT_MS_MAX, `at most ${TIMEOUT_MS_MAX} (one hour)`)
        .nullish(),
      output_limit_field: z
        .enum(["max_completion_tokens", "max_tokens"], "max_completion_tokens or max_tokens")
        .nullish(),
      prices: z.string("the name of a provider, as openai").nullish(),
      shared_objects: z.boolean("true or false").nullish(),
    },
    "an object with name, kind, base_url and models",
  );
}

export function serverSchema() {
  return z.strictObject(
    {
      name: matching(NAME, "1 to 63 lowercase letters, digits, - or _"),
      url: z.string("a URL in text").superRefine((text, context) => {
        const wrong = wrongBaseUrl(text, "headers");
        if (wrong !== null) context.addIssue({ code: "custom", message: wrong });
      }),
      headers: z
        .record(z.string(), z.string("text: put it in quotes"), "an object: name to text")
        .nullish(),
      tenants: z
        .array(z.string("the id or the name of a tenant"), list("of tenants, as [default]"))
        .min(1, "at least one tenant: leave it away for all")
        .max(SERVER_TENANTS_MAX, `at most ${SERVER_TENANTS_MAX} tenants`)
        .nullish(),
      unknown_tools: z.enum(["refuse", "observe"], "refuse or observe").nullish(),
      timeout_ms: z
        .int("whole milliseconds, as 60000")
        .min(1, "at least 1 millisecond")
        .max(TIMEOUT_MS_MAX, `at most ${TIMEOUT_MS_MAX} (one hour)`)
        .nullish(),
    },
    "an object with name and url",
  );
}

export function webhooksSchema() {
  return z.strictObject(
    { allow_private: z.boolean("true or false").nullish() },
    "an object with allow_private",
  );
}

export function aliasSchema() {
  return matching(MODEL, "the model it stands for, as openai/gpt-5-mini");
}

export function isModelName(text: string): boolean {
  return MODEL.test(text);
}

export function areTooManyAliases(count: number): boolean {
  return count > ALIASES_MAX;
}

export function priceSchema() {
  const tokens = z.int("a whole number of tokens").min(1, "at least 1").nullish();
  return z.strictObject(
    {
      upstream: z.string("the name of a configured upstream"),
      model: matching(MODEL, "the model's name"),
      usd_per_hour: hourSchema().optional(),
      concurrency: concurrencySchema().optional(),
      from: z.string("a date").refine(isDate, "a date in UTC, as 2026-01-31").nullish(),
      context_tokens_max: tokens,
      output_tokens_max: tokens,
      ...rateShape(),
    },
    "an object with upstream, model, and input and output or usd_per_hour",
  );
}

/** Typed so that a new class of usage does not compile until the file can price it. */
function rateShape() {
  const rate = z
    .string("USD per million units, as 2.50")
    .refine(isRate, "USD per million units, as 2.50: not negative, at most 6 decimals")
    .optional();
  return {
    input: rate,
    cached_input: rate,
    cache_read: rate,
    cache_write_5m: rate,
    cache_write_1h: rate,
    output: rate,
    reasoning: rate,
    audio_input: rate,
    audio_output: rate,
    image_input: rate,
    image_output: rate,
    images: rate,
    seconds: rate,
    characters: rate,
    requests: rate,
  } satisfies Record<RateKey, typeof rate>;
}

/** What is wrong with a header to be sent upstream, or null. */
export function wrongHeaders(headers: Readonly<Record<string, string>>): [string, string] | null {
  const names = Object.keys(headers);
  if (names.length > HEADERS_MAX) return ["", `at most ${HEADERS_MAX} headers`];
  const seen = new Set<string>();
  for (const name of names) {
    const lower = name.toLowerCase();
    if (!HEADER_NAME.test(name)) return [name, "not the name of a header"];
    if (seen.has(lower)) return [name, "this header stands twice: remove one"];
    if (OWN_HEADERS.has(lower)) return [name, "this header is made by the gateway: remove it"];
    if (lower.startsWith("tollgate-")) return [name, "Tollgate-* headers stay here: remove it"];
    if (!HEADER_VALUE.test(headers[name] ?? ""))
      return [name, "must be printable ASCII in one line"];
    seen.add(lower);
  }
  return null;
}

/** Says what is wrong and never repeats the URL, which may hold a password. */
function wrongBaseUrl(text: string, place: "api_key" | "headers"): string | null {
  const url = /[\s\\]/.test(text) ? null : URL.parse(text);
  if (url === null)
    return place === "api_key"
      ? "an absolute URL, as https://api.openai.com/v1"
      : "an absolute URL, as http://127.0.0.1:3001/mcp";
  if (url.protocol !== "https:" && url.protocol !== "http:") return "an http or https URL";
  if (url.username !== "" || url.password !== "" || text.includes("@")) {
    return `a URL without user and password: use ${place}`;
  }
  if (text.includes("?")) return "a URL without a query: use headers for fixed parameters";
  if (text.includes("#")) return "a URL without a fragment: remove # and what follows";
  return null;
}

function isRate(text: string): boolean {
  try {
    return ratePerMillion(text) >= 0n;
  } catch (error) {
    if (error instanceof InputError) return false;
    throw error;
  }
}

/** Days that no month has are taken for the next month by `Date`, so the text must survive it. */
function isDate(text: string): boolean {
  const date = new Date(text);
  if (!DATE.test(text) || Number.isNaN(date.getTime())) return false;
  return date.toISOString().startsWith(text.slice(0, 19).replace(/Z$/, ""));
}

function matching(pattern: RegExp, what: string) {
  return z.string(what).regex(pattern, what);
}

function list(what: string): string {
  return `a list ${what}`;
}
