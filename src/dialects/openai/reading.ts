import type { Operation } from "../../core/intent.ts";
import { clipped, isList, isRecord } from "../../lib/json.ts";
import type { Reading } from "../dialect.ts";
import { readUsage } from "./usage.ts";

type Body = Readonly<Record<string, unknown>>;

/** A reading while it is being made; `isUnread` says that something passed unread, whatever else was read. */
export type Notes = { -readonly [Name in keyof Required<Reading>]: Required<Reading>[Name] };

export function emptyNotes(): Notes {
  return {
    usage: null,
    isUnread: false,
    model: null,
    serviceTier: null,
    responseId: null,
    providerCostUsd: null,
    progress: "none",
    proposed: null,
    error: null,
  };
}

/** Usage that was read outweighs what was not. */
export function readingOf(notes: Notes): Reading {
  return { ...notes, isUnread: notes.isUnread && notes.usage === null };
}

/** Events after which a stream has nothing more to say; chat ends with `[DONE]` instead. */
const TERMINAL_TYPES: Readonly<Record<string, true>> = {
  "response.completed": true,
  "response.failed": true,
  "response.incomplete": true,
  "transcript.text.done": true,
  "speech.audio.done": true,
  "image_generation.completed": true,
  "image_edit.completed": true,
};

/** How much of a provider's own words is kept in a record. */
const WORDS_LENGTH_MAX = 500;

/** Takes up what one answer, chunk or event says. Later usage replaces earlier: some send it cumulated. */
export function noteJson(notes: Notes, json: unknown, operation: Operation): void {
  if (notes.progress === "none") notes.progress = "started";
  if (!isRecord(json)) return;
  const answer = isRecord(json["response"]) ? json["response"] : json;
  // Azure's first chunk has an empty id and model: they say nothing.
  notes.model = readWord(answer["model"]) ?? notes.model;
  notes.serviceTier = readWord(answer["service_tier"]) ?? notes.serviceTier;
  notes.responseId ??= readWord(answer["id"]);
  const { usage, providerCostUsd, isAbsurd, isOfChoice } = readUsage(json, operation);
  // Where another choice told a usage too, that of one is not the answer's.
  const isPart = isOfChoice === true && notes.isUnread;
  notes.usage = isAbsurd || isPart ? null : (usage ?? notes.usage);
  if (isAbsurd) notes.isUnread = true;
  notes.providerCostUsd = providerCostUsd ?? notes.providerCostUsd;
  notes.error ??= readError(json) ?? (answer === json ? null : readError(answer));
  if (hasFinished(json) && notes.progress === "started") notes.progress = "finishing";
  const type = json["type"];
  if (typeof type === "string" && Object.hasOwn(TERMINAL_TYPES, type)) notes.progress = "complete";
}

function hasFinished(json: Body): boolean {
  const choices = json["choices"];
  if (!isList(choices)) return false;
  return choices.some((choice) => isRecord(choice) && typeof choice["finish_reason"] === "string");
}

/**
 * The error that a JSON tells: `{"error": {…}}` or `{"error": "…"}` (chat), `{"type": "error", …}` flat or
 * with the error nested (Responses), `response.failed`.
 */
export function readError(json: Body): Reading["error"] {
  const error = json["error"];
  if (isRecord(error)) return errorOf(error);
  if (typeof error === "string" && error !== "") return { code: "error", message: clip(error) };
  if (json["type"] === "error") return errorOf(json);
  if (json["type"] === "response.failed" && !isRecord(json["response"])) return errorOf({});
  return null;
}

/** The code of an error that says that the content was filtered, whatever it is called there. */
export const CONTENT_FILTER = "content_filter";

/** What Azure calls its filter, in a code of its own or of the error inside it. */
const FILTERS: ReadonlySet<unknown> = new Set([
  CONTENT_FILTER,
  "contentFilter",
  "ResponsibleAIPolicyViolation",
]);

/** The error of an event whose own name is `error` (Groq), whatever the form of its data. */
export function errorOf(error: Body): { readonly code: string; readonly message: string } {
  const { code, type, message, innererror } = error;
  const inner = isRecord(innererror) ? innererror["code"] : null;
  const isFilter = FILTERS.has(code) || FILTERS.has(inner);
  const name = readWord(code) ?? (typeof code === "number" ? String(code) : null) ?? readWord(type);
  return {
    code: isFilter ? CONTENT_FILTER : (name ?? "error"),
    message:
      typeof message === "string" ? clip(message) : "The upstream told an error without a message.",
  };
}

function readWord(value: unknown): string | null {
  return typeof value === "string" && value !== "" ? clip(value) : null;
}

function clip(text: string): string {
  return clipped(text, WORDS_LENGTH_MAX);
}
