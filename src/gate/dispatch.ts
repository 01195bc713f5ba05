/**
 * Sends what a permit allows, hands the answer on, and says how it ended.
 *
 * Bytes pass through; the meter listens on them. The order of events is fixed: head, data, then one of
 * end, fail or the client leaving; whichever comes first ends the attempt, and the others find it
 * ended. What cannot happen: two endings, an answer without an ending, a polite end of a cut stream.
 *
 * A stream's head leaves at once, or with the bytes that show that it is one. Any other answer is held
 * until it is whole, so that its cost stands in its header and a cut one becomes a clean 502; a large one
 * passes on from where it grew too large.
 */
import type { Meter, Route } from "../dialects/dialect.ts";
import { addBytes, clearBytes, emptyBytes, joinParts, partsOf } from "../dialects/byte-store.ts";
import { createMeter } from "../dialects/openai/meter.ts";
import { KEEP_ALIVE } from "../dialects/openai/phrase.ts";
import { beginsEvents } from "../dialects/sse.ts";
import {
  ANSWER_HELD_BYTES_MAX,
  LEFT_STREAM_MS_MAX,
  KEEP_ALIVE_MS,
  USAGE_WAIT_MS,
} from "../core/limits.ts";
import type { Permit } from "./admit.ts";
import { isEncoded, isEventStream, mayBeEvents, namesStreamOptions } from "./answer-form.ts";
import { isCut, isCutDocument, streamError } from "./cut-stream.ts";
import { goneAt, isToldWhole, isUnknown, neverSent, NOTHING_READ, termsOf } from "./ending.ts";
import type { Ending, Gone } from "./ending.ts";
import type { Fence } from "./fence.ts";
import type { Leavers } from "./leavers.ts";
import { clientHeaders, valueOf } from "./headers.ts";
import type { Ports, Reply, UpstreamExchange, UpstreamFailure, UpstreamRequest } from "./ports.ts";
import type { Watch } from "./watch.ts";

export type Dispatch = {
  readonly permit: Permit;
  readonly route: Route;
  readonly method: string;
  readonly path: string;
  readonly headers: readonly string[];
  /** Made after the decision, for it depends on it. One that cannot be made releases the permit. */
  readonly body: () => Body | Promise<Body>;
  /** We asked for usage, the client did not: it must not see it. */
  readonly hideUsage: boolean;
  /** Headers of ours: early on a stream, whose cost is not known yet, or with the ending of a whole answer. */
  readonly ours: {
    readonly early: () => readonly string[];
    readonly whole: (ending: Ending) => readonly string[] | Promise<readonly string[]>;
  };
  /** Ours, for an answer whose upstream gave it none. */
  readonly requestId: string;
};

export type Dispatched =
  /** The client has its answer, or has left. */
  | { readonly kind: "answered"; readonly ending: Ending }
  /** Nothing was sent to the client: the door phrases the failure. */
  | { readonly kind: "unanswered"; readonly ending: Ending; readonly failure: UpstreamFailure }
  /** The upstream does not know `stream_options`: nothing was sent to the client, ask again without. */
  | { readonly kind: "usage_not_understood"; readonly ending: Ending };

export type Body = Uint8Array | AsyncIterable<Uint8Array> | null;

/** What all dispatches of a gateway share. */
export type Dispatching = {
  readonly watch: Watch;
  readonly fence: Fence;
  /** Whether streams whose clients left are read no further: the process ends. */
  readonly isCutShort: () => boolean;
  readonly leavers: Leavers;
  /** Told when a client left an attempt that was sent: the same content again is its retry. */
  readonly onLeft: (permit: Permit) => void;
};

export function dispatch(
  ports: Ports,
  shared: Dispatching,
  request: Dispatch,
  reply: Reply,
): Promise<Dispatched> {
  const unmade = (error: unknown): Dispatched => {
    ports.log.error({ error, attemptId: request.permit.attemptId }, "a body could not be made");
    const message = "its body could not be made ready";
    return unsent({ kind: "refused", sent: false, message });
  };
  const send = (body: Body): Promise<Dispatched> => {
    const lapse = shared.fence.refusal(request.permit.askedAtMs);
    if (lapse !== null) {
      return Promise.resolve(unsent({ kind: "lapsed", sent: false, message: lapse }));
    }
    if (reply.isGone()) {
      return Promise.resolve({ kind: "answered", ending: neverSent("the client left", true) });
    }
    return new Promise((resolve) => run(ports, shared, { request, body, reply, resolve }));
  };
  try {
    const body = request.body();
    return body instanceof Promise ? body.then(send, unmade) : send(body);
  } catch (error) {
    return Promise.resolve(unmade(error));
  }
}

/** Nothing was sent anywhere. */
function unsent(failure: UpstreamFailure): Dispatched {
  return { kind: "unanswered", ending: neverSent(failure.message), failure };
}

type Running = {
  readonly request: Dispatch;
  readonly body: Body;
  readonly reply: Reply;
  readonly resolve: (dispatched: Dispatched) => void;
};

function run(ports: Ports, shared: Dispatching, running: Running): void {
  const { request, body, reply, resolve } = running;
  const startedMs = ports.monotonicMs();
  const { isFree, drains } = termsOf(request.permit);
  let status: number | null = null;
  let firstByteMs: number | null = null;
  let upstreamHeaders: readonly string[] = [];
  let meter: Meter | null = null;
  let mode: "waiting" | "streaming" | "holding" | "passing" = "waiting";
  const held = emptyBytes();
  let isPaused = false;
  let isEnded = false;
  let gone: Gone | null = null;
  let stay: (() => void) | null = null;
  let lastWriteMs = startedMs;

  const common = (error: string | null) => ({
    durationMs: ports.monotonicMs() - startedMs,
    firstByteMs,
    status,
    error,
    upstreamRequestId: valueOf(upstreamHeaders, "x-request-id"),
    clientLeft: gone?.isUnread ?? false,
  });
  const close = () => {
    isEnded = true;
    shared.watch.remove(watched);
    stay?.();
    stay = null;
  };
  const finish = (dispatched: Dispatched) => {
    close();
    resolve(dispatched);
  };

  const answeredEnding = (error: string | null): Ending => {
    const reading = meter?.reading() ?? NOTHING_READ;
    const failed =
      error ?? reading.error?.message ?? ((status ?? 0) >= 400 ? `HTTP ${status}` : null);
    if (isUnknown(request.permit, reading, status)) return { ...common(failed), kind: "unknown" };
    const kind = failed === null ? "succeeded" : "failed";
    return { ...common(failed), kind, reading, text: () => meter?.deliveredText() ?? "" };
  };

  const headWith = (ours: readonly string[], isStream: boolean) => {
    const headers = clientHeaders(upstreamHeaders, isStream);
    if (isStream) headers.push("x-accel-buffering", "no");
    if (valueOf(headers, "x-request-id") === null) headers.push("x-request-id", request.requestId);
    headers.push(...ours);
    reply.head(status ?? 502, headers, isStream);
  };

  const onHead = (code: number, headers: readonly string[]) => {
    status = code;
    upstreamHeaders = headers;
    firstByteMs = ports.monotonicMs() - startedMs;
    const isStream = isEventStream(headers);
    if (isStream || !mayBeEvents(request.permit, request.route, code)) begin(isStream);
  };

  /** With the head, or with the first bytes where the head leaves open what they are. */
  const begin = (isStream: boolean) => {
    if (request.route.billing === "metered") {
      meter = createMeter(request.route, {
        stream: isStream,
        hideUsage: request.hideUsage && isStream,
        isEncoded: isEncoded(upstreamHeaders),
      });
    }
    if (isStream || meter === null) {
      headWith(request.ours.early(), isStream);
      mode = isStream ? "streaming" : "passing";
    } else mode = "holding";
  };

  const send = (bytes: Uint8Array): boolean => {
    if (bytes.byteLength === 0 || reply.isGone()) return true;
    lastWriteMs = ports.monotonicMs();
    const flows = reply.write(bytes);
    isPaused = !flows;
    return flows;
  };

  const beginWithHeld = (isStream: boolean): boolean => {
    const first = joinParts(held);
    clearBytes(held);
    begin(isStream);
    return onData(first);
  };

  const onData = (chunk: Uint8Array): boolean => {
    if (isEnded) return true;
    if (mode === "waiting") {
      addBytes(held, chunk);
      const isStream = beginsEvents(joinParts(held));
      return isStream === null || beginWithHeld(isStream);
    }
    const passed = meter === null ? chunk : meter.push(chunk);
    if (mode !== "holding") return send(passed);
    addBytes(held, passed);
    if (held.length <= ANSWER_HELD_BYTES_MAX) return true;
    headWith(request.ours.early(), false);
    mode = "passing";
    let flows = true;
    for (const part of partsOf(held)) flows = send(part);
    clearBytes(held);
    return flows;
  };

  const onEnd = () => {
    if (isEnded) return;
    if (mode === "waiting") beginWithHeld(false);
    const rest = meter?.flush() ?? EMPTY;
    if (mode !== "streaming" && isCutDocument(request.route, status, meter)) {
      onFail({ kind: "protocol", sent: true, message: "no complete answer came" });
      return;
    }
    if (mode === "holding") {
      if (rest.byteLength > 0) addBytes(held, rest);
      answerWhole(answeredEnding(null));
      return;
    }
    send(rest);
    if (mode === "streaming" && isCut(request.route, status, meter)) {
      cutStream("The upstream ended the stream before it was complete.");
      return;
    }
    reply.end();
    finish({ kind: "answered", ending: answeredEnding(null) });
  };

  const answerWhole = (ending: Ending) => {
    if (request.hideUsage && status === 400 && namesStreamOptions(partsOf(held))) {
      finish({ kind: "usage_not_understood", ending });
      return;
    }
    close();
    const give = (ours: readonly string[]) => {
      if (reply.isGone()) return;
      headWith(ours, false);
      reply.end(joinParts(held));
    };
    // What fails here is ours: the client sees a broken answer, the attempt still has its ending.
    const failed = (error: unknown) => {
      const { attemptId } = request.permit;
      ports.log.error({ error, attemptId }, "an answer could not be given");
      reply.destroy();
    };
    const over = () => resolve({ kind: "answered", ending });
    try {
      const ours = request.ours.whole(ending);
      if (ours instanceof Promise) return void ours.then(give).catch(failed).then(over);
      give(ours);
    } catch (error) {
      failed(error);
    }
    over();
  };

  /** Told in the client's dialect, then a polite end, never a marker; behind encoded bytes words would be none. */
  const cutStream = (message: string) => {
    const reading = meter?.reading() ?? NOTHING_READ;
    if (isEncoded(upstreamHeaders)) reply.destroy();
    else if (!reply.isGone()) {
      reply.write(streamError(request.route, message, meter));
      reply.end();
    }
    // Without usage nobody knows what the upstream bills for the part that it made. One that tells it as it
    // goes told only of that part, and may bill the rest: enough for a tolerant tenant.
    const isTold = drains ? isToldWhole(reading) : reading.usage !== null;
    const ending: Ending = !isTold
      ? { ...common(message), kind: "unknown" }
      : { ...common(message), kind: "failed", reading, text: () => "" };
    finish({ kind: "answered", ending });
  };

  const onFail = (failure: UpstreamFailure) => {
    if (isEnded) return;
    const isFault = failure.kind === "fault";
    // What reads the answer is what failed: it is asked nothing more.
    if (isFault) meter = null;
    const kind = failure.sent ? "unknown" : "released";
    const ending: Ending = { ...common(failure.message), kind };
    if (gone !== null) {
      finish({ kind: "answered", ending: failure.sent && !isFault ? abortedEnding() : ending });
      return;
    }
    // The marker of a complete stream has passed: what breaks behind it takes nothing of the answer away.
    if (mode === "streaming" && meter?.reading().progress === "complete") return onEnd();
    if (mode === "streaming") return cutStream(`The upstream broke off: ${failure.message}.`);
    if (mode === "passing") {
      reply.destroy();
      finish({ kind: "answered", ending });
    } else finish({ kind: "unanswered", ending, failure });
  };

  const unsentEnding = (error: string): Ending => ({ ...common(error), kind: "released" });

  const abortedEnding = (): Ending => {
    const reading = meter?.reading() ?? NOTHING_READ;
    if (reading.progress === "complete") return answeredEnding(null);
    // A stream was cut by its client: what came of it was delivered. Of an answer that was to come whole
    // nothing can be counted; and a strict tenant is charged no guess below what may be billed.
    if (!isCuttable() || (drains && !isToldWhole(reading)))
      return { ...common("the client left"), kind: "unknown" };
    return {
      ...common("the client left"),
      kind: "aborted",
      reading,
      text: () => meter?.deliveredText() ?? "",
    };
  };

  const isCuttable = () =>
    mode === "streaming" || (mode === "waiting" && request.permit.intent.stream) || isFree;

  // A stream whose client left is worth finishing for the usage that follows a finish reason, and for a
  // strict tenant: what an upstream bills that goes on after its connection is closed nobody could know.
  // An answer that was to come whole is: most upstreams finish and bill it anyway, and then say what.
  const onGone = () => {
    if (isEnded) return;
    gone = goneAt(ports.monotonicMs(), mode === "streaming" ? meter : null);
    exchange.resume();
    if (!exchange.isSent()) {
      exchange.abort();
      if (!isEnded) finish({ kind: "answered", ending: unsentEnding("the client left") });
      return;
    }
    shared.onLeft(request.permit);
    const awaitsUsage = mode === "streaming" && meter?.reading().progress === "finishing";
    const isOver = mode === "passing" || (isCuttable() && !drains && !awaitsUsage);
    if (!isOver) stay = shared.leavers.stay(request.permit.tenantId);
    if (stay === null) {
      exchange.abort();
      if (!isEnded) finish({ kind: "answered", ending: abortedEnding() });
    }
  };

  // After the marker of a complete stream nothing is to come, though its upstream may never close it.
  const isGoneTooLong = (goneMs: number) => {
    if (goneMs > (drains ? LEFT_STREAM_MS_MAX : USAGE_WAIT_MS)) return true;
    return shared.isCutShort() || meter?.reading().progress === "complete";
  };

  const watched = shared.watch.add((nowMs) => {
    if (nowMs - startedMs > request.permit.upstream.timeoutMs) {
      const failure: UpstreamFailure = {
        kind: "timeout",
        sent: exchange.isSent(),
        message: `no complete answer within ${request.permit.upstream.timeoutMs} ms`,
      };
      onFail(failure);
      exchange.abort();
    } else if (!exchange.isSent() && shared.fence.refusal(request.permit.askedAtMs) !== null) {
      // It waits for a connection, and would be refused one by now.
      onFail({ kind: "lapsed", sent: false, message: "its permit lapsed before it was sent" });
      exchange.abort();
    } else if (gone !== null && isCuttable() && isGoneTooLong(nowMs - gone.atMs)) {
      exchange.abort();
      if (!isEnded) finish({ kind: "answered", ending: abortedEnding() });
    } else if (mode === "streaming" && !isPaused && nowMs - lastWriteMs > KEEP_ALIVE_MS) {
      if (gone === null && meter?.betweenEvents() === true) send(KEEP_ALIVE_BYTES);
    }
  });
  const exchange: UpstreamExchange = ports.upstream.dispatch(
    upstreamRequest(request, body, () => shared.fence.refusal(request.permit.askedAtMs) === null),
    { onHead, onData, onEnd, onFail },
  );
  reply.onDrain(() => {
    isPaused = false;
    exchange.resume();
  });
  reply.onGone(onGone);
}

function upstreamRequest(
  { permit, path, method, headers }: Dispatch,
  body: Body,
  mayStart: () => boolean,
): UpstreamRequest {
  const { name: upstream, origin } = permit.upstream;
  return { upstream, origin, path, method, headers, body, mayStart };
}

const EMPTY = new Uint8Array(0);
const KEEP_ALIVE_BYTES = new TextEncoder().encode(KEEP_ALIVE);
