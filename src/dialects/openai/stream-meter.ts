import { STREAM_LINE_BYTES_MAX, STREAM_TEXT_BYTES_MAX } from "../../core/limits.ts";
import { decodeUtf8, isRecord } from "../../lib/json.ts";
import type { Meter, Route } from "../dialect.ts";
import { addBytes, emptyBytes, joinBytes, partsOf } from "../byte-store.ts";
import type { ByteStore } from "../byte-store.ts";
import { createEventSplitter, firstEventEnd, joinData, lastEventEnd, readEvent } from "../sse.ts";
import type { EventFields, EventSink, EventSplitter } from "../sse.ts";
import { textOfStream } from "./delivered.ts";
import { eventsAlike, templateOf, type Template } from "./alike.ts";
import { hideNulls, withoutCuts } from "./hide-nulls.ts";
import { hideUsage } from "./hide.ts";
import { CALL, findMarks, findPlain, MATTERS, USAGE, USAGE_NULL } from "./marks.ts";
import { noteGap, noteProposed } from "./note-proposed.ts";
import { errorOf, noteJson, readingOf } from "./reading.ts";
import type { Notes } from "./reading.ts";
import { parseTelling } from "./usage.ts";

/** The first events are parsed for model and id; a stream that has not said them by then does not. */
const HEAD_EVENTS_MAX = 4;

/** What is alike changes when a model turns from thinking to telling; a stream whose events are never alike is not tried for ever. */
const TEMPLATES_MAX = 8;

const EMPTY = new Uint8Array(0);

/** What a stream meter knows between two chunks. */
type Metering = {
  readonly route: Route;
  readonly hides: boolean;
  readonly notes: Notes;
  headEvents: number;
  /** What the client is to get of the chunk at hand; used only where usage is hidden. */
  readonly shown: Uint8Array[];
  /** Something of the chunk at hand was hidden. */
  isChanged: boolean;
  lastDropped: boolean;
  /** Of events in which nothing matters, once two have come. */
  template: Template | null;
  templatesLeft: number;
  /** The last whole event, or a chunk that ends with it. */
  lastWhole: Uint8Array;
  /** What the client got so far, up to STREAM_TEXT_BYTES_MAX. */
  readonly kept: ByteStore;
};

/**
 * Meters a stream of events. A chunk of whole events in which nothing matters is looked through once
 * and passed as the same object. Only when usage is hidden are bytes held back, and then only those
 * of an event that has not ended, so that what the client gets is whole events.
 */
export function createStreamMeter(route: Route, hides: boolean, notes: Notes): Meter {
  const at: Metering = {
    route,
    hides,
    notes,
    headEvents: 0,
    shown: [],
    isChanged: false,
    lastDropped: false,
    template: null,
    templatesLeft: TEMPLATES_MAX,
    lastWhole: EMPTY,
    kept: emptyBytes(),
  };
  const sink: EventSink = {
    event: (bytes) => takeEvent(at, bytes),
    trail: (bytes) => {
      if (at.lastDropped) at.isChanged = true;
      else show(at, bytes);
    },
    oversized: (bytes) => {
      at.notes.isUnread = true;
      at.notes.proposed = noteGap(at.notes.proposed, route.operation);
      show(at, bytes);
    },
  };
  const splitter = createEventSplitter(sink, STREAM_LINE_BYTES_MAX);
  return {
    push: (chunk) => keep(at, takeChunk(at, splitter, chunk)),
    flush: () => {
      // Some end without the last empty line: what is left is read as an event.
      const rest = splitter.take();
      if (rest.length > 0) takeEvent(at, rest);
      return keep(at, drain(at));
    },
    reading: () => readingOf(at.notes),
    deliveredText: () => textOfStream(partsOf(at.kept), route.operation),
    betweenEvents: () => (hides ? !splitter.isOversized() : splitter.isBetween()),
    nextSequence: () => sequenceAfter(at.lastWhole),
  };
}

function takeChunk(at: Metering, splitter: EventSplitter, chunk: Uint8Array): Uint8Array {
  at.isChanged = false;
  const wasBetween = splitter.isBetween();
  let from = 0;
  while (from < chunk.length) {
    if (splitter.isClean() && !isHead(at)) {
      from = takeAlike(at, chunk, from);
      if (from < chunk.length) from = takePlain(at, splitter, chunk, from);
    }
    // One event that matters, or the rest of one that is under way.
    const end = firstEventEnd(chunk, from);
    splitter.push(end < 0 ? chunk.subarray(from) : chunk.subarray(from, end));
    from = end < 0 ? chunk.length : end;
  }
  if (!at.hides) return chunk;
  const shown = drain(at);
  return wasBetween && !at.isChanged && shown.length === chunk.length ? chunk : shown;
}

/** Takes the events that are like those before, and answers where they end. */
function takeAlike(at: Metering, chunk: Uint8Array, from: number): number {
  if (at.template === null) return from;
  const { end, cuts } = eventsAlike(at.template, chunk, from);
  if (end === from) return from;
  const events = from === 0 && end === chunk.length ? chunk : chunk.subarray(from, end);
  at.lastWhole = events;
  at.lastDropped = false;
  if (cuts.length > 0) at.isChanged = true;
  if (at.hides) show(at, withoutCuts(events, from === 0 ? cuts : cuts.map((cut) => cut - from)));
  return end;
}

/** Takes the whole events up to the first that matters in one piece, and answers where they end. */
function takePlain(at: Metering, splitter: EventSplitter, whole: Uint8Array, from: number): number {
  // Two are enough to make a template of, and the rest is like them.
  const isFirst = at.template === null && at.templatesLeft > 0;
  const chunk = isFirst ? whole.subarray(0, secondEnd(whole, from)) : whole;
  const plain = findPlain(chunk, from);
  const end = lastEventEnd(chunk, from, plain.end);
  if (end === from) return from;
  const events = from === 0 && end === whole.length ? whole : whole.subarray(from, end);
  const visible = at.hides && plain.hasNull ? hideNulls(events) : events;
  if (visible === null) {
    splitter.push(events);
    return end;
  }
  at.lastWhole = events;
  at.lastDropped = false;
  if (visible !== events) at.isChanged = true;
  show(at, visible);
  if (at.templatesLeft > 0) {
    at.templatesLeft -= 1;
    at.template = templateOf(events, at.hides) ?? at.template;
  }
  return end;
}

function secondEnd(chunk: Uint8Array, from: number): number {
  const first = firstEventEnd(chunk, from);
  const second = first < 0 ? first : firstEventEnd(chunk, first);
  return second < 0 ? chunk.length : second;
}

function takeEvent(at: Metering, event: Uint8Array): void {
  at.lastDropped = false;
  at.lastWhole = event;
  const marks = findMarks(event);
  const mustRead = isHead(at) || (marks & MATTERS) !== 0;
  const mustHide = at.hides && (marks & (USAGE | USAGE_NULL)) !== 0;
  if (!mustRead && !mustHide) {
    show(at, event);
    return;
  }
  const fields = readEvent(event);
  if (mustRead && fields.data.length > 0) readData(at, event, fields, marks);
  const visible = mustHide ? hideUsage(event, fields.data) : event;
  if (visible !== event) at.isChanged = true;
  if (visible === null) at.lastDropped = true;
  else show(at, visible);
}

function isHead(at: Metering): boolean {
  return at.headEvents < HEAD_EVENTS_MAX && at.notes.model === null;
}

function readData(at: Metering, event: Uint8Array, fields: EventFields, marks: number): void {
  const { notes, route } = at;
  at.headEvents += 1;
  const text = decodeUtf8(joinData(event, fields.data));
  if (text !== null && text.trim() === "[DONE]") {
    notes.progress = "complete";
    return;
  }
  const parsed = text === null ? null : parseTelling(text);
  if (parsed === null) {
    if ((marks & USAGE) !== 0) notes.isUnread = true;
    if ((marks & CALL) !== 0) notes.proposed = noteGap(notes.proposed, route.operation);
    return;
  }
  noteJson(notes, parsed.value, route.operation);
  if ((marks & CALL) !== 0) {
    notes.proposed = noteProposed(notes.proposed, parsed.value, route.operation);
  }
  const { name } = fields;
  if (name === null || decodeUtf8(event.subarray(name.start, name.end)) !== "error") return;
  notes.error ??= errorOf(isRecord(parsed.value) ? parsed.value : {});
}

function show(at: Metering, bytes: Uint8Array): void {
  if (at.hides) at.shown.push(bytes);
}

function drain(at: Metering): Uint8Array {
  if (at.shown.length === 0) return EMPTY;
  let length = 0;
  for (const part of at.shown) length += part.length;
  const bytes = joinBytes(at.shown, length);
  at.shown.length = 0;
  return bytes;
}

function keep(at: Metering, bytes: Uint8Array): Uint8Array {
  const room = STREAM_TEXT_BYTES_MAX - at.kept.length;
  if (room <= 0 || bytes.length === 0) return bytes;
  addBytes(at.kept, bytes.length <= room ? bytes : bytes.subarray(0, room));
  return bytes;
}

/** The provider numbers its events; the last number in the last whole event is where it stood. */
function sequenceAfter(bytes: Uint8Array): number {
  const text = new TextDecoder().decode(bytes);
  let last = -1;
  for (const match of text.matchAll(/"sequence_number"\s*:\s*(\d{1,15})/g)) last = Number(match[1]);
  return last + 1;
}
