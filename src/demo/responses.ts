import { CREATED, idFor, json, type Answer } from "./answer.ts";
import { contentText, toolChoiceOf } from "./chat.ts";
import {
  DemoRefusal,
  fieldsOf,
  integerField,
  isFields,
  isList,
  requiredField,
  textOf,
  type Fields,
} from "./fields.ts";
import { OUTPUT_TOKENS_MAX, pieces, replyTo, tokensBelow, type Ask, type Reply } from "./reply.ts";

/** `POST /responses`: one message or one function call, streamed as the full sequence of events. */
export function createResponse(body: Fields): Answer {
  const input = requiredField(body, "input");
  if (typeof input !== "string" && !isList(input)) {
    const message = "Invalid 'input': expected a string or an array of items.";
    throw new DemoRefusal(400, message, "input", "invalid_type");
  }
  const reply = replyTo(askOf(body, input));
  const inputTokens = tokensBelow(input, body["instructions"], body["tools"]);
  const id = idFor("resp_", body);
  const item = itemOf(reply, id, reply.text, reply.cut ? "incomplete" : "completed");
  const usage = {
    input_tokens: inputTokens,
    input_tokens_details: { cached_tokens: 0 },
    output_tokens: reply.tokens,
    output_tokens_details: { reasoning_tokens: 0 },
    total_tokens: inputTokens + reply.tokens,
  };
  const ended = responseOf(body, id, {
    status: reply.cut ? "incomplete" : "completed",
    incomplete_details: reply.cut ? { reason: "max_output_tokens" } : null,
    output: [item],
    usage,
  });
  if (body["stream"] !== true) return json(ended);
  const begun = responseOf(body, id, {
    status: "in_progress",
    incomplete_details: null,
    output: [],
    usage: null,
  });
  const steps = [
    { type: "response.created", response: begun },
    { type: "response.in_progress", response: begun },
    ...(reply.kind === "text" ? textSteps(reply, id) : callSteps(reply, id)),
    { type: "response.output_item.done", output_index: 0, item },
    { type: reply.cut ? "response.incomplete" : "response.completed", response: ended },
  ];
  const events = steps.map(
    ({ type, ...rest }, index) =>
      `event: ${type}\ndata: ${JSON.stringify({ type, sequence_number: index, ...rest })}\n\n`,
  );
  return { kind: "stream", events };
}

type Step = { readonly type: string } & Fields;

function textSteps(reply: Reply, id: string): readonly Step[] {
  const at = { item_id: itemId(reply, id), output_index: 0, content_index: 0 };
  const empty = { ...itemOf(reply, id, "", "in_progress"), content: [] };
  return [
    { type: "response.output_item.added", output_index: 0, item: empty },
    { type: "response.content_part.added", ...at, part: textPart("") },
    ...pieces(reply.text).map((delta) => ({
      type: "response.output_text.delta",
      ...at,
      delta,
      logprobs: [],
    })),
    { type: "response.output_text.done", ...at, text: reply.text, logprobs: [] },
    { type: "response.content_part.done", ...at, part: textPart(reply.text) },
  ];
}

function callSteps(reply: Reply, id: string): readonly Step[] {
  const at = { item_id: itemId(reply, id), output_index: 0 };
  const item = itemOf(reply, id, "", "in_progress");
  return [
    { type: "response.output_item.added", output_index: 0, item },
    ...pieces(reply.text).map((delta) => ({
      type: "response.function_call_arguments.delta",
      ...at,
      delta,
    })),
    {
      type: "response.function_call_arguments.done",
      ...at,
      name: reply.tool,
      arguments: reply.text,
    },
  ];
}

function itemId(reply: Reply, id: string): string {
  return id.replace("resp_", reply.kind === "text" ? "msg_" : "fc_");
}

function itemOf(reply: Reply, id: string, text: string, status: string): Fields {
  const identity = { id: itemId(reply, id), status };
  if (reply.kind === "text") {
    return { ...identity, type: "message", role: "assistant", content: [textPart(text)] };
  }
  const callId = id.replace("resp_", "call_");
  return { ...identity, type: "function_call", call_id: callId, name: reply.tool, arguments: text };
}

function textPart(text: string): Fields {
  return { type: "output_text", annotations: [], logprobs: [], text };
}

/** The response object, echoing what was asked as OpenAI does. Nothing is stored, and it says so. */
function responseOf(body: Fields, id: string, state: Fields): Fields {
  return {
    id,
    object: "response",
    created_at: CREATED,
    background: false,
    error: null,
    instructions: body["instructions"] ?? null,
    max_output_tokens: body["max_output_tokens"] ?? null,
    max_tool_calls: body["max_tool_calls"] ?? null,
    model: body["model"],
    parallel_tool_calls: body["parallel_tool_calls"] ?? true,
    previous_response_id: null,
    prompt_cache_key: body["prompt_cache_key"] ?? null,
    reasoning: { effort: null, summary: null },
    safety_identifier: body["safety_identifier"] ?? null,
    service_tier: "default",
    store: false,
    temperature: body["temperature"] ?? 1,
    text: body["text"] ?? { format: { type: "text" }, verbosity: "medium" },
    tool_choice: body["tool_choice"] ?? "auto",
    tools: body["tools"] ?? [],
    top_logprobs: 0,
    top_p: body["top_p"] ?? 1,
    truncation: body["truncation"] ?? "disabled",
    user: body["user"] ?? null,
    metadata: body["metadata"] ?? {},
    ...state,
  };
}

function askOf(body: Fields, input: string | readonly unknown[]): Ask {
  const last = typeof input === "string" ? { content: input } : fieldsOf(input.at(-1));
  const result = last["type"] === "function_call_output";
  const tools = isList(body["tools"]) ? body["tools"].filter(isFields) : [];
  const format = fieldsOf(fieldsOf(body["text"])["format"]);
  return {
    last: contentText(result ? last["output"] : last["content"]),
    lastIsToolResult: result,
    tools: tools
      .filter((tool) => tool["type"] === "function" && textOf(tool["name"]) !== "")
      .map((tool) => ({ name: textOf(tool["name"]), parameters: fieldsOf(tool["parameters"]) })),
    toolChoice: toolChoiceOf(body["tool_choice"]),
    schema: schemaOf(format),
    outputTokensMax: Math.min(
      integerField(body, "max_output_tokens", 1, Number.MAX_SAFE_INTEGER) ?? OUTPUT_TOKENS_MAX,
      OUTPUT_TOKENS_MAX,
    ),
    stops: [],
    choice: 0,
    brief: body["model"] === "demo-small",
  };
}

function schemaOf(format: Fields): Fields | null {
  if (format["type"] === "json_object") return {};
  return format["type"] === "json_schema" ? fieldsOf(format["schema"]) : null;
}
