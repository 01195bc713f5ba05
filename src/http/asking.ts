/** What a request at the model door asks for, read from its path, headers and body. */
import { InputError } from "../core/errors.ts";
import { NO_DEMAND, type IdempotencyAsked, type Intent } from "../core/intent.ts";
import {
  JSON_DEPTH_MAX,
  JSON_NUMBER_CHARS_MAX,
  KEYED_VALUES_MAX,
  MODEL_KEY_KEPT_MS,
  RESOURCE_CHARS_MAX,
} from "../core/limits.ts";
import type { ToldOutcome } from "../core/outcome.ts";
import type { Asked, Route } from "../dialects/dialect.ts";
import { defaultModel } from "../dialects/openai/classify.ts";
import { splitRunPrefix } from "../dialects/openai/path.ts";
import { findRoute, routeAt } from "../dialects/openai/routes.ts";
import { reachesStored } from "../dialects/openai/stored.ts";
import type { Gateway } from "../gate/gateway.ts";
import { canonicalJson, parseStrictJson } from "../lib/canonical-json.ts";
import { sha256Hex } from "../lib/hash.ts";
import { excessOf } from "../lib/json-bounds.ts";
import { clipped, decodeUtf8 } from "../lib/json.ts";
import { readCarriedOutcome } from "./carried-outcome.ts";
import { readClient, readContext, readIdempotency } from "./context.ts";
import type { Exchange } from "./exchange.ts";
import { readRequestBody, type BodyReaders, type RequestBody } from "./request-body.ts";

export type Asking = {
  readonly intent: Intent;
  readonly route: Route;
  readonly query: string;
  readonly asked: Asked | null;
  readonly body: RequestBody;
  /** What it says of its own run, to be recorded before it is admitted. */
  readonly outcome: ToldOutcome | null;
};

export type AskingReaders = BodyReaders & {
  /** Who answers a pass-through is OpenAI. */
  readonly isOpenAI: boolean;
};

/** Throws InputError for what cannot be understood, and Unavailable where there is no room to read it. */
export async function readAsking(
  exchange: Exchange,
  { isOpenAI, ...readers }: AskingReaders,
): Promise<Asking> {
  const at = exchange.url.indexOf("?");
  const whole = at < 0 ? exchange.url : exchange.url.slice(0, at);
  const { path, run, step } = splitRunPrefix(whole);
  const query = at < 0 ? "" : exchange.url.slice(at);
  const found = findRoute(exchange.method, path);
  if (found === null) {
    throw new InputError("unknown_url", null, `Unknown request URL: ${exchange.method} ${whole}.`);
  }
  const route = routeAt(found, isOpenAI);
  refuseWebSocket(exchange);
  if (route.billing === "metered") refuseOtherReadings(exchange, query);
  const body = await readRequestBody(exchange, route, readers);
  const { asked } = body;
  const { context, outcome } = readContext({
    exchange,
    pathRun: run,
    pathStep: step,
    metadata: asked?.metadata ?? {},
  });
  const model = route.pathModel ?? asked?.model ?? defaultModel(route);
  const resource = model ?? `${exchange.method} ${route.path}`;
  if (resource.length > RESOURCE_CHARS_MAX || /\p{Cc}/u.test(resource)) {
    const message = `A model's name is at most ${RESOURCE_CHARS_MAX} characters, without control characters.`;
    throw new InputError("invalid_value", "model", message);
  }
  const intent: Intent = {
    door: "model",
    operation: route.operation,
    billing: route.billing,
    resource,
    demand: asked?.demand ?? NO_DEMAND,
    stream: asked?.stream ?? false,
    reachesStored: reachesStored(exchange.method, found),
    inspect: body.inspect,
    inputDigest: body.digest,
    contentDigest: body.content,
    context,
    client: readClient(exchange),
    call: () => body.small,
    // No client can send the boundary of an earlier attempt again.
    ...(route.body === "multipart" ? { callDigest: body.content } : {}),
    tool: null,
    idempotency: idempotencyOf(exchange, route, { body, query }),
    effect: null,
    costStatedPicousd: null,
    act: null,
    leaseMs: null,
  };
  const told = outcome === null ? null : readCarriedOutcome(outcome, context.run);
  return { intent, route, query, asked, body, outcome: told };
}

/** Only what is metered is executed once under a key: the rest costs nothing, or its answer is not ours to keep. */
function idempotencyOf(
  exchange: Exchange,
  route: Route,
  { body, query }: { readonly body: RequestBody; readonly query: string },
): IdempotencyAsked | null {
  const asked = readIdempotency(exchange);
  if (asked === null || route.billing !== "metered") return null;
  const { operation, path, pathModel } = route;
  const content = sha256Hex(
    JSON.stringify([operation, path, pathModel, query, contentOf(route, body)]),
  );
  return { ...asked, content, keptMs: MODEL_KEY_KEPT_MS };
}

/**
 * The canonical form of a body, so that the same content in another order or spacing is the same. Of what is
 * no JSON, is ambiguous as JSON, or is too much to be read here again, its bytes, but for the space in it.
 */
export function contentOf(
  route: Route,
  { small, content, asked }: Pick<RequestBody, "small" | "content" | "asked">,
): string {
  const bytes = () => JSON.stringify([asked?.model, content]);
  const text = route.body !== "json" || small === null ? null : decodeUtf8(small);
  if (text === null || excessOf(text, KEYED_BOUNDS) !== null) return bytes();
  const read = parseStrictJson(text, JSON_DEPTH_MAX);
  return read.kind === "value" ? canonicalJson(read.value) : bytes();
}

const KEYED_BOUNDS = { valuesMax: KEYED_VALUES_MAX, numberCharsMax: JSON_NUMBER_CHARS_MAX };

/** A form is forwarded as the bytes that came, so the model in it must be the upstream's own name. */
export function refuseRenamedForm(gateway: Gateway, { intent, route }: Asking): void {
  if (route.body !== "multipart" || intent.billing !== "metered") return;
  const routed = gateway.authority.route(intent.resource);
  if (routed === null || routed.model === intent.resource) return;
  const message = `A form is not rewritten: name the model \`${routed.model}\`, as its upstream does.`;
  throw new InputError("invalid_value", "model", message);
}

/** Of a metered call: what its upstream could read otherwise than it is read here. */
function refuseOtherReadings({ rawHeaders }: Exchange, query: string): void {
  if (query !== "") refuseOtherQuery(query);
  let types = 0;
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i] ?? "";
    // What some servers make of an underscore in a name.
    if (name.length !== CONTENT_TYPE.length) continue;
    if (name.toLowerCase().replace("_", "-") === CONTENT_TYPE) types += 1;
  }
  if (types < 2) return;
  const message = "The header Content-Type stands there twice: servers differ in which they read.";
  throw new InputError("invalid_header", CONTENT_TYPE, message);
}

const CONTENT_TYPE = "content-type";

/** What clients put into the query of a metered call: Azure's alone. OpenAI's own routes of this kind have none. */
const QUERY_NAMES: ReadonlySet<string> = new Set(["api-version"]);

/** There are servers at which a member named in the query counts before the body, by which the call is judged. */
function refuseOtherQuery(query: string): void {
  // Some servers end a parameter at a semicolon, too.
  for (const name of new URLSearchParams(query.replaceAll(";", "&")).keys()) {
    if (QUERY_NAMES.has(name)) continue;
    const shown = clipped(name, PARAM_CHARS_MAX);
    const message = `The query parameter \`${shown}\` is not passed on, for a server could let it count before the body. Send what it says in the body.`;
    throw new InputError("invalid_value", shown, message);
  }
}

const PARAM_CHARS_MAX = 64;

function refuseWebSocket(exchange: Exchange): void {
  if (exchange.header("upgrade")?.toLowerCase() !== "websocket") return;
  throw new InputError(
    "websocket_unsupported",
    "upgrade",
    "Tollgate speaks HTTP here, not WebSocket: use the HTTP form of this request.",
  );
}
