import { InputError } from "../../core/errors.ts";
import { isList, isRecord } from "../../lib/json.ts";
import { fold } from "./members.ts";
import { isImage, noteSources } from "./sources.ts";

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

/** Of functions that have no type, in any of the forms in which SDKs and MCP servers write them. */
const FUNCTION_MEMBERS: Readonly<Record<string, true>> = {
  type: true,
  function: true,
  name: true,
  title: true,
  description: true,
  parameters: true,
  strict: true,
  input_schema: true,
  output_schema: true,
  annotations: true,
  cache_control: true,
};

/** Tools that providers know by a member of this name, in either of the spellings `google_search` and `googleSearch`. */
const HOSTED_MEMBERS: Readonly<Record<string, true>> = {
  googlesearch: true,
  googlesearchretrieval: true,
  googlemaps: true,
  enterprisewebsearch: true,
  urlcontext: true,
  codeexecution: true,
  codeinterpreter: true,
  filesearch: true,
  retrieval: true,
  websearch: true,
  browsersearch: true,
};

const UNTYPED_TOOL = "hosted_tool:untyped";

const FILE_TYPES: Readonly<Record<string, true>> = {
  file: true,
  input_file: true,
  document: true,
  document_url: true,
  media: true,
};

const FILE_MEMBERS = ["file_url", "file_data", "document_url"];

/** Google's own forms: an object that holds the bytes, or says where they are. */
const FILE_OBJECTS = ["inline_data", "inlineData", "file_data", "fileData"];

/** Long enough for every tool type there is; it ends up in messages and records. */
const TYPE_LENGTH_MAX = 48;

/** The members of a part or a tool that are read here. */
const READ: Readonly<Record<string, true>> = {
  type: true,
  image_url: true,
  input_image: true,
  image: true,
  input_audio: true,
  audio_url: true,
  video_url: true,
  input_video: true,
  video: true,
  image_embeds: true,
  audio_embeds: true,
  prompt_embeds: true,
  document_url: true,
  file_url: true,
  file_data: true,
  file_id: true,
  role: true,
  audio: true,
  tools: true,
  execution: true,
  environment: true,
};

/** The longest of these names, with room for letters that fold into two. */
const READ_LENGTH_MAX = 24;

/** Members that hold names of the client's own (schemas, labels): they are no parts, and may be in any case. */
const OWN_NAMES: Readonly<Record<string, true>> = {
  parameters: true,
  input_schema: true,
  output_schema: true,
  schema: true,
  attributes: true,
  metadata: true,
};

/**
 * Walks messages or input, at any depth and without recursion, and notes what bytes do not bound. Not
 * only the `type` of a part is looked at but also the members that only such a part has. What is counted
 * once too often (a tool's schema with a property `image_url`) makes the bound wider, never wrong.
 * Throws InputError, naming `param`, for a member whose name some servers take for one that is read here.
 */
export function walkParts(root: unknown, param: string, parts: Parts): void {
  const stack: unknown[] = [root];
  const own: unknown[] = [];
  walk(stack, parts, (value, name) => {
    refuseOtherCase(name, param);
    if (typeof value !== "object") return;
    if (Object.hasOwn(OWN_NAMES, name)) own.push(value);
    else stack.push(value);
  });
  walk(own, parts, (value) => {
    if (typeof value === "object") own.push(value);
  });
}

/** Takes values off the stack until it is empty; `below` is told of each member, and pushes what to go into. */
function walk(stack: unknown[], parts: Parts, below: (value: unknown, name: string) => void): void {
  while (stack.length > 0) {
    const value = stack.pop();
    if (isList(value)) {
      for (const item of value) if (typeof item === "object") stack.push(item);
    } else if (isRecord(value)) {
      notePart(value, parts);
      for (const name in value) below(value[name], name);
    }
  }
}

function refuseOtherCase(name: string, param: string): void {
  if (name.length > READ_LENGTH_MAX || Object.hasOwn(READ, name)) return;
  const folded = fold(name);
  if (folded === name || !Object.hasOwn(READ, folded)) return;
  throw otherCase(folded, param);
}

function otherCase(folded: string, param: string): InputError {
  const message = `In '${param}', '${folded}' must be written in lower case.`;
  return new InputError("invalid_json", param, message);
}

/** The members of all objects in a parsed JSON. */
export function countMembers(root: unknown): number {
  const stack: unknown[] = [root];
  let count = 0;
  while (stack.length > 0) {
    const value = stack.pop();
    if (isList(value)) {
      for (const item of value) if (typeof item === "object") stack.push(item);
    } else if (isRecord(value)) {
      for (const name in value) {
        count += 1;
        const member = value[name];
        if (typeof member === "object") stack.push(member);
      }
    }
  }
  return count;
}

/** Hosted tools whose results the provider keeps: their items hold only what was asked. */
const KEPT_RESULTS: Readonly<Record<string, true>> = {
  web_search_call: true,
  file_search_call: true,
  code_interpreter_call: true,
};

/** Members in which an item of a response's input carries its own content. */
const OWN_CONTENT = ["arguments", "output", "input", "encrypted_content", "result"];
const OWN_OBJECTS = ["output", "action", "actions", "operation", "tools"];

/** Notes items of the input that stand for what the provider keeps: an id without content of its own. */
export function noteStoredItems(input: unknown, parts: Parts): void {
  if (!isList(input)) return;
  for (const item of input) {
    if (!isRecord(item)) continue;
    for (const name in item)
      if (name.length === 2 && name !== "id" && fold(name) === "id") throw otherCase("id", "input");
    if (isGivenId(item["id"]) && !hasOwnContent(item)) parts.unbounded.add("stored_context");
  }
}

function isGivenId(id: unknown): boolean {
  return id !== undefined && id !== null;
}

function hasOwnContent(item: Readonly<Record<string, unknown>>): boolean {
  const { type, content } = item;
  if (typeof type === "string" && Object.hasOwn(KEPT_RESULTS, type)) return false;
  if (type === "reasoning")
    return typeof item["encrypted_content"] === "string" && item["encrypted_content"] !== "";
  if (isList(content) ? content.length > 0 : typeof content === "string" && content !== "")
    return true;
  if (OWN_CONTENT.some((name) => typeof item[name] === "string")) return true;
  return OWN_OBJECTS.some((name) => typeof item[name] === "object" && item[name] !== null);
}

function notePart(part: Readonly<Record<string, unknown>>, parts: Parts): void {
  const type = typeof part["type"] === "string" ? part["type"] : "";
  noteSources(part, type, parts);
  if (Object.hasOwn(FILE_TYPES, type) || namesFile(part, type)) parts.unbounded.add("file");
  // Earlier turns that the provider keeps: an item by its id, an answer's audio by its id.
  if (type === "item_reference") parts.unbounded.add("stored_context");
  if (typeof part["role"] === "string" && isRecord(part["audio"])) {
    parts.unbounded.add("stored_context");
  }
  if (isList(part["tools"])) noteTools(part["tools"].filter(isRecord), parts);
}

/** A citation in an earlier answer names a file too, but reads none. */
function namesFile(part: Readonly<Record<string, unknown>>, type: string): boolean {
  if (FILE_MEMBERS.some((name) => typeof part[name] === "string")) return true;
  if (FILE_OBJECTS.some((name) => isRecord(part[name]))) return true;
  if (typeof part["file_id"] !== "string" || isImage(type)) return false;
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
    if (!isRecord(tool)) {
      if (tool !== null) parts.unbounded.add(UNTYPED_TOOL);
      continue;
    }
    // A tool's other members are its own, and own are below them.
    for (const name in tool) refuseOtherCase(name, "tools");
    if (isRecord(tool["environment"])) {
      for (const name in tool["environment"]) refuseOtherCase(name, "tools");
    }
    if (isList(tool["tools"])) for (const inner of tool["tools"]) stack.push(inner);
    noteHostedMembers(tool, parts);
    const { type } = tool;
    if (typeof type !== "string") continue;
    if (Object.hasOwn(CLIENT_TOOLS, type) || runsAtClient(type, tool)) continue;
    parts.unbounded.add(`hosted_tool:${plainName(type)}`);
  }
}

/**
 * A tool can be named by a member instead of a type: Google's are `{"google_search":{}}`, and some servers see
 * such a member beside a type, too. What has no type is a function only if it has nothing that functions have not.
 */
function noteHostedMembers(tool: Readonly<Record<string, unknown>>, parts: Parts): void {
  const isTyped = typeof tool["type"] === "string";
  if (!isTyped && !isRecord(tool["function"]) && typeof tool["name"] !== "string") {
    parts.unbounded.add(UNTYPED_TOOL);
  }
  for (const name in tool) {
    const isHosted = isTyped
      ? Object.hasOwn(HOSTED_MEMBERS, spelt(name))
      : !Object.hasOwn(FUNCTION_MEMBERS, name);
    if (isHosted && tool[name] !== null) parts.unbounded.add(`hosted_tool:${plainName(name)}`);
  }
}

function spelt(name: string): string {
  return name.toLowerCase().replaceAll("_", "");
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
