import {
  chatAnswer,
  chatFrames,
  chatUsage,
  embeddingsAnswer,
  responseAnswer,
  responseFrames,
  type Tokens,
} from "../support/openai-answers.ts";
import { MODEL } from "../support/tollgate.ts";

export type EndpointName = "chat" | "responses" | "completions" | "embeddings" | "pass-through";

/** One way to ask, and how the upstream answers it. */
export type Endpoint = {
  readonly name: EndpointName;
  readonly stream: boolean;
  readonly method: "GET" | "POST";
  readonly path: string;
  readonly body: Readonly<Record<string, unknown>> | null;
  /** A whole answer, or the frames of a stream; `null` usage is an upstream that tells none. */
  readonly answer: (usage: Tokens | null) => unknown;
  readonly frames: (usage: Tokens | null) => readonly string[];
  /** What ends a complete stream. */
  readonly marker: string;
  /** Whether the gateway asks for usage on this stream by itself. */
  readonly injects: boolean;
};

const OUTPUT_TOKENS = 50;
const DELTAS = ["one ", "two ", "three"];

/** Legacy completions as OpenAI sends them. */
function completionAnswer(model: string, text: string, usage: Tokens | null) {
  return {
    id: "cmpl-scripted",
    object: "text_completion",
    created: 1_790_000_000,
    model,
    choices: [{ text, index: 0, logprobs: null, finish_reason: "stop" }],
    ...(usage === null ? {} : { usage: chatUsage(usage) }),
  };
}

export function completionFrames(model: string, deltas: readonly string[], usage: Tokens | null) {
  const chunk = (choices: readonly unknown[], reported: unknown): string => {
    const head = { id: "cmpl-scripted", object: "text_completion", created: 1_790_000_000 };
    const told = usage === null ? {} : { usage: reported };
    return `data: ${JSON.stringify({ ...head, choices, model, ...told })}\n\n`;
  };
  const choice = (text: string, finish: string | null) => [
    { text, index: 0, logprobs: null, finish_reason: finish },
  ];
  return [
    ...deltas.map((text) => chunk(choice(text, null), null)),
    chunk(choice("", "stop"), null),
    ...(usage === null ? [] : [chunk([], chatUsage(usage))]),
    "data: [DONE]\n\n",
  ];
}

const messages = [{ role: "user", content: "Count to three, please." }];

const chat = (stream: boolean): Endpoint => ({
  name: "chat",
  stream,
  method: "POST",
  path: "/v1/chat/completions",
  body: { model: MODEL, messages, max_completion_tokens: OUTPUT_TOKENS, stream },
  answer: (usage) => chatAnswer(MODEL, "one two three", usage),
  frames: (usage) => chatFrames(MODEL, DELTAS, usage),
  marker: "[DONE]",
  injects: stream,
});

const responses = (stream: boolean): Endpoint => ({
  name: "responses",
  stream,
  method: "POST",
  path: "/v1/responses",
  body: { model: MODEL, input: "Count to three.", max_output_tokens: OUTPUT_TOKENS, stream },
  answer: (usage) => responseAnswer(MODEL, "one two three", usage),
  frames: (usage) => responseFrames(MODEL, DELTAS, usage),
  marker: "event: response.completed",
  injects: false,
});

const completions = (stream: boolean): Endpoint => ({
  name: "completions",
  stream,
  method: "POST",
  path: "/v1/completions",
  body: { model: MODEL, prompt: "Count to three.", max_tokens: OUTPUT_TOKENS, stream },
  answer: (usage) => completionAnswer(MODEL, "one two three", usage),
  frames: (usage) => completionFrames(MODEL, DELTAS, usage),
  marker: "[DONE]",
  injects: stream,
});

const embeddings: Endpoint = {
  name: "embeddings",
  stream: false,
  method: "POST",
  path: "/v1/embeddings",
  body: { model: MODEL, input: "Count to three." },
  answer: (usage) => {
    const whole = embeddingsAnswer(MODEL, [[0.1, 0.2, 0.3]], usage?.input ?? 0);
    return usage === null ? { ...whole, usage: undefined } : whole;
  },
  frames: () => [],
  marker: "",
  injects: false,
};

/** A stored response read again: free, and nothing of it is parsed. */
const passThrough = (stream: boolean): Endpoint => ({
  ...responses(stream),
  name: "pass-through",
  method: "GET",
  path: `/v1/responses/resp_scripted${stream ? "?stream=true" : ""}`,
  body: null,
});

export const ENDPOINTS: readonly Endpoint[] = [
  chat(true),
  chat(false),
  responses(true),
  responses(false),
  completions(true),
  completions(false),
  embeddings,
  passThrough(true),
  passThrough(false),
];

export function titleOf({ name, stream }: Endpoint): string {
  return `${name} ${stream ? "streamed" : "whole"}`;
}
