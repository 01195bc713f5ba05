import type { Reply, UpstreamListener, UpstreamPort } from "../../src/gate/ports.ts";
import { chatAnswer, chatFrames, errorAnswer } from "../support/openai-answers.ts";

/** How the simulated upstream answers. None uses more than the ask was bounded by. */
export const ANSWERS = [
  "whole",
  "whole without usage",
  "error",
  "stream",
  "stream without usage",
  "cut stream",
  "truncated stream",
  "refused",
  "reset",
] as const;

export type AnswerKind = (typeof ANSWERS)[number];

/** A dispatch that reached the upstream: the truth that decisions are compared with. */
export type Exchange = {
  readonly attemptId: string;
  isOver: boolean;
  readonly answer: (kind: AnswerKind, output: number) => void;
};

/** The upstream port, played by the simulation: it answers when it is told to, or never. */
export function createSimulatedUpstream(journal: Exchange[]): UpstreamPort {
  return {
    dispatch: (request, listener) => {
      const attemptId = request.headers[1] ?? "";
      const exchange: Exchange = {
        attemptId,
        isOver: false,
        answer: (kind, output) => {
          if (exchange.isOver) return;
          exchange.isOver = true;
          play(listener, kind, output);
        },
      };
      journal.push(exchange);
      const abort = () => {
        if (exchange.isOver) return;
        exchange.isOver = true;
        listener.onFail({ kind: "aborted", sent: true, message: "aborted" });
      };
      return { isSent: () => true, resume: () => undefined, abort };
    },
    close: async () => undefined,
  };
}

function play(listener: UpstreamListener, kind: AnswerKind, output: number): void {
  const usage = { input: 3, output };
  switch (kind) {
    case "refused":
      return listener.onFail({ kind, sent: false, message: "connection refused" });
    case "reset":
      return listener.onFail({ kind, sent: true, message: "connection reset" });
    case "error":
      listener.onHead(500, ["content-type", "application/json"]);
      send(listener, JSON.stringify(errorAnswer("down", "server_error", null)));
      return listener.onEnd();
    case "whole":
    case "whole without usage": {
      listener.onHead(200, ["content-type", "application/json"]);
      send(listener, JSON.stringify(chatAnswer("m", "ab", kind === "whole" ? usage : null)));
      return listener.onEnd();
    }
    default: {
      listener.onHead(200, ["content-type", "text/event-stream"]);
      const frames = chatFrames("m", ["a", "b"], kind === "stream without usage" ? null : usage);
      const isCut = kind === "cut stream" || kind === "truncated stream";
      for (const frame of isCut ? frames.slice(0, 2) : frames) send(listener, frame);
      if (kind === "cut stream") {
        return listener.onFail({ kind: "reset", sent: true, message: "connection reset" });
      }
      return listener.onEnd();
    }
  }
}

function send(listener: UpstreamListener, text: string): void {
  listener.onData(new TextEncoder().encode(text));
}

/** A client that takes everything, until it leaves. */
export function createSimulatedReply(): Reply & { readonly leave: () => void } {
  let isGone = false;
  const listeners: (() => void)[] = [];
  return {
    head: () => undefined,
    write: () => true,
    end: () => undefined,
    destroy: () => undefined,
    onDrain: () => undefined,
    onGone: (listener) => void listeners.push(listener),
    isGone: () => isGone,
    leave: () => {
      isGone = true;
      for (const listener of listeners) listener();
    },
  };
}
