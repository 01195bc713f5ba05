import type { Encoding } from "../../core/token-runs.ts";
import { isList, isRecord } from "../../lib/json.ts";
import type { Route } from "../dialect.ts";

/** Texts to count, and what the wire adds to them: the tokens of a request are about Σ count(texts) + overhead. */
export type Countable = { readonly texts: readonly string[]; readonly overhead: number };

type Body = Readonly<Record<string, unknown>>;

/** Models of the older vocabulary. Longest first does not matter: the exceptions stand in `NEWER`. */
const OLDER = [
  "gpt-4",
  "gpt-3.5",
  "gpt-35",
  "text-embedding-3",
  "text-embedding-ada-002",
  "davinci-002",
  "babbage-002",
];

/** Models whose names begin like older ones, but whose vocabulary is the newer one. */
const NEWER = ["gpt-4o", "gpt-4.1", "gpt-4.5", "gpt-41", "gpt-45"];

/** The vocabulary of a model by its name, with or without an upstream or `ft:` before it; the newest where unknown. */
export function encodingFor(model: string): Encoding {
  const name = model.slice(model.lastIndexOf("/") + 1).toLowerCase();
  const base = name.startsWith("ft:") ? name.slice(3) : name;
  if (NEWER.some((prefix) => base.startsWith(prefix))) return "o200k_base";
  return OLDER.some((prefix) => base.startsWith(prefix)) ? "cl100k_base" : "o200k_base";
}

/** Each message is wrapped in four tokens; a name costs one beside its own. */
const MESSAGE_TOKENS = 4;
const NAME_TOKENS = 1;

/** Every answer is primed with three. */
const PRIMING_TOKENS = 3;

/** What D2 of the wire notes adds for tools: their JSON counted as text, and the prompt that explains them. */
const TOOLS_TOKENS = 90;

/** A prefix long enough to tell what the data is; the rest of a data URL is never text to the model. */
const DATA_URL_KEPT = 32;

/**
 * What to count of a parsed body so that the prompt's tokens are known as closely as the provider tells them:
 * exact for most chats of text, above it for tools and for parts that are no text (images are not counted).
 */
export function countable(route: Route, body: unknown): Countable {
  if (!isRecord(body)) return { texts: [], overhead: 0 };
  const texts: string[] = [];
  let overhead = 0;
  if (route.operation === "chat") {
    overhead = PRIMING_TOKENS + messagesText(body["messages"], texts);
  } else if (route.operation === "responses") {
    overhead = PRIMING_TOKENS + inputText(body["input"], texts);
    if (typeof body["instructions"] === "string") {
      texts.push(body["instructions"]);
      overhead += MESSAGE_TOKENS;
    }
  } else {
    overhead = plainText(body["prompt"] ?? body["input"], texts);
  }
  overhead += toolsText(body, texts);
  return { texts, overhead };
}

/** The texts of a chat's messages; answers the tokens that the template puts around them. */
export function messagesText(messages: unknown, texts: string[]): number {
  if (!isList(messages)) return 0;
  let overhead = 0;
  for (const message of messages) {
    if (!isRecord(message)) continue;
    overhead += MESSAGE_TOKENS;
    contentText(message["content"], texts);
    if (typeof message["name"] === "string") {
      texts.push(message["name"]);
      overhead += NAME_TOKENS;
    }
    for (const name of ["tool_calls", "function_call", "reasoning_content"]) {
      const value = message[name];
      if (value !== undefined && value !== null) texts.push(jsonText(value));
    }
  }
  return overhead;
}

function inputText(input: unknown, texts: string[]): number {
  if (typeof input === "string") {
    texts.push(input);
    return MESSAGE_TOKENS;
  }
  if (!isList(input)) return 0;
  for (const item of input) {
    if (!isRecord(item)) continue;
    if (item["content"] === undefined) texts.push(jsonText(item));
    else contentText(item["content"], texts);
  }
  return MESSAGE_TOKENS * input.length;
}

function contentText(content: unknown, texts: string[]): void {
  if (typeof content === "string") texts.push(content);
  if (!isList(content)) return;
  for (const part of content) {
    if (!isRecord(part)) continue;
    if (typeof part["text"] === "string") texts.push(part["text"]);
    else if (typeof part["refusal"] === "string") texts.push(part["refusal"]);
  }
}

/** Prompts and inputs may be tokens already: each number is one. */
function plainText(value: unknown, texts: string[]): number {
  if (typeof value === "string") texts.push(value);
  if (!isList(value)) return 0;
  let tokens = 0;
  for (const item of value) {
    if (typeof item === "string") texts.push(item);
    else if (typeof item === "number") tokens += 1;
    else if (isList(item)) tokens += item.length;
    else if (isRecord(item) && typeof item["text"] === "string") texts.push(item["text"]);
  }
  return tokens;
}

function toolsText(body: Body, texts: string[]): number {
  let overhead = 0;
  for (const name of ["tools", "functions", "response_format", "text"]) {
    const value = body[name];
    if (!isRecord(value) && !(isList(value) && value.length > 0)) continue;
    texts.push(jsonText(value));
    overhead = TOOLS_TOKENS;
  }
  return overhead;
}

/** The JSON of a value, its data URLs cut: tokenising them would cost much and mean nothing. */
function jsonText(value: unknown): string {
  return JSON.stringify(value, (_name, inner: unknown) =>
    typeof inner === "string" && inner.startsWith("data:") ? inner.slice(0, DATA_URL_KEPT) : inner,
  );
}
