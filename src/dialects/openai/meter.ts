import { ANSWER_BYTES_MAX, STREAM_TEXT_BYTES_MAX } from "../../core/limits.ts";
import { decodeUtf8, parseJson } from "../../lib/json.ts";
import type { Meter, Route } from "../dialect.ts";
import { joinBytes } from "../sse.ts";
import { textOfAnswer } from "./delivered.ts";
import { isSpace, scanMembers } from "./members.ts";
import type { Members, Names } from "./members.ts";
import { emptyNotes, noteJson } from "./reading.ts";
import { createStreamMeter } from "./stream-meter.ts";

/** `hideUsage`: we asked for usage in the client's stead, and the client must not see it. */
export type MeterOptions = { readonly stream: boolean; readonly hideUsage: boolean };

/** The members of an answer that say what was used; the rest of it, however long, is not built. */
const TELLING: Names = {
  id: true,
  model: true,
  usage: true,
  x_groq: true,
  service_tier: true,
  error: true,
  duration: true,
};

const EMPTY = new Uint8Array(0);

/** Listens to one answer of a route. */
export function createMeter(route: Route, options: MeterOptions): Meter {
  return options.stream ? createStreamMeter(route, options.hideUsage) : createAnswerMeter(route);
}

/** Meters an answer that is one document: its bytes pass, and it is read when it has ended. */
function createAnswerMeter(route: Route): Meter {
  const notes = emptyNotes();
  // Speech answers with sound, which says nothing and may be long.
  const isRead = route.operation !== "speech";
  let parts: Uint8Array[] = [];
  let bytes = 0;
  let isOversized = false;

  function push(chunk: Uint8Array): Uint8Array {
    if (notes.progress === "none" && chunk.length > 0) notes.progress = "started";
    if (!isRead || isOversized) return chunk;
    if (bytes + chunk.length > ANSWER_BYTES_MAX) {
      isOversized = true;
      parts = [];
      bytes = 0;
      return chunk;
    }
    parts.push(chunk);
    bytes += chunk.length;
    return chunk;
  }

  function flush(): Uint8Array {
    if (bytes === 0) {
      if (notes.progress === "started") notes.progress = "complete";
      return EMPTY;
    }
    const whole = joinBytes(parts, bytes);
    parts = [whole];
    const first = whole.findIndex((byte) => !isSpace(byte));
    const isObject = whole[first] === 0x7b;
    const members = isObject ? scanMembers(whole, 0, TELLING) : null;
    if (members !== null) noteJson(notes, telling(whole, members, route), route.operation);
    // A transcript may be plain text; only a document can be seen to be cut.
    if (members === null || members.closed) notes.progress = "complete";
    else notes.progress = "started";
    return EMPTY;
  }

  function deliveredText(): string {
    if (bytes === 0) return "";
    const whole = joinBytes(parts, bytes);
    return textOfAnswer(whole, route.operation).slice(0, STREAM_TEXT_BYTES_MAX);
  }

  return {
    push,
    flush,
    reading: () => ({ ...notes }),
    deliveredText,
    betweenEvents: () => false,
    nextSequence: () => 0,
  };
}

function telling(whole: Uint8Array, members: Members, route: Route): unknown {
  const hasUsage = members.found.some((member) => member.exact && member.name === "usage");
  // Images without usage are counted, for which the whole document is built.
  if (route.operation === "image_generation" && !hasUsage) return read(whole, 0, whole.length);
  const values: [string, unknown][] = [];
  for (const { name, exact, valueStart, valueEnd } of members.found) {
    if (exact) values.push([name, read(whole, valueStart, valueEnd)]);
  }
  return Object.fromEntries(values);
}

function read(bytes: Uint8Array, start: number, end: number): unknown {
  const text = decodeUtf8(bytes.subarray(start, end));
  return text === null ? null : (parseJson(text)?.value ?? null);
}
