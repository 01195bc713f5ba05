import { InputError } from "../../core/errors.ts";
import type { Billing, Operation } from "../../core/intent.ts";
import { CONTEXT_FIELD_BYTES_MAX } from "../../core/limits.ts";
import { decodePercent } from "../../lib/json.ts";
import type { Route } from "../dialect.ts";
import { safeSegments } from "./path.ts";

/** A route by method and path alone: whether it is free may hang on who answers, see `routeAt`. */
export type FoundRoute = Route & {
  /**
   * Of what is stored at a provider, where it is free: at every provider that has it, at OpenAI alone, or nowhere (an act
   * that OpenAI does not have). Null of everything else.
   */
  readonly freeAt: "anywhere" | "openai" | "nowhere" | null;
};

/**
 * One row of the route table. `{id}` stands for one plain segment, `{conv_}` for an id that begins so, a final `/**` for
 * any number of plain segments.
 */
export type RouteRow = {
  readonly method: "GET" | "POST" | "DELETE" | "PUT" | "PATCH" | "ANY";
  readonly pattern: string;
  readonly operation: Operation;
  readonly billing: Billing;
  /** Of what is free only where OpenAI answers: elsewhere the same path may run a model, and is `deferred`. */
  readonly freeAt: FoundRoute["freeAt"];
  readonly body: Route["body"];
  /** Why it has this billing, where that is not plain. */
  readonly why: string;
};

/**
 * Every path of the wire that we know; the first row that matches counts. What stands here as `free`
 * passes a zero budget, so it must cost nothing by itself: where a provider's price is unclear, the row
 * is `deferred`. A path in no row is `unknown`, and the tenant's policy decides.
 *
 * What is posted to a name may be an act there: `/threads/{id}/runs/stream` runs a graph at one server,
 * `/chat/completions/batch` a batch of prompts at another. So where a free POST ends with an id, it is of the shape of
 * OpenAI's own; and what OpenAI only stores others answer with a model (`/conversations` at Mistral starts one).
 */
export const ROUTES: readonly RouteRow[] = [
  metered("/chat/completions", "chat", "json"),
  metered("/responses", "responses", "json"),
  metered("/embeddings", "embeddings", "json"),
  metered("/completions", "text_completion", "json"),
  metered("/responses/compact", "responses", "json"),
  metered("/images/generations", "image_generation", "json"),
  metered("/images/edits", "image_generation", "multipart"),
  metered("/images/variations", "image_generation", "multipart"),
  metered("/audio/speech", "speech", "json"),
  metered("/audio/transcriptions", "transcription", "multipart"),
  metered("/audio/translations", "transcription", "multipart"),
  metered("/moderations", "moderation", "json"),

  deferred("POST", "/batches", "the batch is billed when it runs"),
  deferred("POST", "/fine_tuning/jobs", "training is billed when it runs"),
  deferred("POST", "/fine_tuning/jobs/{id}/resume", "training goes on and is billed"),
  deferred("POST", "/fine_tuning/alpha/graders/run", "a grader may call a model"),
  deferred("POST", "/videos", "a video is billed when it is done"),
  deferred("POST", "/videos/**", "remixes, edits, extensions are new videos"),
  deferred("ANY", "/realtime/**", "the media bypasses us, and so does its usage"),
  deferred("ANY", "/live/**", "the media bypasses us, and so does its usage"),
  deferred("GET", "/responses", "a WebSocket: its turns are billed on the socket"),
  deferred("POST", "/containers", "a container is billed by time"),
  deferred("POST", "/containers/**", "a file put in keeps the container alive"),
  deferred("POST", "/vector_stores", "storage and its embedding are billed by the day"),
  deferred("POST", "/vector_stores/{id}/search", "a search may be billed by the call"),
  deferred("POST", "/vector_stores/{id}/files", "storage and its embedding are billed by the day"),
  deferred("POST", "/vector_stores/{id}/file_batches", "storage is billed by the day"),
  deferred("POST", "/evals/{id}/runs", "an evaluation calls models"),
  deferred("POST", "/threads/runs", "an assistant calls models"),
  deferred("POST", "/threads/{id}/runs", "an assistant calls models"),
  deferred("POST", "/threads/{id}/runs/{id}/submit_tool_outputs", "an assistant calls models"),
  deferred("POST", "/chatkit/sessions", "the session's calls bypass us"),

  free("POST", "/responses/input_tokens", "counts tokens, calls no model"),
  free("POST", "/responses/{id}/cancel", "stops work"),
  // The usage such an answer shows belongs to the call that created it, which was charged for it: charging
  // a poll would count it once more for each poll.
  free("GET", "/responses/{id}/**", "reads what was paid for"),
  free("DELETE", "/responses/{id}", "deletes"),
  free("GET", "/chat/completions/**", "reads stored completions"),
  freeAtOpenAI("/chat/completions/{chatcmpl-}", "changes metadata of a stored completion"),
  free("DELETE", "/chat/completions/{id}", "deletes"),
  free("GET", "/models/**", "lists"),
  free("DELETE", "/models/**", "deletes a fine-tune"),
  free("GET", "/batches/**", "lists"),
  free("POST", "/batches/{id}/cancel", "stops work"),
  free("GET", "/fine_tuning/**", "lists"),
  free("POST", "/fine_tuning/jobs/{id}/cancel", "stops work"),
  free("POST", "/fine_tuning/jobs/{id}/pause", "stops work"),
  freeAtOpenAI("/fine_tuning/alpha/graders/validate", "checks a definition"),
  free("GET", "/videos/**", "reads what was paid for"),
  free("DELETE", "/videos/{id}", "deletes"),
  free("GET", "/files/**", "lists"),
  free("POST", "/files", "storing a file is not billed"),
  free("DELETE", "/files/{id}", "deletes"),
  free("POST", "/uploads", "storing a file is not billed"),
  free("POST", "/uploads/{id}/parts", "storing a file is not billed"),
  free("POST", "/uploads/{id}/complete", "storing a file is not billed"),
  free("POST", "/uploads/{id}/cancel", "stops work"),
  free("GET", "/vector_stores/**", "lists"),
  free("POST", "/vector_stores/{vs_}", "renames; what it stores was admitted when it was put in"),
  free("POST", "/vector_stores/{vs_}/files/{file-}", "changes attributes"),
  free("POST", "/vector_stores/{vs_}/files/{assistant-}", "the same: Azure's ids of files"),
  free("POST", "/vector_stores/{id}/file_batches/{id}/cancel", "stops work"),
  free("DELETE", "/vector_stores/**", "deletes"),
  free("GET", "/conversations/**", "lists"),
  // The items become input of later calls, and are refused there as context that nobody bounds.
  freeAtOpenAI("/conversations", "storing items is not billed"),
  freeAtOpenAI("/conversations/{conv_}", "changes metadata"),
  freeAtOpenAI("/conversations/{conv_}/items", "storing items is not billed"),
  free("DELETE", "/conversations/**", "deletes"),
  free("GET", "/containers/**", "lists"),
  free("DELETE", "/containers/**", "deletes"),
  free("GET", "/evals/**", "lists"),
  freeAtOpenAI("/evals", "stores a definition"),
  freeAtOpenAI("/evals/{eval_}", "changes a definition"),
  freeAtOpenAI("/evals/{eval_}/runs/{evalrun_}", "stops work"),
  free("DELETE", "/evals/**", "deletes"),
  free("GET", "/assistants/**", "lists"),
  freeAtOpenAI("/assistants", "stores a definition"),
  freeAtOpenAI("/assistants/{asst_}", "changes a definition"),
  free("DELETE", "/assistants/{id}", "deletes"),
  free("GET", "/threads/**", "lists"),
  freeAtOpenAI("/threads", "storing messages is not billed"),
  freeAtOpenAI("/threads/{thread_}", "changes metadata"),
  freeAtOpenAI("/threads/{thread_}/messages", "storing messages is not billed"),
  freeAtOpenAI("/threads/{thread_}/messages/{msg_}", "changes metadata"),
  freeAtOpenAI("/threads/{thread_}/runs/{run_}", "changes metadata"),
  free("POST", "/threads/{id}/runs/{run_}/cancel", "stops work"),
  free("DELETE", "/threads/**", "deletes"),

  // Acts that OpenAI does not have, on what it stores.
  actElsewhere("/chat/completions/**", "vLLM answers a batch of prompts"),
  actElsewhere("/conversations/**", "Mistral appends to a conversation, or starts it anew"),
  actElsewhere("/threads/**", "LangGraph runs a graph"),
  actElsewhere("/assistants/**", "may run an assistant"),
  actElsewhere("/evals/**", "may run an evaluation"),
  actElsewhere("/vector_stores/**", "may embed or search"),
  actElsewhere("/uploads/**", "may read what was uploaded"),
];

/** Paths of administration: a key that may call models has no business there, whatever the upstream's key may do. */
export const FORBIDDEN_ROOTS: readonly string[] = ["organization", "projects"];

/** Methods that carry API calls; the rest (CONNECT, TRACE, OPTIONS) reach no upstream. */
const METHODS: ReadonlySet<string> = new Set(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]);

function metered(pattern: string, operation: Operation, body: Route["body"]): RouteRow {
  const terms = { billing: "metered", freeAt: null, body, why: "its answer says" } as const;
  return { method: "POST", pattern, operation, ...terms };
}

function deferred(method: RouteRow["method"], pattern: string, why: string): RouteRow {
  return passing(method, pattern, { billing: "deferred", freeAt: null, why });
}

function free(method: RouteRow["method"], pattern: string, why: string): RouteRow {
  return passing(method, pattern, { billing: "free", freeAt: "anywhere", why });
}

function freeAtOpenAI(pattern: string, why: string): RouteRow {
  return passing("POST", pattern, { billing: "free", freeAt: "openai", why });
}

function actElsewhere(pattern: string, why: string): RouteRow {
  return passing("POST", pattern, { billing: "deferred", freeAt: "nowhere", why });
}

function passing(
  method: RouteRow["method"],
  pattern: string,
  terms: Pick<RouteRow, "billing" | "freeAt" | "why">,
): RouteRow {
  return { method, pattern, operation: "pass_through", body: "none", ...terms };
}

/** The route where that provider answers: what is free only at OpenAI starts work of unknown cost elsewhere. */
export function routeAt({ freeAt, ...route }: FoundRoute, isOpenAI: boolean): Route {
  return freeAt === "openai" && !isOpenAI ? { ...route, billing: "deferred" } : route;
}

/**
 * The route of a request by method and path (the path without query and without run prefix).
 * Null where there is nothing to forward: no path below the base URL, or a method that is no API call.
 * Throws InputError `forbidden` for administration, `invalid_value` for a path not safe to forward.
 */
export function findRoute(method: string, path: string): FoundRoute | null {
  if (method === "POST") {
    const plain = path.startsWith("/v1/") ? path.slice(3) : path;
    for (const row of ROUTES) {
      if (row.billing !== "metered") break;
      if (row.pattern === plain) return routeOf(row, plain, null);
    }
  }
  if (!METHODS.has(method)) return null;
  const { segments: all, doubledStart } = safeSegments(path);
  refuseAdministration(all);
  const { segments, pathModel } = cutBase(all);
  if (segments.length === 0) return null;
  const clean = `/${segments.join("/")}`;
  const asked = method === "HEAD" ? "GET" : method;
  for (const row of ROUTES) {
    if (row.method !== asked && row.method !== "ANY") continue;
    if (matches(row.pattern, clean, segments)) return routeOf(row, clean, pathModel);
  }
  // A doubled slash is the mark of a base URL with a trailing slash before a path that we know; before
  // one that we do not, it may as well be the start of an authority.
  if (doubledStart) {
    throw new InputError(
      "invalid_value",
      "path",
      "The path of the request begins with two slashes.",
    );
  }
  const unknown = { operation: "pass_through", billing: "unknown", freeAt: null } as const;
  return { ...unknown, path: clean, body: "none", pathModel };
}

function routeOf(row: RouteRow, path: string, pathModel: string | null): FoundRoute {
  const { operation, billing, freeAt, body } = row;
  return { operation, billing, freeAt, path, body, pathModel };
}

function matches(pattern: string, clean: string, segments: readonly string[]): boolean {
  if (pattern === clean) return true;
  if (!pattern.includes("{") && !pattern.endsWith("/**")) return false;
  const parts = pattern.slice(1).split("/");
  const open = parts.at(-1) === "**";
  if (open) parts.pop();
  if (open ? segments.length < parts.length : segments.length !== parts.length) return false;
  return segments.every((segment, index) => {
    const part = parts[index];
    if (part === undefined || part === "{id}") return isPlain(segment);
    return part.startsWith("{") ? isIdOf(part.slice(1, -1), segment) : part === segment;
  });
}

function isIdOf(prefix: string, segment: string): boolean {
  const id = decodePercent(segment) ?? "";
  return id.startsWith(prefix) && /^[A-Za-z0-9_-]+$/.test(id.slice(prefix.length));
}

/**
 * Whether a segment is an id or a name to every server. One that holds a slash, a question mark or a
 * semicolon once it is decoded may be another path to the upstream than the one that was judged here.
 */
function isPlain(segment: string): boolean {
  return /^[A-Za-z0-9_.:~-]+$/.test(decodePercent(segment) ?? "");
}

/** Cuts `/v1`, `/openai/v1`, `/openai` and Azure's `/openai/deployments/{d}`, which names the model. */
function cutBase(all: readonly string[]): {
  segments: readonly string[];
  pathModel: string | null;
} {
  if (all[0] === "v1") return { segments: all.slice(1), pathModel: null };
  if (all[0] !== "openai") return { segments: all, pathModel: null };
  if (all[1] === "v1") return { segments: all.slice(2), pathModel: null };
  const deployment = all[2];
  if (all[1] !== "deployments" || deployment === undefined || all.length < 4) {
    return { segments: all.slice(1), pathModel: null };
  }
  const pathModel = decodePercent(deployment);
  if (pathModel === null || pathModel.length > CONTEXT_FIELD_BYTES_MAX) {
    throw new InputError(
      "invalid_value",
      "path",
      "The deployment in the path is not a model name.",
    );
  }
  return { segments: all.slice(3), pathModel };
}

/** Compared decoded and in one case, behind any number of base segments: an upstream may read them so too. */
function refuseAdministration(segments: readonly string[]): void {
  for (const segment of segments) {
    const name = (decodePercent(segment) ?? segment).toLowerCase().split(/[/;]/, 1)[0] ?? "";
    if (FORBIDDEN_ROOTS.includes(name)) {
      const message =
        "Administration of organizations and projects is not open through this gateway.";
      throw new InputError("forbidden", "path", message);
    }
    if (name !== "v1" && name !== "openai") return;
  }
}
