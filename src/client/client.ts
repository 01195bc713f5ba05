/**
 * A small client of the gate: it runs a step when the gate allows it, keeps its lease, and says how it
 * ended. Plain `fetch`, no dependency; Node, Workers and browsers.
 */
import { createAmbient, headersOf, within, type Ambient, type Context } from "./ambient.ts";
import { checkOptions } from "./options.ts";
import { tellOutcome, type Outcome, type OutcomeCall } from "./outcome.ts";
import { runStep, type Attempt, type StepCall } from "./step.ts";
import { createTransport, type Fetch, type Transport } from "./transport.ts";

export {
  GateUnavailable,
  InProgress,
  NotExecuted,
  NotRecorded,
  OutcomeUnknown,
  Refused,
  TollgateError,
} from "./errors.ts";
export type { Context } from "./ambient.ts";
export type { Outcome, OutcomeCall } from "./outcome.ts";
export type { Attempt, StepCall } from "./step.ts";
export type { Disposition, Prior, RetryContext } from "./wire.ts";

export type ClientOptions = {
  /** Where Tollgate answers, with or without `/v1`: `http://127.0.0.1:8787`. */
  readonly baseURL: string;
  /** A key with the scope `invoke`. */
  readonly apiKey: string;
  readonly fetch?: Fetch;
  /** For one answer of the gate (default 30,000). */
  readonly timeoutMs?: number;
  /** Further tries where the gate says that trying again helps (default 2). */
  readonly maxRetries?: number;
};

/** `step` may depend on the input: what is stable when the same thing is tried again. */
export type ToolOptions<Input> = Omit<StepCall, "kind" | "name" | "arguments" | "step"> & {
  readonly step?: string | ((input: Input) => string);
};

export type Gate = {
  /**
   * Runs the function if the gate allows it, and completes or fails the attempt. If it was done before
   * under the same name, key or effect, answers what it gave then. Throws Refused otherwise.
   */
  readonly step: <Result>(
    call: StepCall,
    work: (attempt: Attempt) => Result | Promise<Result>,
  ) => Promise<Awaited<Result>>;
  /**
   * A function that passes the gate each time. Its first argument is what the gate sees, as frameworks
   * call their tools; further ones pass through.
   */
  readonly wrapTool: <Input, Result, Rest extends readonly unknown[]>(
    name: string,
    work: (input: Input, ...rest: Rest) => Result | Promise<Result>,
    options?: ToolOptions<Input>,
  ) => (input: Input, ...rest: Rest) => Promise<Awaited<Result>>;
  /** All that happens in the function, and in what it awaits, belongs to this context. */
  readonly run: <Result>(context: Context, work: (gate: Gate) => Result) => Result;
  /**
   * Says what became of a run, by itself of the one around it, or of an operation. Saying the same again is
   * no news; throws TollgateError (409) where something else holds and is not named in `supersedes`.
   */
  readonly outcome: (call: OutcomeCall) => Promise<Outcome>;
  /** The headers of the context, for a request that is about to be made. */
  readonly headers: () => Record<string, string>;
  /**
   * For libraries that take a `fetch` (`openai`, LangChain, the AI SDK, OpenAI Agents): adds the headers of
   * the context to each request to Tollgate, and to no other.
   */
  readonly fetch: Fetch;
};

const TIMEOUT_MS = 30_000;
const RETRIES_MAX = 2;

/** Throws TypeError, at once, for options that are unknown, missing or of another form. */
export function createClient(options: ClientOptions): Gate {
  checkOptions(options);
  const origin = options.baseURL.replace(/\/+$/, "").replace(/\/v1$/, "");
  const send = options.fetch ?? globalThis.fetch.bind(globalThis);
  const transport = createTransport({
    origin,
    apiKey: options.apiKey,
    fetch: send,
    timeoutMs: options.timeoutMs ?? TIMEOUT_MS,
    maxRetries: options.maxRetries ?? RETRIES_MAX,
  });
  return gateIn({ transport, ambient: createAmbient(), send, origin }, {});
}

type Parts = {
  readonly transport: Transport;
  readonly ambient: Ambient;
  readonly send: Fetch;
  readonly origin: string;
};

/** `own`: what a gate that `run` handed out carries even where nothing travels by itself. */
function gateIn(parts: Parts, own: Context): Gate {
  const ambient: Ambient = { ...parts.ambient, get: () => within(own, parts.ambient.get()) };
  const step: Gate["step"] = (call, work) =>
    runStep({ transport: parts.transport, ambient }, call, work);
  const gate: Gate = {
    step,
    wrapTool: (name, work, { step: named, ...options } = {}) => {
      return (input, ...rest) => {
        const key = typeof named === "function" ? named(input) : named;
        const call = { ...options, ...(key === undefined ? {} : { step: key }) };
        return step({ ...call, kind: "tool", name, arguments: input }, () => work(input, ...rest));
      };
    },
    run: (context, work) => {
      const inner = within(ambient.get(), context);
      return parts.ambient.with(inner, () => work(gateIn(parts, inner)));
    },
    outcome: (call) => tellOutcome({ transport: parts.transport, ambient }, call),
    headers: () => headersOf(ambient.get()),
    fetch: (input, init) => {
      const url = input instanceof Request ? input.url : String(input);
      if (!isBelow(url, parts.origin)) return parts.send(input, init);
      const headers = new Headers(init?.headers ?? (input instanceof Request ? input.headers : {}));
      for (const [name, value] of Object.entries(headersOf(ambient.get()))) {
        if (!headers.has(name)) headers.set(name, value);
      }
      return parts.send(input, { ...init, headers });
    },
  };
  return gate;
}

/** Whether a request goes to Tollgate: nobody else is told where a call belongs. */
function isBelow(url: string, origin: string): boolean {
  return url === origin || url.startsWith(`${origin}/`) || url.startsWith(`${origin}?`);
}
