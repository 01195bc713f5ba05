import type { Operation } from "../../core/intent.ts";
import { isList, isRecord } from "../../lib/json.ts";
import { emptyProposed, openCall, takeOver, wordOf, type Proposed } from "../proposed.ts";

type Body = Readonly<Record<string, unknown>>;

/** Of an event that could not be read: a chat tells arguments in pieces, of which one may lack now. */
export function noteGap(proposed: Proposed | null, operation: Operation): Proposed | null {
  if (operation !== "chat") return proposed;
  const noted = proposed ?? emptyProposed();
  noted.hasGap = true;
  return noted;
}

const CHAT_NAMES = ['"tool_calls"', '"function_call"'];
const RESPONSES_NAMES = ['"function_call"', '"custom_tool_call"'];

/** Whether a part of an answer may hold a tool call: a native search, where building it would take ten times as long. */
export function mayPropose(bytes: Uint8Array, operation: Operation): boolean {
  if (operation !== "chat" && operation !== "responses") return false;
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const names = operation === "chat" ? CHAT_NAMES : RESPONSES_NAMES;
  return names.some((name) => text.includes(name));
}

/** Takes up the tool calls of a whole answer, or of one event; answers what it was given where there is none. */
export function noteProposed(
  proposed: Proposed | null,
  json: unknown,
  operation: Operation,
): Proposed | null {
  if (!isRecord(json)) return proposed;
  // Most answers call nothing, and get no list.
  const noted = proposed ?? emptyProposed();
  if (operation === "chat") noteChoices(noted, json["choices"]);
  else if (operation === "responses") noteOutput(noted, json);
  return noted.calls.length > 0 || noted.hasMore || noted.hasGap ? noted : null;
}

function noteChoices(proposed: Proposed, choices: unknown): void {
  if (!isList(choices)) return;
  for (const [at, choice] of choices.entries()) {
    if (!isRecord(choice)) continue;
    const message = isRecord(choice["delta"]) ? choice["delta"] : choice["message"];
    if (!isRecord(message)) continue;
    const of = indexOr(choice["index"], at);
    // The form of 2023, one call without an id.
    if (isRecord(message["function_call"])) {
      notePiece(proposed, `${of}`, { function: message["function_call"] });
    }
    const calls = isList(message["tool_calls"]) ? message["tool_calls"] : [];
    for (const [place, call] of calls.entries()) {
      if (isRecord(call)) notePiece(proposed, `${of}:${indexOr(call["index"], place)}`, call);
    }
  }
}

/** A whole call, or a further piece of one. Gemini gives several calls one index: another id is another call. */
function notePiece(proposed: Proposed, place: string, piece: Body): void {
  const id = wordOf(piece["id"]);
  const open = proposed.places.get(place);
  const goesOn = open !== undefined && (id === "" || open.id === null || open.id === id);
  const call = goesOn ? open : openCall(proposed, place);
  if (call === null) return;
  if (id !== "") call.id = id;
  const { function: called, custom } = piece;
  if (isRecord(custom)) takeOver(proposed, call, { name: custom["name"], text: null });
  if (!isRecord(called)) return;
  if (call.name === "") call.name = wordOf(called["name"]);
  const { arguments: text } = called;
  if (call.text === null || typeof text !== "string") return;
  takeOver(proposed, call, { name: call.name, text: call.text + text });
}

/** Of Responses an item is told when it begins, when it is whole, and once more in the answer that ends it. */
function noteOutput(proposed: Proposed, json: Body): void {
  const { item } = json;
  if (isRecord(item)) {
    const isWhole = json["type"] === "response.output_item.done";
    noteItem(proposed, item, { isWhole, place: indexOr(json["output_index"], 0) });
  }
  const answer = isRecord(json["response"]) ? json["response"] : json;
  if (!isList(answer["output"])) return;
  for (const [place, each] of answer["output"].entries()) {
    if (isRecord(each)) noteItem(proposed, each, { isWhole: true, place });
  }
}

function noteItem(
  proposed: Proposed,
  item: Body,
  { isWhole, place }: { readonly isWhole: boolean; readonly place: number },
): void {
  const { type, name, arguments: text } = item;
  if (type !== "function_call" && type !== "custom_tool_call") return;
  const id = wordOf(item["call_id"]);
  const key = id === "" ? `${place}` : id;
  const call = proposed.places.get(key) ?? openCall(proposed, key);
  if (call === null) return;
  call.id = id === "" ? null : id;
  takeOver(proposed, call, { name, text: isWhole && typeof text === "string" ? text : null });
}

function indexOr(index: unknown, otherwise: number): number {
  return typeof index === "number" ? index : otherwise;
}
