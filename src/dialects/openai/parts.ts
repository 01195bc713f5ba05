import { isList, isRecord } from "../../lib/json.ts";

/** What the messages, input and tools of a request hold beside text. */
export type Parts = {
  images: number;
  audioInput: boolean;
  /** See `Demand.unbounded`. */
  readonly unbounded: Set<string>;
};

/** Tools that the client runs itself: what they cost, they cost outside the call. */
const CLIENT_TOOLS: Readonly<Record<string, true>> = {
  function: true,
  custom: true,
  namespace: true,
  local_shell: true,
  apply_patch: true,
  computer: true,
  computer_use: true,
  computer_use_preview: true,
};

const IMAGE_TYPES: Readonly<Record<string, true>> = {
  image: true,
  image_url: true,
  image_file: true,
  input_image: true,
  computer_screenshot: true,
  image_generation_call: true,
};

const FILE_TYPES: Readonly<Record<string, true>> = {
  file: true,
  input_file: true,
  document: true,
  document_url: true,
};

const VIDEO_TYPES: Readonly<Record<string, true>> = {
  video_url: true,
  input_video: true,
  video: true,
};

/** Long enough for every tool type there is; it ends up in messages and records. */
const TYPE_LENGTH_MAX = 48;

/**
 * Walks messages or input, at any depth and without recursion, and notes what bytes do not bound.
 * Both the `type` of a part and the members that only such a part has are looked at: a parser that
 * takes the first of two `type` members must not see a file where we saw text. What is counted
 * once too often (a tool's schema with a property `image_url`) makes the bound wider, never wrong.
 */
export function walkParts(root: unknown, parts: Parts): void {
  const stack: unknown[] = [root];
  while (stack.length > 0) {
    const value = stack.pop();
    if (isList(value)) {
      for (const item of value) if (typeof item === "object") stack.push(item);
    } else if (isRecord(value)) {
      notePart(value, parts);
      for (const name in value) if (typeof value[name] === "object") stack.push(value[name]);
    }
  }
}

function notePart(part: Readonly<Record<string, unknown>>, parts: Parts): void {
  const type = typeof part["type"] === "string" ? part["type"] : "";
  const isImage = Object.hasOwn(IMAGE_TYPES, type);
  if (isImage || isSource(part["image_url"])) parts.images += 1;
  if (type === "input_audio" || type === "audio_url" || isRecord(part["input_audio"])) {
    parts.audioInput = true;
  }
  if (Object.hasOwn(FILE_TYPES, type) || namesFile(part, type, isImage))
    parts.unbounded.add("file");
  if (Object.hasOwn(VIDEO_TYPES, type)) parts.unbounded.add("video");
  // Earlier turns that the provider keeps: an item by its id, an answer's audio by its id.
  if (type === "item_reference") parts.unbounded.add("stored_context");
  if (typeof part["role"] === "string" && isRecord(part["audio"])) {
    parts.unbounded.add("stored_context");
  }
  if (isList(part["tools"])) noteTools(part["tools"], parts);
}

/** An address, or an object that holds one: `image_url` is a string on one endpoint, an object on the other. */
function isSource(value: unknown): boolean {
  return typeof value === "string" || isRecord(value);
}

/** A citation in an earlier answer names a file too, but reads none. */
function namesFile(
  part: Readonly<Record<string, unknown>>,
  type: string,
  isImage: boolean,
): boolean {
  if (typeof part["file_url"] === "string" || typeof part["file_data"] === "string") return true;
  if (typeof part["file_id"] !== "string" || isImage) return false;
  return !type.endsWith("_citation") && type !== "file_path";
}

/**
 * Notes each tool that runs at the provider: what it reads (search results, files, containers) is billed
 * as input that no figure of the request bounds, and each of its rounds reads the whole context again.
 * `max_tool_calls` bounds the rounds and not what one reads, so it makes none of them bounded.
 */
export function noteTools(tools: readonly unknown[], parts: Parts): void {
  const stack: unknown[] = [...tools];
  while (stack.length > 0) {
    const tool = stack.pop();
    if (!isRecord(tool)) continue;
    const type = typeof tool["type"] === "string" ? tool["type"] : "function";
    if (isList(tool["tools"])) for (const inner of tool["tools"]) stack.push(inner);
    if (Object.hasOwn(CLIENT_TOOLS, type) || runsAtClient(type, tool)) continue;
    parts.unbounded.add(`hosted_tool:${plainName(type)}`);
  }
}

function runsAtClient(type: string, tool: Readonly<Record<string, unknown>>): boolean {
  if (type === "tool_search") return tool["execution"] === "client";
  if (type !== "shell") return false;
  return isRecord(tool["environment"]) && tool["environment"]["type"] === "local";
}

/** A name from the request that may stand in a message and a record. */
export function plainName(text: string): string {
  return text.slice(0, TYPE_LENGTH_MAX).replaceAll(/[^A-Za-z0-9_.-]/g, "_");
}
