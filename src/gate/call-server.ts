/**
 * Asks an MCP server what a permit allows, and ends the permit: exactly once, by what is known of it.
 *
 * An answer of the server ends it as succeeded or failed. Where nothing was sent, nothing ran. In every other case
 * nobody knows whether it ran, and the attempt is told as unknown, its money held: a server that hangs, dies or answers
 * what cannot be read may have done what it was asked.
 */
import { NOTHING, type Charge } from "../core/charge.ts";
import { RESULT_STORED_BYTES_MAX } from "../core/limits.ts";
import { PROGRESS_TOLD_MAX } from "../core/limits-tools.ts";
import { ANY_OUTPUT, type Tool } from "../core/tool.ts";
import { checkResult, resultRecord } from "../core/tool-result.ts";
import {
  flawOfResult,
  flawOfToolResult,
  logOf,
  progressOf,
  type Members,
} from "../dialects/mcp.ts";
import { assert } from "../lib/assert.ts";
import { asWritten } from "../lib/exact-json.ts";
import { clipped, isList, isRecord } from "../lib/json.ts";
import type { ToolPermit } from "./admit.ts";
import { ask, type AskParts } from "./ask-server.ts";
import type { Captured } from "./capture.ts";
import { NOTHING_READ, type Ending } from "./ending.ts";
import type { Fence } from "./fence.ts";
import { isNoOfHttp, type ServerAnswer } from "./server-exchange.ts";

export type ServerCall = {
  readonly method: string;
  /** With exact numbers. */
  readonly params: Members;
  /** As it is declared, of a call of a tool; null: nobody declared it, or it is no tool. */
  readonly tool: Tool | null;
  readonly onProgress: ((params: Members) => void) | null;
  readonly onLog: ((params: Members) => void) | null;
  readonly signal: AbortSignal | null;
};

/** What its caller is told. */
export type Called =
  /** Its numbers are written as they were, see `lib/exact-json.ts`. */
  | { readonly kind: "result"; readonly result: Members; readonly ending: Ending }
  /** The server's own error, as it told it. */
  | {
      readonly kind: "error";
      readonly code: number;
      readonly message: string;
      readonly data: unknown;
      readonly ending: Ending;
    }
  /** `reason`: a word for programs, beside the sentence. */
  | {
      readonly kind: "failed";
      readonly reason: "not_run" | "outcome_unknown" | "withheld";
      readonly message: string;
      readonly ending: Ending;
    };

export type CallParts = AskParts & {
  readonly fence: Fence;
  readonly settle: (
    permit: ToolPermit,
    ending: Ending,
    charge: Charge,
    captured: Captured | null,
  ) => Promise<unknown>;
};

/** `settled` resolves when the ending has committed. */
export async function callServer(
  parts: CallParts,
  permit: ToolPermit,
  call: ServerCall,
): Promise<{ readonly called: Called; readonly settled: Promise<unknown> }> {
  const startedMs = parts.monotonicMs();
  const { server, tenantId } = permit;
  const answer = await ask(
    parts,
    { tenantId, server },
    { method: call.method, params: call.params },
    {
      timeoutMs: server.timeoutMs,
      mayStart: () => parts.fence.refusal(permit.askedAtMs) === null,
      onProgress: progressTo(call),
      onLog: logTo(call),
      signal: call.signal,
    },
  );
  const durationMs = parts.monotonicMs() - startedMs;
  const { called, captured, ran } = calledBy(permit, call, { answer, durationMs });
  const charge = ran ? priceOf(permit) : NOTHING;
  return { called, settled: parts.settle(permit, called.ending, charge, captured) };
}

/** What is searched of results would pass in the words that come before them. */
function mayTellWords({ tool }: ServerCall): boolean {
  const { bytesMax, block, redact } = tool?.output ?? ANY_OUTPUT;
  return bytesMax === null && block.length === 0 && redact.length === 0;
}

function logTo(call: ServerCall): ServerCall["onLog"] {
  const { onLog } = call;
  if (onLog === null || !mayTellWords(call)) return null;
  let told = 0;
  return (params) => {
    told += 1;
    if (told <= PROGRESS_TOLD_MAX) onLog(logOf(params));
  };
}

function progressTo(call: ServerCall): ServerCall["onProgress"] {
  const { onProgress } = call;
  if (onProgress === null) return null;
  const mayTell = mayTellWords(call);
  let told = 0;
  return (params) => {
    told += 1;
    if (told <= PROGRESS_TOLD_MAX) onProgress(progressOf(params, mayTell));
  };
}

type Answered = { readonly answer: ServerAnswer; readonly durationMs: number };
type Ended = {
  readonly called: Called;
  readonly captured: Captured | null;
  /** False: it is known that nothing ran, whatever its caller is told of it. */
  readonly ran: boolean;
};

function calledBy(permit: ToolPermit, call: ServerCall, { answer, durationMs }: Answered): Ended {
  const common = {
    durationMs,
    firstByteMs: null,
    upstreamRequestId: null,
    clientLeft: false,
  };
  const read = { reading: NOTHING_READ, text: () => "" };
  const failed = (error: string, status: number | null): Ending => ({
    ...common,
    ...read,
    kind: "failed",
    status,
    error: clipped(error, ERROR_CHARS_MAX),
  });
  switch (answer.kind) {
    case "error": {
      const { code, status } = answer;
      const told = errorPassing(call, answer);
      const details = taintOf(call);
      const ran = !NOT_RUN.has(code) && !isNoOfHttp(status ?? 200);
      const words = told.kind === "withheld" ? "withheld" : told.message;
      const ending: Ending = { ...failed(`${code}: ${words}`, status), details };
      if (told.kind === "told")
        return { called: { ...told, kind: "error", code, ending }, captured: null, ran };
      const message = `The MCP server \`${permit.server.name}\` told an error (${code}), which is withheld: ${told.why}`;
      return {
        called: { kind: "failed", reason: "withheld", message, ending },
        captured: null,
        ran,
      };
    }
    case "refused": {
      const ending: Ending = { ...failed(answer.message, answer.status) };
      const message = `The MCP server \`${permit.server.name}\` refused it (${answer.message}), so it was not run.`;
      return {
        called: { kind: "failed", reason: "not_run", message, ending },
        captured: null,
        ran: false,
      };
    }
    case "unanswered":
      return { called: unanswered(permit, answer, common), captured: null, ran: answer.sent };
    case "result": {
      const { result } = answer;
      const ofTool = call.method === "tools/call" ? flawOfToolResult(result) : null;
      const flaw = flawOfResult(result) ?? ofTool;
      if (flaw === null) return answered(permit, call, answer, { ...common, ...read, status: 200 });
      const told = { sent: true, message: `its result cannot be read: ${flaw}` };
      return { called: unanswered(permit, told, common), captured: null, ran: true };
    }
  }
}

/** What comes to a model that nobody vouches for: of servers' lists, tools were approved, and the rest names what there is. */
const READ_BY_MODELS: ReadonlySet<string> = new Set([
  "tools/call",
  "resources/read",
  "prompts/get",
]);

type ErrorPassing =
  | { readonly kind: "told"; readonly message: string; readonly data: unknown }
  | { readonly kind: "withheld"; readonly why: string };

/** An error passes by the terms of a result: else a server would put into it what may not pass there. */
function errorPassing(
  { tool }: ServerCall,
  { message, data: exact, bytes }: Extract<ServerAnswer, { kind: "error" }>,
): ErrorPassing {
  const data = asWritten(exact);
  const result = {
    content: [{ type: "text", text: message }],
    ...(data === undefined ? {} : { structuredContent: data }),
  };
  const checked = checkResult(result, tool?.output ?? ANY_OUTPUT, bytes);
  if (checked.kind === "withheld") return checked;
  const passing = checked.result;
  assert(isRecord(passing) && isList(passing["content"]), "what is checked keeps its form");
  const [block] = passing["content"];
  const text = isRecord(block) ? block["text"] : null;
  assert(typeof text === "string", "a text stays one");
  return { kind: "told", message: text, data: passing["structuredContent"] };
}

/** An error of a server may be of any length. */
const ERROR_CHARS_MAX = 1_000;

type ReadCommon = Common & {
  readonly status: number;
  readonly reading: typeof NOTHING_READ;
  readonly text: () => string;
};

type Common = Pick<Ending, "durationMs" | "firstByteMs" | "upstreamRequestId" | "clientLeft">;

function unanswered(
  { server, attemptId }: ToolPermit,
  { sent, message: why }: { readonly sent: boolean; readonly message: string },
  common: Common,
): Called {
  const error = clipped(why, ERROR_CHARS_MAX);
  if (!sent) {
    const ending: Ending = { ...common, kind: "released", status: null, error };
    const message = `Nothing was sent to the MCP server \`${server.name}\` (${error}), so it was not run and nothing is charged.`;
    return { kind: "failed", reason: "not_run", message, ending };
  }
  const ending: Ending = { ...common, kind: "unknown", status: null, error };
  const message =
    `The MCP server \`${server.name}\` gave no answer (${error}), so nobody knows whether it ran. ` +
    `Find out before it is done again, and reconcile attempt ${attemptId}.`;
  return { kind: "failed", reason: "outcome_unknown", message, ending };
}

/**
 * Whatever a tool that is not trusted answers taints its run: its error too, whose words its server chose, and a result
 * that is withheld, for the sentence in place of it may name members as the server did.
 */
function taintOf({ method, tool }: ServerCall): { readonly untrusted?: true } {
  const isTrusted = tool?.isTrusted === true || !READ_BY_MODELS.has(method);
  return isTrusted ? {} : { untrusted: true };
}

/** What of it passes is up to the tool's declaration; what it costs and whether it ran is not. */
function answered(
  permit: ToolPermit,
  call: ServerCall,
  { result: exact, bytes }: Extract<ServerAnswer, { kind: "result" }>,
  common: ReadCommon,
): Ended {
  const isTool = call.method === "tools/call";
  const result = asWritten(exact);
  assert(isRecord(result), "an object stays one");
  const isError = isTool && result["isError"] === true;
  const output = call.tool?.output ?? ANY_OUTPUT;
  const checked = isTool ? checkResult(result, output, bytes) : null;
  const passing = checked?.kind === "pass" ? checked.result : result;
  const isWithheld = checked?.kind === "withheld";
  const captured = isError || isWithheld ? null : keptResult(permit, passing);
  const details = {
    ...(checked === null ? {} : { tool_result: resultRecord(checked, bytes) }),
    ...taintOf(call),
    ...(permit.answerKeptMs === null || isError ? {} : { result: keptAs(captured, isWithheld) }),
  };
  const ending: Ending = {
    ...common,
    kind: isError ? "failed" : "succeeded",
    error: isError ? "the tool told an error" : null,
    details,
  };
  if (isWithheld) {
    const message = `\`${permit.intent.resource}\` ran, and its result is withheld: ${checked.why}`;
    return {
      called: { kind: "failed", reason: "withheld", message, ending },
      captured: null,
      ran: true,
    };
  }
  assert(isRecord(passing), "what passes of a result is an object");
  return { called: { kind: "result", result: passing, ending }, captured, ran: true };
}

/** For those who ask again for the same; null where nobody may, or it is more than is kept. */
function keptResult({ answerKeptMs }: ToolPermit, result: unknown): Captured | null {
  if (answerKeptMs === null) return null;
  const body = Buffer.from(JSON.stringify(result));
  return body.byteLength > RESULT_STORED_BYTES_MAX ? null : { status: 200, headers: [], body };
}

function keptAs(captured: Captured | null, isWithheld: boolean): "kept" | "none" | "too_large" {
  if (captured !== null) return "kept";
  return isWithheld ? "none" : "too_large";
}

/** Codes by which a server says that it ran nothing: it does not know the method, or the arguments are none of it. */
const NOT_RUN: ReadonlySet<number> = new Set([-32_700, -32_600, -32_601, -32_602]);

/** A call that ran costs its price; where none is declared it is unpriced, which is not the same as free. */
function priceOf({ estimate }: ToolPermit): Charge {
  if (estimate.basis === "free") return NOTHING;
  const { costPicousd } = estimate;
  if (costPicousd === null) return { ...NOTHING, basis: "unpriced", costPicousd: null };
  return { ...NOTHING, basis: "computed", costPicousd };
}
