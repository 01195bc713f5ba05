import { isList, isRecord, decodeUtf8, parseJson } from "../../lib/json.ts";
import { joinData } from "../sse.ts";
import type { Span } from "../sse.ts";
import { removal } from "./edit.ts";
import { scanMembers } from "./members.ts";
import type { Names } from "./members.ts";

const USAGE_NAME: Names = { usage: true };

/** What stands on every chunk; a usage event with nothing beside it exists only because we asked. */
const ON_EVERY_CHUNK: Readonly<Record<string, true>> = {
  id: true,
  object: true,
  created: true,
  model: true,
  system_fingerprint: true,
  service_tier: true,
  choices: true,
  usage: true,
  obfuscation: true,
  provider: true,
};

/** What the client gets of one event: `null` for nothing at all, the same view when nothing is hidden. */
export type Shown = Uint8Array | null;

/**
 * Takes out of one event what upstream sent only because usage was asked for in the client's stead: the
 * closing event with `choices: []` and usage, and `"usage": null` on all others. Usage on a chunk with
 * choices stays: upstreams that send it there (Mistral, Groq, OpenRouter) send it unasked.
 */
export function hideUsage(event: Uint8Array, data: readonly Span[]): Shown {
  const payload = joinData(event, data);
  const members = scanMembers(payload, 0, USAGE_NAME);
  const usage = members.found.find((member) => member.exact);
  if (usage === undefined || !members.closed) return event;
  if (payload[usage.valueStart] !== 0x6e) {
    const text = decodeUtf8(payload);
    const parsed = text === null ? null : parseJson(text);
    if (parsed === null || !isRecord(parsed.value)) return event;
    const choices = parsed.value["choices"];
    if (!isList(choices) || choices.length > 0) return event;
    if (!carriesMore(parsed.value)) return null;
  }
  const { start, end } = removal(usage);
  return cutPayload(event, data, { start, end });
}

function carriesMore(chunk: Readonly<Record<string, unknown>>): boolean {
  for (const name in chunk) {
    if (Object.hasOwn(ON_EVERY_CHUNK, name) || chunk[name] === null) continue;
    const value = chunk[name];
    // Groq repeats the usage there, beside the id of the request.
    if (name === "x_groq" && isRecord(value) && Object.keys(value).every(isGroqRoutine)) continue;
    return true;
  }
  return false;
}

function isGroqRoutine(name: string): boolean {
  return name === "id" || name === "usage" || name === "seed";
}

/** Removes a range of the joined data from the event's lines; every other byte stays. */
function cutPayload(event: Uint8Array, data: readonly Span[], cut: Span): Uint8Array {
  const out = new Uint8Array(event.length);
  let to = 0;
  let from = 0;
  let base = 0;
  for (const line of data) {
    const offset = line.start - base;
    const start = Math.min(line.end, Math.max(line.start, cut.start + offset));
    const end = Math.max(start, Math.min(line.end, cut.end + offset));
    out.set(event.subarray(from, start), to);
    to += start - from;
    from = end;
    base += line.end - line.start + 1;
  }
  out.set(event.subarray(from), to);
  return out.subarray(0, to + event.length - from);
}
