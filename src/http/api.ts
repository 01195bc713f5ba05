/**
 * How a management route is made: what it takes, who may, what it answers, in one place. The order is
 * the same everywhere: who is it (401), may it (403), is the request well formed (400), of which
 * tenant (400, 404). Handlers see values that were checked, and the OpenAPI document is made of the
 * same schemas.
 */
import { type OpenAPIHono, z } from "@hono/zod-openapi";
import type { Context } from "hono";

import type { Administrator, Caller, Scope } from "../core/caller.ts";
import { InputError } from "../core/errors.ts";
import { IDEMPOTENCY_KEY_CHARS_MAX, PAGE_ROWS_DEFAULT } from "../core/limits.ts";
import { notFound, scopeMissing } from "../gate/acts.ts";
import type { Page } from "../ledger/paged.ts";
import type { Once } from "../gate/once.ts";
import { canonicalJson } from "../lib/canonical-json.ts";
import { isExactNumber } from "../lib/exact-json.ts";
import { assert } from "../lib/assert.ts";
import { sha256Hex } from "../lib/hash.ts";
import { isList, isRecord } from "../lib/json.ts";

import { check, readJson, readText } from "./api-body.ts";
import { readIdempotency } from "./context.ts";
import type { Env } from "./env.ts";
import { credentialOf } from "./identify.ts";
import { ErrorAnswer, TenantRef } from "./schemas.ts";

export type Api = OpenAPIHono<Env>;

type Params = z.ZodObject;

export type Route<P extends Params, Q extends Params, B extends Params, A extends z.ZodType> = {
  readonly method: "get" | "post" | "put" | "patch" | "delete";
  /** `/keys/{key}`, below `/api`. */
  readonly path: string;
  readonly summary: string;
  readonly description?: string;
  /** Any of these lets a key in; an empty list lets every key in. The installation's key may always. */
  readonly scopes: readonly Scope[];
  /** `one`: of one tenant, which a key implies and the installation's key names; `any`: it need not, and means all. */
  readonly tenancy: "one" | "any" | "installation";
  readonly params: P;
  readonly query: Q;
  /** Not read where the method has none: see `NONE`. */
  readonly body: B;
  /** The body is a text of one of these media, and no JSON: the schema sees `{media, text}`. */
  readonly takes?: readonly string[];
  /** Where it is not a form that people write. */
  readonly bodyBytesMax?: number;
  /** It changes nothing, though it is asked by POST: its answer is made anew and none is kept. */
  readonly reads?: true;
  readonly status: 200 | 201;
  /** Whether an answer tells of what was there before: then it is 200, and not 201. */
  readonly isRepeat?: (answer: z.input<A>) => boolean;
  readonly answer: A;
  /** What the answer is, where it is no JSON: the act then answers its text. */
  readonly media?: "application/x-ndjson";
  /** In what else it answers where it is asked to: the act then answers the response itself. */
  readonly alsoMedia?: readonly string[];
};

export type Asked<P, Q, B> = {
  readonly bindings: Env["Bindings"];
  readonly actor: Caller | Administrator;
  /** Empty for a route of the installation, and where all tenants are meant. */
  readonly tenantId: string;
  /** What the asker would like to read, as its header says. */
  readonly accept: string;
  readonly params: P;
  readonly query: Q;
  readonly body: B;
};

export function define<P extends Params, Q extends Params, B extends Params, A extends z.ZodType>(
  api: Api,
  route: Route<P, Q, B, A>,
  act: (asked: Asked<z.output<P>, z.output<Q>, z.output<B>>) => Promise<z.input<A> | Response>,
): void {
  describe(api, route);
  api.on(route.method.toUpperCase(), route.path.replaceAll(/\{(\w+)\}/g, ":$1"), async (c) => {
    await c.env.gateway.fresh();
    const actor = c.env.gateway.identify(credentialOf((name) => c.req.header(name)));
    c.set("caller", actor);
    refuseScopes(actor, route.scopes);
    const params = check(route.params, c.req.param());
    const query = check(route.query, queryOf(c));
    const body = check(route.body, hasBody(route) ? await readBody(c, route) : {});
    const tenantId = await tenantOf(c, { actor, tenancy: route.tenancy }, [params, query, body]);
    // What only reads may be asked again: a kept answer would be an old one, and takes room for a day.
    const idempotency = isRead(route) ? null : readIdempotency({ header: headerOf(c) });
    const accept = c.req.header("accept") ?? "";
    const asked = { bindings: c.env, actor, tenantId, accept, params, query, body };
    if (idempotency !== null) {
      const content = contentOf(c, actor, [query, body]);
      const once = await c.env.gateway.once(
        { tenantId, key: idempotency.key, content },
        async () => {
          const answer = await act(asked);
          assert(!(answer instanceof Response), "only what reads answers in other media");
          return { status: statusOf(route, answer), body: JSON.stringify(answer) };
        },
      );
      return repeatable(once);
    }
    const answer = await act(asked);
    if (answer instanceof Response) return answer;
    if (route.media !== undefined) {
      const headers = { "cache-control": "no-store", "content-type": route.media };
      return c.body(String(answer), route.status, headers);
    }
    return c.json(answer, statusOf(route, answer), { "cache-control": "no-store" });
  });
}

function readBody(
  { env: { exchange } }: Context<Env>,
  { takes, bodyBytesMax }: { readonly takes?: readonly string[]; readonly bodyBytesMax?: number },
): Promise<unknown> {
  return takes === undefined
    ? readJson(exchange, bodyBytesMax)
    : readText(exchange, takes, bodyBytesMax);
}

function statusOf<A extends z.ZodType>(
  { status, isRepeat }: Pick<Route<Params, Params, Params, A>, "status" | "isRepeat">,
  answer: z.input<A>,
): 200 | 201 {
  return isRepeat?.(answer) === true ? 200 : status;
}

function headerOf(c: Context<Env>): (name: string) => string | null {
  return (name) => c.req.header(name) ?? null;
}

/** What an idempotency key stands for: who asks, where, and for what. */
function contentOf(
  c: Context<Env>,
  actor: Caller | Administrator,
  asked: readonly unknown[],
): string {
  const who = "installation" in actor ? "" : actor.keyId;
  return sha256Hex(canonicalJson([who, c.req.method, c.req.path, withoutAbsent(asked)]));
}

/**
 * Without members that are there and undefined, which a schema leaves and JSON has not. A number that no float
 * holds stays what it is: to `JSON.stringify` it is \`{}\`, and 0.1 and 0.2 would be the same content.
 */
function withoutAbsent(value: unknown): unknown {
  if (isList(value)) return value.map(withoutAbsent);
  if (isExactNumber(value) || !isRecord(value)) return value;
  return Object.fromEntries(
    Object.entries(value).flatMap(([name, member]) =>
      member === undefined ? [] : [[name, withoutAbsent(member)] as const],
    ),
  );
}

function repeatable({ status, body, isRepeat }: Awaited<ReturnType<Once>>): Response {
  const headers = { "cache-control": "no-store", "content-type": "application/json" };
  const repeated = isRepeat ? { "idempotent-replayed": "true" } : {};
  return new Response(body, { status, headers: { ...headers, ...repeated } });
}

/** Of a route that takes no parameters of the kind. */
export const NONE = z.strictObject({});

/** Where a page begins and how many rows it has. */
export function pageOf(query: {
  readonly cursor?: string | undefined;
  readonly limit?: number | undefined;
}): Page {
  return { after: query.cursor ?? null, rows: query.limit ?? PAGE_ROWS_DEFAULT };
}

/** What was found, or 404. */
export function found<Value>(value: Value | null, what: string): Value {
  if (value === null) throw notFound(what, what);
  return value;
}

function hasBody(route: { readonly method: string }): boolean {
  return route.method !== "get" && route.method !== "delete";
}

function isRead(route: { readonly method: string; readonly reads?: true }): boolean {
  return route.method === "get" || route.reads === true;
}

function refuseScopes(actor: Caller | Administrator, scopes: readonly Scope[]): void {
  if ("installation" in actor || scopes.length === 0) return;
  if (!scopes.some((scope) => actor.scopes.includes(scope))) throw scopeMissing(scopes);
}

/** A parameter given twice is a mistake, for nobody can say which one was meant. */
function queryOf(c: Context<Env>): Readonly<Record<string, string>> {
  const query: Record<string, string> = {};
  for (const [name, values] of Object.entries(c.req.queries())) {
    const [value, ...more] = values;
    if (more.length > 0) throw new InputError("invalid_value", name, `'${name}' is given twice.`);
    query[name] = value ?? "";
  }
  return query;
}

/** A key's own tenant, whatever is named: another's does not exist for it. */
async function tenantOf(
  c: Context<Env>,
  of: {
    readonly actor: Caller | Administrator;
    readonly tenancy: "one" | "any" | "installation";
  },
  carriers: readonly unknown[],
): Promise<string> {
  const { actor, tenancy } = of;
  if (tenancy === "installation") return "";
  const named = new Set<string>();
  for (const carrier of carriers) {
    if (!isRecord(carrier) || carrier["tenant"] === undefined) continue;
    named.add(check(TenantRef, carrier["tenant"]));
  }
  const [name, ...more] = named;
  if (more.length > 0) {
    const message = "The path, the query and the body name different tenants.";
    throw new InputError("invalid_value", "tenant", message);
  }
  if (name === undefined) {
    if (!("installation" in actor)) return actor.tenantId;
    if (tenancy === "any") return "";
    const message = "The installation's key belongs to no tenant: name one with `tenant`.";
    throw new InputError("missing_required_parameter", "tenant", message);
  }
  if (!("installation" in actor) && name === actor.tenantId) return name;
  const tenant = found(await c.env.ledger.tenant(name), "tenant");
  if (!("installation" in actor) && tenant.id !== actor.tenantId)
    throw notFound("tenant", "tenant");
  return tenant.id;
}

/** Describes a route that is no form: it answers in its own statuses. */
export function describeDoor(
  api: Api,
  door: {
    readonly path: string;
    readonly summary: string;
    readonly description: string;
    readonly body: z.ZodObject;
  },
): void {
  const answer = (description: string) => ({
    description,
    content: { "application/json": { schema: z.looseObject({}) } },
  });
  api.openAPIRegistry.registerPath({
    method: "post",
    path: `/api${door.path}`,
    summary: door.summary,
    description: door.description,
    security: [{ key: [] }],
    request: { body: { content: { "application/json": { schema: door.body } } } },
    responses: {
      200: answer("It may run."),
      400: failure("The request is not valid; `param` names the member at fault."),
      401: failure("No key, or one that is unknown, revoked or expired."),
      402: answer("A budget or a retry budget is used up."),
      403: answer("A policy, the run's state or the key's scopes forbid it."),
      ...BODY_FAILURES,
      409: answer("Another attempt did the same, does it, or may have done it."),
      422: answer("The idempotency key belongs to other content."),
      429: answer("A rate, or what is in flight, leaves no room: try again."),
      503: AWAY,
    },
  });
}

function failure(description: string) {
  return { description, content: { "application/json": { schema: ErrorAnswer } } };
}

const IDEMPOTENT = z.object({
  "idempotency-key": z.string().max(IDEMPOTENCY_KEY_CHARS_MAX).optional().openapi({
    description: "Under it the act is done once, and its answer is given again for a day.",
  }),
});

const BODY_FAILURES = {
  408: failure("The body was begun and fell silent."),
  413: failure("The body is larger than what is taken here."),
  415: failure("The body is compressed, or of another type than is taken here."),
};

const AWAY = failure("The gate, or its database, takes nothing now: try again.");

function describe<P extends Params, Q extends Params, B extends Params, A extends z.ZodType>(
  api: Api,
  route: Route<P, Q, B, A>,
): void {
  api.openAPIRegistry.registerPath({
    method: route.method,
    path: `/api${route.path}`,
    summary: route.summary,
    ...(route.description === undefined ? {} : { description: route.description }),
    security: [{ key: [] }],
    request: {
      params: route.params,
      query: route.query,
      ...(isRead(route) ? {} : { headers: IDEMPOTENT }),
      ...(hasBody(route) ? { body: { content: contentsOf(route) } } : {}),
    },
    responses: {
      [route.status]: {
        description: route.summary,
        content: {
          [route.media ?? "application/json"]: { schema: route.answer },
          ...Object.fromEntries(
            (route.alsoMedia ?? []).map((media) => [media, { schema: z.string() }] as const),
          ),
        },
      },
      ...(route.isRepeat === undefined
        ? {}
        : {
            200: {
              description: "It was there before.",
              content: { "application/json": { schema: route.answer } },
            },
          }),
      400: failure("The request is not valid; `param` names the member at fault."),
      401: failure("No key, or one that is unknown, revoked or expired."),
      403: failure(scopesSentence(route.scopes)),
      404: failure("There is no such thing, or it is another tenant's."),
      ...(hasBody(route) ? BODY_FAILURES : {}),
      ...(route.method === "get"
        ? {}
        : { 409: failure("It contradicts what there is, or the same is still at work.") }),
      ...(isRead(route)
        ? {}
        : { 422: failure("The idempotency key belongs to a request with other content.") }),
      503: AWAY,
    },
  });
}

function contentsOf({
  takes,
  body,
}: Pick<Route<Params, Params, Params, z.ZodType>, "takes" | "body">) {
  if (takes === undefined) return { "application/json": { schema: body } };
  return Object.fromEntries(takes.map((media) => [media, { schema: z.string() }] as const));
}

function scopesSentence(scopes: readonly Scope[]): string {
  if (scopes.length === 0) return "The key may not do that.";
  return `The key lacks the scope for that: ${scopes.join(" or ")}.`;
}
