/**
 * One keep-alive connection with one call at a time: a request made beforehand leaves in one write, and
 * the answer is counted, not kept. It is opened anew for the next call when the server closes it.
 */
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import {
  expectAnswer,
  faultOfAnswer,
  feed,
  feedEnd,
  isShed,
  newAnswerReader,
  type AnswerReader,
} from "./answer-reader.ts";

export type Exchange = {
  readonly host: string;
  readonly port: number;
  readonly request: Buffer;
  /** What every answer's body must be: its length, and the bytes that it ends with. */
  readonly expectedBytes: number;
  readonly expectedTail: Buffer;
};

export type Listener = {
  /** The first byte of the body is here. */
  readonly onFirstByte: () => void;
  /** The call is over: null when the answer is the expected one, otherwise what is wrong. */
  readonly onEnd: (fault: string | null) => void;
  /** The server sent bytes that nobody asked for. */
  readonly onUnasked: () => void;
  /**
   * Called instead of `onEnd` for a whole answer 503 with Retry-After: a call that was turned away.
   * Without it that is a fault like any other.
   */
  readonly onShed?: () => void;
  /** The bytes of a read, before they are counted; they are overwritten by the next one. */
  readonly onBytes?: (buffer: Buffer, length: number) => void;
};

export type Connection = {
  /** Connects before the first call; rejects when it cannot. */
  readonly open: () => Promise<void>;
  /** Sends the request. Only when no call is under way. */
  readonly send: () => void;
  readonly isBusy: () => boolean;
  /** Ends it; a call under way fails for this reason. */
  readonly abandon: (reason: string) => void;
  /** How often the server closed it after or between answers, so that it was opened once more. */
  readonly reopened: () => number;
};

/** A read brings at most this much; five SSE answers of the bench. */
const READ_BYTES_MAX = 64 * 1024;
const FAULT_TEXT_BYTES_MAX = 200;

type State = {
  socket: Socket | null;
  busy: boolean;
  opened: number;
  /** What the operating system said last of the current socket. */
  trouble: string | null;
};

export const newConnection = (exchange: Exchange, listener: Listener): Connection => {
  const reader = newAnswerReader(exchange.expectedBytes, exchange.expectedTail);
  const state: State = { socket: null, busy: false, opened: 0, trouble: null };
  // Filled by each read, instead of a new buffer for each.
  const buffer = Buffer.allocUnsafeSlow(READ_BYTES_MAX);

  const drop = (): void => {
    const { socket } = state;
    state.socket = null;
    socket?.destroy();
  };

  const end = (fault: string | null): void => {
    state.busy = false;
    if (fault !== null || !reader.keepsAlive) drop();
    listener.onEnd(fault);
  };

  const endShed = (onShed: () => void): void => {
    state.busy = false;
    if (!reader.keepsAlive) drop();
    onShed();
  };

  const onRead = (bytes: number): void => {
    if (!state.busy) {
      drop();
      listener.onUnasked();
      return;
    }
    const isFirst = reader.bodyBytes === 0;
    listener.onBytes?.(buffer, bytes);
    feed(reader, buffer, bytes);
    if (isFirst && reader.bodyBytes > 0) listener.onFirstByte();
    if (reader.state !== "whole" && reader.state !== "broken") return;
    if (listener.onShed !== undefined && isShed(reader)) endShed(listener.onShed);
    else end(faultTold(reader, buffer, bytes));
  };

  const onClose = (): void => {
    state.socket = null;
    if (!state.busy) return;
    feedEnd(reader);
    const fault = faultOfAnswer(reader);
    end(fault === null || state.trouble === null ? fault : `${fault} (${state.trouble})`);
  };

  const open = (): Socket => {
    // Events of a socket that was dropped are of no call any more.
    const ifCurrent = (act: () => void): void => {
      if (state.socket === socket) act();
    };
    const callback = (bytes: number): boolean => {
      if (state.socket === socket) onRead(bytes);
      return true;
    };
    const { host, port } = exchange;
    const socket = connect({ host, port, noDelay: true, onread: { buffer, callback } });
    socket.on("error", (error) => ifCurrent(() => (state.trouble = error.message)));
    socket.on("end", () => ifCurrent(onClose));
    socket.on("close", () => ifCurrent(onClose));
    state.opened += 1;
    state.trouble = null;
    return socket;
  };

  return {
    open: async () => {
      if (state.socket !== null) return;
      state.socket = open();
      await once(state.socket, "connect");
    },
    send: () => {
      expectAnswer(reader);
      state.busy = true;
      state.socket ??= open();
      state.socket.write(exchange.request);
    },
    isBusy: () => state.busy,
    abandon: (reason) => {
      const wasBusy = state.busy;
      drop();
      if (wasBusy) end(reason);
    },
    reopened: () => Math.max(0, state.opened - 1),
  };
};

/** A refusal's own words say more than its status. */
const faultTold = (reader: AnswerReader, buffer: Buffer, bytes: number): string | null => {
  const fault = faultOfAnswer(reader);
  if (fault === null) return null;
  return `${fault}, ending in ${buffer.toString("utf8", Math.max(0, bytes - FAULT_TEXT_BYTES_MAX), bytes)}`;
};

/** The bytes of a POST with this body. `headers`: names and values in turn. */
export const requestBytes = (
  origin: string,
  path: string,
  headers: readonly string[],
  body: Buffer,
): Buffer => {
  const lines = [
    `POST ${path} HTTP/1.1`,
    `host: ${new URL(origin).host}`,
    "connection: keep-alive",
  ];
  for (let at = 0; at + 1 < headers.length; at += 2)
    lines.push(`${headers[at]}: ${headers[at + 1]}`);
  lines.push("content-type: application/json", `content-length: ${body.length}`, "", "");
  return Buffer.concat([Buffer.from(lines.join("\r\n"), "latin1"), body]);
};
