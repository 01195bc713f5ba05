/**
 * Answers as api.openai.com sends them, whole in every member, for the scripted upstream: what a
 * fixture leaves out, a gateway can lose unnoticed.
 */

const CREATED = 1_790_000_000;

export type Tokens = {
  readonly input: number;
  readonly output: number;
  readonly cached?: number;
  readonly reasoning?: number;
};

/** Usage as chat and legacy completions report it. */
export function chatUsage({ input, output, cached = 0, reasoning = 0 }: Tokens) {
  return {
    prompt_tokens: input,
    completion_tokens: output,
    total_tokens: input + output,
    prompt_tokens_details: { cached_tokens: cached, audio_tokens: 0 },
    completion_tokens_details: {
      reasoning_tokens: reasoning,
      audio_tokens: 0,
      accepted_prediction_tokens: 0,
      rejected_prediction_tokens: 0,
    },
  };
}

/** Usage as the Responses API reports it. */
function responseUsage({ input, output, cached = 0, reasoning = 0 }: Tokens) {
  return {
    input_tokens: input,
    input_tokens_details: { cached_tokens: cached },
    output_tokens: output,
    output_tokens_details: { reasoning_tokens: reasoning },
    total_tokens: input + output,
  };
}

/** A whole chat completion. `usage: null` leaves the member out, as upstreams without usage do. */
export function chatAnswer(model: string, content: string, usage: Tokens | null) {
  return {
    id: "chatcmpl-scripted",
    object: "chat.completion",
    created: CREATED,
    model,
    choices: [
      {
        index: 0,
        message: { role: "assistant", content, refusal: null, annotations: [] },
        logprobs: null,
        finish_reason: "stop",
      },
    ],
    ...(usage === null ? {} : { usage: chatUsage(usage) }),
    service_tier: "default",
    system_fingerprint: "fp_scripted",
  };
}

/**
 * The frames of a streamed chat completion, one event each, `[DONE]` last. With `usage` they are
 * what OpenAI sends when asked for it (`"usage":null` on each chunk, then an event without choices);
 * without, what it sends when not asked.
 */
export function chatFrames(model: string, deltas: readonly string[], usage: Tokens | null) {
  const chunk = (choices: readonly unknown[], reported: unknown): string =>
    event({
      id: "chatcmpl-scripted",
      object: "chat.completion.chunk",
      created: CREATED,
      model,
      service_tier: "default",
      system_fingerprint: "fp_scripted",
      choices,
      ...(usage === null ? {} : { usage: reported }),
      obfuscation: "x7Qp",
    });
  const choice = (delta: unknown, finish: string | null) => [
    { index: 0, delta, logprobs: null, finish_reason: finish },
  ];
  return [
    chunk(choice({ role: "assistant", content: "", refusal: null }, null), null),
    ...deltas.map((content) => chunk(choice({ content }, null), null)),
    chunk(choice({}, "stop"), null),
    ...(usage === null ? [] : [chunk([], chatUsage(usage))]),
    "data: [DONE]\n\n",
  ];
}

/** A response object; `status` other than `completed` carries no usage, as at OpenAI. */
export function responseAnswer(model: string, text: string, usage: Tokens | null) {
  return {
    id: "resp_scripted",
    object: "response",
    created_at: CREATED,
    status: "completed",
    background: false,
    error: null,
    incomplete_details: null,
    instructions: null,
    max_output_tokens: null,
    max_tool_calls: null,
    model,
    output: [outputMessage(text, "completed")],
    parallel_tool_calls: true,
    previous_response_id: null,
    prompt_cache_key: null,
    reasoning: { effort: null, summary: null },
    safety_identifier: null,
    service_tier: "default",
    store: true,
    temperature: 1,
    text: { format: { type: "text" }, verbosity: "medium" },
    tool_choice: "auto",
    tools: [],
    top_logprobs: 0,
    top_p: 1,
    truncation: "disabled",
    usage: usage === null ? null : responseUsage(usage),
    user: null,
    metadata: {},
  };
}

/** The full event sequence of a streamed response, `sequence_number` from 0, without `[DONE]`. */
export function responseFrames(model: string, deltas: readonly string[], usage: Tokens | null) {
  const text = deltas.join("");
  const started = { ...responseAnswer(model, "", null), status: "in_progress", output: [] };
  const part = (value: string) => ({
    type: "output_text",
    annotations: [],
    logprobs: [],
    text: value,
  });
  const at = { item_id: "msg_scripted", output_index: 0, content_index: 0 };
  const events: { readonly type: string; readonly [member: string]: unknown }[] = [
    { type: "response.created", response: started },
    { type: "response.in_progress", response: started },
    {
      type: "response.output_item.added",
      output_index: 0,
      item: { ...outputMessage("", "in_progress"), content: [] },
    },
    { type: "response.content_part.added", ...at, part: part("") },
    ...deltas.map((delta) => ({
      type: "response.output_text.delta",
      ...at,
      delta,
      logprobs: [],
      obfuscation: "r2",
    })),
    { type: "response.output_text.done", ...at, text, logprobs: [] },
    { type: "response.content_part.done", ...at, part: part(text) },
    {
      type: "response.output_item.done",
      output_index: 0,
      item: outputMessage(text, "completed"),
    },
    { type: "response.completed", response: responseAnswer(model, text, usage) },
  ];
  return events.map(
    ({ type, ...rest }, index) =>
      `event: ${type}\n${event({ type, sequence_number: index, ...rest })}`,
  );
}

export function embeddingsAnswer(model: string, vectors: readonly number[][], input: number) {
  return {
    object: "list",
    data: vectors.map((embedding, index) => ({ object: "embedding", index, embedding })),
    model,
    usage: { prompt_tokens: input, total_tokens: input },
  };
}

export function errorAnswer(message: string, type: string, code: string | null) {
  return { error: { message, type, param: null, code } };
}

function outputMessage(text: string, status: string) {
  return {
    id: "msg_scripted",
    type: "message",
    status,
    content: [{ type: "output_text", annotations: [], logprobs: [], text }],
    role: "assistant",
  };
}

function event(data: unknown): string {
  return `data: ${JSON.stringify(data)}\n\n`;
}
