import { InputError } from "../../core/errors.ts";
import { NO_DEMAND, type Demand } from "../../core/intent.ts";
import {
  CHOICES_MAX,
  CONTEXT_FIELD_BYTES_MAX,
  JSON_CONTAINERS_MAX,
  JSON_DEPTH_MAX,
  JSON_MEMBERS_MAX,
} from "../../core/limits.ts";
import { unreachable } from "../../lib/assert.ts";
import { decodeUtf8, isList, isRecord, parseJson } from "../../lib/json.ts";
import type { Asked, Route } from "../dialect.ts";
import { imageDemand, speechDemand } from "./media.ts";
import {
  isGiven,
  readBoolean,
  readCount,
  readList,
  readObject,
  readText,
  wrongType,
} from "./fields.ts";
import { readMetadata } from "./metadata.ts";
import { scanMembers, shapeOf } from "./members.ts";
import type { Names } from "./members.ts";
import { countMembers, noteStoredItems, noteTools, walkParts } from "./parts.ts";
import type { Parts } from "./parts.ts";
import { noteUnbounded, readServiceTier } from "./unbounded.ts";

type Body = Readonly<Record<string, unknown>>;

/** Every top-level member that we read or edit: none may stand there twice, or in another case. */
const READ: Names = {
  model: true,
  models: true,
  stream: true,
  stream_options: true,
  max_tokens: true,
  max_completion_tokens: true,
  max_output_tokens: true,
  n: true,
  best_of: true,
  messages: true,
  input: true,
  prompt: true,
  instructions: true,
  tools: true,
  functions: true,
  modalities: true,
  metadata: true,
  service_tier: true,
  background: true,
  prediction: true,
  conversation: true,
  previous_response_id: true,
  context_management: true,
  web_search_options: true,
  search_parameters: true,
  data_sources: true,
  plugins: true,
  enable_search: true,
  web_search: true,
  search: true,
  extra_body: true,
  use_beam_search: true,
  images: true,
  prompt_embeds: true,
  deferred: true,
  preset: true,
  route: true,
  provider: true,
  fallbacks: true,
  chat_template: true,
  chat_template_kwargs: true,
  mm_processor_kwargs: true,
  media_io_kwargs: true,
  search_settings: true,
  search_options: true,
  compound_custom: true,
  enable_code_interpreter: true,
  connectors: true,
  mcp_servers: true,
  tool_resources: true,
  cached_content: true,
  size: true,
  quality: true,
};

/**
 * What a chat template adds to what the client wrote, in tokens. A byte-level tokenizer makes at most
 * one token of a byte, and the JSON around each message (`{"role":"user","content":""}`) is longer than
 * the four or five tokens that a template puts around it, so bytes bound the text. What bytes do not
 * bound are prompts of the provider's own: a system message of less than a hundred tokens for open models.
 */
const TEMPLATE_TOKENS_MAX = 256;

/** The prompt that explains tools: 83 tokens for gpt-5; others take some hundreds, so there is room. */
const TOOL_PROMPT_TOKENS_MAX = 1_024;

/** Prompts of one legacy completion, choices of one image request: beyond it a product could lose exactness. */
const PROMPTS_MAX = 1_000_000;

/**
 * The member that carries the output maximum of a route's body, to be inserted when the client gave none;
 * null where the wire has none, and only the model's own maximum bounds the output.
 */
export function outputField(route: Route): string | null {
  if (route.operation === "chat") return "max_completion_tokens";
  if (route.operation === "text_completion") return "max_tokens";
  return route.path === "/responses" ? "max_output_tokens" : null;
}

/**
 * The model that answers where a body names none, as OpenAI's API says; null where that hangs on more than the route
 * (of images on their other parameters, of a stored prompt on what is stored).
 */
export function defaultModel(route: Route): string | null {
  return route.operation === "moderation" ? "omni-moderation-latest" : null;
}

/**
 * Reads what a JSON body asks for and how much that could use at most.
 * Throws InputError where the body is no JSON object, says two things at once, or holds a value
 * of the wrong type in a member that a bound is built on.
 */
export function classify(route: Route, bytes: Uint8Array): Asked {
  const body = readBody(bytes);
  const model = readModel(route, body);
  const streams = readBoolean(body, "stream") ?? false;
  const options = readObject(body, "stream_options");
  const needsAsking = route.operation === "chat" || route.operation === "text_completion";
  return {
    model,
    // Speech is asked to stream by the form of its answer.
    stream: route.operation === "speech" ? body["stream_format"] === "sse" : streams,
    // Elsewhere usage comes unasked, and there is nothing to inject.
    wantsUsage: !needsAsking || options?.["include_usage"] === true,
    demand: demandOf(route, body, bytes.byteLength),
    metadata: readMetadata(body),
  };
}

/** Refuses what would take seconds and gigabytes to build, before any of it is built. */
function refuseShape(bytes: Uint8Array): void {
  const { widest, containers } = shapeOf(bytes, JSON_DEPTH_MAX);
  if (widest > JSON_MEMBERS_MAX) {
    const message = `An object in the JSON body has more than ${JSON_MEMBERS_MAX} members: send lists as arrays.`;
    throw new InputError("invalid_json", null, message);
  }
  if (containers > JSON_CONTAINERS_MAX) {
    const message = `The JSON body has more than ${JSON_CONTAINERS_MAX} objects and arrays.`;
    throw new InputError("invalid_json", null, message);
  }
}

/** Parses once. The scan goes first: it bounds the depth before anything is built, and finds doubled members. */
function readBody(bytes: Uint8Array): Body {
  const scan = scanMembers(bytes, 0, READ);
  if (scan.depth > JSON_DEPTH_MAX) {
    const message = `The JSON body is nested deeper than ${JSON_DEPTH_MAX} levels.`;
    throw new InputError("invalid_json", null, message);
  }
  if (bytes.byteLength > 4 * JSON_MEMBERS_MAX) refuseShape(bytes);
  const text = decodeUtf8(bytes);
  if (text === null) {
    throw new InputError(
      "invalid_json",
      null,
      "We could not parse the body of your request: it is not valid UTF-8.",
    );
  }
  const parsed = parseJson(text);
  if (parsed === null) {
    const message =
      "We could not parse the JSON body of your request. Send one JSON object, encoded as UTF-8.";
    throw new InputError("invalid_json", null, message);
  }
  if (!isRecord(parsed.value)) throw wrongType("body", "an object", parsed.value);
  const seen = new Set<string>();
  for (const { name, exact } of scan.found) {
    if (!exact) {
      const message = `Unrecognized request argument: '${name}' must be written in lower case.`;
      throw new InputError("unknown_parameter", name, message);
    }
    if (seen.has(name)) {
      const message = `Duplicate member '${name}': parsers differ on which one counts. Send it once.`;
      throw new InputError("invalid_json", name, message);
    }
    seen.add(name);
  }
  // Below the top a parser that takes the first of two `type` members sees a file where we see text.
  if (scan.colons !== countMembers(parsed.value)) {
    const message =
      "An object in the JSON body has the same member twice: parsers differ on which one counts. Send it once.";
    throw new InputError("invalid_json", null, message);
  }
  return parsed.value;
}

function readModel(route: Route, body: Body): string | null {
  const model = readText(body, "model");
  const length = model?.length ?? 1;
  // Half of a surrogate pair is no character: it could be told in no header and found in no price list.
  if (length === 0 || length > CONTEXT_FIELD_BYTES_MAX || model?.isWellFormed() === false) {
    const message = `Invalid value for 'model': expected the name of a model, of 1 to ${CONTEXT_FIELD_BYTES_MAX} characters.`;
    throw new InputError("invalid_value", "model", message);
  }
  // Azure's deployment stands in the path; what the body says of a model is ignored there, so it is here.
  if (route.pathModel !== null) return route.pathModel;
  if (model !== null) return model;
  const hasDefault =
    route.operation === "moderation" ||
    route.operation === "image_generation" ||
    (route.operation === "responses" && isGiven(body["prompt"]));
  if (hasDefault) return null;
  const message = "You must provide a 'model' parameter: the name of the model to call.";
  throw new InputError("missing_required_parameter", "model", message);
}

/** What it asks, whatever model it asks it of: which one that is, an alias or a policy may say. */
function demandOf(route: Route, body: Body, inputBytes: number): Demand {
  switch (route.operation) {
    case "chat":
    case "responses":
    case "text_completion":
      return textDemand(route, body, inputBytes);
    case "image_generation": {
      const demand = imageDemand(readCount(body, "n", 1, CHOICES_MAX) ?? 1, inputBytes);
      return { ...demand, ...counted(partsAnywhere(body)) };
    }
    case "speech":
      return speechDemand(readText(body, "input") ?? "", inputBytes);
    // Arrays of token numbers are bounded by bytes too: a number and its comma are two bytes or more.
    case "embeddings":
    case "moderation":
    case "transcription":
    case "pass_through": {
      const parts = partsAnywhere(body);
      noteUnbounded(body, parts.unbounded);
      return { ...NO_DEMAND, inputBytes, ...counted(parts) };
    }
    default:
      return unreachable(route.operation);
  }
}

/** Servers differ in the member that holds what is to be read: `input`, `messages`, `image`, `images`. */
function partsAnywhere(body: Body): Parts {
  const parts = emptyParts();
  walkParts(body, "body", parts);
  if (isGiven(body["images"])) parts.unbounded.add("images");
  return parts;
}

function emptyParts(): Parts {
  return { images: 0, audioInput: false, unbounded: new Set() };
}

function counted(parts: Parts): Pick<Demand, "images" | "audioInput" | "unbounded"> {
  return {
    images: parts.images,
    audioInput: parts.audioInput,
    unbounded: namesOf(parts.unbounded),
  };
}

/** What is told of what is unbounded stands in messages and records, so it is short whatever was asked. */
const UNBOUNDED_NAMES_MAX = 8;

function namesOf(unbounded: ReadonlySet<string>): readonly string[] {
  const names = [...unbounded];
  if (names.length <= UNBOUNDED_NAMES_MAX) return names;
  return [...names.slice(0, UNBOUNDED_NAMES_MAX), `+${names.length - UNBOUNDED_NAMES_MAX} more`];
}

function textDemand(route: Route, body: Body, inputBytes: number): Demand {
  const parts = emptyParts();
  readContent(route, body, parts);
  const tools = readList(body, "tools");
  if (tools !== null) noteTools(tools, parts);
  noteUnbounded(body, parts.unbounded);
  const modalities = readList(body, "modalities");
  const hasTools = isGiven(tools) || isGiven(body["functions"]) || isGiven(body["response_format"]);
  return {
    inputBytes: inputBytes + TEMPLATE_TOKENS_MAX + (hasTools ? TOOL_PROMPT_TOKENS_MAX : 0),
    audioOutput: modalities !== null && modalities.includes("audio"),
    outputTokensMax: readOutputMax(route, body),
    choices: readChoices(route, body),
    fixed: {},
    producesTokens: true,
    serviceTier: readServiceTier(body),
    ...counted(parts),
  };
}

function readContent(route: Route, body: Body, parts: Parts): void {
  if (route.operation === "chat") {
    walkParts(readList(body, "messages"), "messages", parts);
  } else if (route.operation === "responses") {
    const input = body["input"];
    if (input !== undefined && input !== null && typeof input !== "string" && !isList(input)) {
      throw wrongType("input", "a string or an array", input);
    }
    walkParts(input, "input", parts);
    walkParts(body["instructions"], "instructions", parts);
    noteStoredItems(input, parts);
  }
}

/**
 * The members that bound the output of a route. One that the route does not know is passed on and
 * ignored by the upstream, so it bounds nothing, however small it is.
 */
function obeyedLimits(route: Route): readonly string[] {
  const field = outputField(route);
  if (field === null) return [];
  return route.operation === "chat" ? [field, "max_tokens"] : [field];
}

/**
 * Of two limits that a route obeys the larger counts, because upstreams differ in which they heed.
 * Zero is an answer only of the legacy completions, where it scores a prompt without going on.
 */
function readOutputMax(route: Route, body: Body): number | null {
  const least = route.operation === "text_completion" ? 0 : 1;
  let most: number | null = null;
  for (const name of obeyedLimits(route)) {
    const value = readCount(body, name, least, Number.MAX_SAFE_INTEGER);
    if (value !== null && (most === null || value > most)) most = value;
  }
  return most;
}

/** A legacy completion answers each of its prompts with `best_of` candidates, all of them billed; others have both. */
function readChoices(route: Route, body: Body): number {
  const n = readCount(body, "n", 1, CHOICES_MAX) ?? 1;
  const best = readCount(body, "best_of", 1, CHOICES_MAX) ?? 1;
  // vLLM searches with that many beams, each as long as an answer.
  const each = isGiven(body["use_beam_search"]) ? n * best : Math.max(n, best);
  if (route.operation !== "text_completion") return each;
  const prompt = body["prompt"];
  const isBatch = isList(prompt) && typeof prompt[0] !== "number";
  const prompts = isBatch ? Math.max(1, prompt.length) : 1;
  if (prompts > PROMPTS_MAX) {
    const message = `Invalid value for 'prompt': expected at most ${PROMPTS_MAX} prompts.`;
    throw new InputError("invalid_value", "prompt", message);
  }
  return each * prompts;
}
