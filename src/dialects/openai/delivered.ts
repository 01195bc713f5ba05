import type { Operation } from "../../core/intent.ts";
import { STREAM_LINE_BYTES_MAX } from "../../core/limits.ts";
import { decodeUtf8, isList, isRecord, parseJson } from "../../lib/json.ts";
import { createEventSplitter, joinData, readEvent } from "../sse.ts";

type Body = Readonly<Record<string, unknown>>;

/** Members of a chat delta or message that the model wrote, reasoning under the names that providers give it. */
const WRITTEN = ["content", "reasoning_content", "reasoning", "refusal"];

/** The text that the model wrote in the events of a stream, as far as they are kept. Read only when asked for. */
export function textOfStream(parts: readonly Uint8Array[], operation: Operation): string {
  const texts: string[] = [];
  const splitter = createEventSplitter(
    { event, trail: pass, oversized: pass },
    STREAM_LINE_BYTES_MAX,
  );

  function event(bytes: Uint8Array): void {
    const text = decodeUtf8(joinData(bytes, readEvent(bytes).data));
    const parsed = text === null ? null : parseJson(text);
    if (parsed === null || !isRecord(parsed.value)) return;
    if (operation === "chat" || operation === "text_completion") choicesText(parsed.value, texts);
    else if (isDelta(parsed.value)) push(texts, parsed.value["delta"]);
  }

  for (const part of parts) splitter.push(part);
  return texts.join("");
}

/** The text that the model wrote in a whole answer; of one that is cut, all of it, which is more. */
export function textOfAnswer(bytes: Uint8Array, operation: Operation): string {
  const text = new TextDecoder().decode(bytes);
  const parsed = parseJson(text);
  if (parsed === null || !isRecord(parsed.value)) return text;
  const texts: string[] = [];
  if (operation === "chat" || operation === "text_completion") choicesText(parsed.value, texts);
  else if (operation === "responses") outputText(parsed.value, texts);
  else push(texts, parsed.value["text"]);
  return texts.join("");
}

function pass(): void {
  // Bytes of no whole event hold no text that could be read.
}

function isDelta(json: Body): boolean {
  return typeof json["type"] === "string" && json["type"].endsWith(".delta");
}

function choicesText(json: Body, texts: string[]): void {
  const choices = json["choices"];
  if (!isList(choices)) return;
  for (const choice of choices) {
    if (!isRecord(choice)) continue;
    push(texts, choice["text"]);
    const message = isRecord(choice["delta"]) ? choice["delta"] : choice["message"];
    if (isRecord(message)) messageText(message, texts);
  }
}

function messageText(message: Body, texts: string[]): void {
  for (const name of WRITTEN) push(texts, message[name]);
  if (isRecord(message["function_call"])) callText(message["function_call"], texts);
  const calls = message["tool_calls"];
  if (!isList(calls)) return;
  for (const call of calls) {
    if (!isRecord(call)) continue;
    if (isRecord(call["function"])) callText(call["function"], texts);
    if (isRecord(call["custom"])) callText(call["custom"], texts);
  }
}

function callText(call: Body, texts: string[]): void {
  push(texts, call["name"]);
  push(texts, call["arguments"]);
  push(texts, call["input"]);
}

function outputText(json: Body, texts: string[]): void {
  const output = json["output"];
  if (!isList(output)) return;
  for (const item of output) {
    if (!isRecord(item)) continue;
    callText(item, texts);
    for (const list of [item["content"], item["summary"]]) {
      if (!isList(list)) continue;
      for (const part of list) {
        if (!isRecord(part)) continue;
        push(texts, part["text"]);
        push(texts, part["refusal"]);
      }
    }
  }
}

function push(texts: string[], value: unknown): void {
  if (typeof value === "string") texts.push(value);
}
