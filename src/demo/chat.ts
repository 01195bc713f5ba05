import { CHOICES_MAX } from "../core/limits.ts";
import { CREATED, dataEvent, DONE, FINGERPRINT, idFor, json, type Answer } from "./answer.ts";
import {
  DemoRefusal,
  fieldsOf,
  integerField,
  isFields,
  isList,
  requiredList,
  textOf,
  type Fields,
} from "./fields.ts";
import {
  OUTPUT_TOKENS_MAX,
  pieces,
  replyTo,
  tokensBelow,
  type Ask,
  type Reply,
  type Tool,
} from "./reply.ts";

/** Messages of one conversation, and tools offered with it; the body limit binds long before. */
const MESSAGES_MAX = 10_000;

/** `POST /chat/completions`: text or a tool call, streamed or not, usage as OpenAI tells it. */
export function chatCompletion(body: Fields): Answer {
  const messages = requiredList(body, "messages", MESSAGES_MAX);
  const ask = askOf(body, messages);
  const count = integerField(body, "n", 1, CHOICES_MAX) ?? 1;
  const replies = Array.from({ length: count }, (_, choice) => replyTo({ ...ask, choice }));
  const usage = usageOf(tokensBelow(messages, body["tools"], body["functions"]), replies);
  const common = { id: idFor("chatcmpl-", body), created: CREATED, model: body["model"] };
  if (body["stream"] !== true) {
    const object = "chat.completion";
    const choices = replies.map((reply, index) => wholeChoice(reply, index));
    const tail = { usage, service_tier: "default", system_fingerprint: FINGERPRINT };
    return json({ ...common, object, choices, ...tail });
  }
  const wantsUsage = fieldsOf(body["stream_options"])["include_usage"] === true;
  const chunk = (choices: readonly unknown[], reported: unknown): string =>
    dataEvent({
      ...common,
      object: "chat.completion.chunk",
      service_tier: "default",
      system_fingerprint: FINGERPRINT,
      choices,
      ...(wantsUsage ? { usage: reported } : {}),
    });
  const events = replies.flatMap((reply, index) =>
    deltasOf(reply, index).map((choice) => chunk([choice], null)),
  );
  if (wantsUsage) events.push(chunk([], usage));
  return { kind: "stream", events: [...events, DONE] };
}

function wholeChoice(reply: Reply, index: number): Fields {
  const toolCall = {
    id: `call_demo${index}`,
    type: "function",
    function: { name: reply.tool, arguments: reply.text },
  };
  const said =
    reply.kind === "text" ? { content: reply.text } : { content: null, tool_calls: [toolCall] };
  const message = { role: "assistant", ...said, refusal: null, annotations: [] };
  return { index, message, logprobs: null, finish_reason: finishOf(reply) };
}

function deltasOf(reply: Reply, index: number): readonly Fields[] {
  const choice = (delta: Fields, finish: string | null): Fields => ({
    index,
    delta,
    logprobs: null,
    finish_reason: finish,
  });
  const opening = { role: "assistant", refusal: null };
  if (reply.kind === "text") {
    return [
      choice({ ...opening, content: "" }, null),
      ...pieces(reply.text).map((content) => choice({ content }, null)),
      choice({}, finishOf(reply)),
    ];
  }
  const call = { id: `call_demo${index}`, type: "function" };
  const named = { index: 0, ...call, function: { name: reply.tool, arguments: "" } };
  return [
    choice({ ...opening, content: null, tool_calls: [named] }, null),
    ...pieces(reply.text).map((part) =>
      choice({ tool_calls: [{ index: 0, function: { arguments: part } }] }, null),
    ),
    choice({}, finishOf(reply)),
  ];
}

export function finishOf(reply: Reply): string {
  if (reply.cut) return "length";
  return reply.kind === "tool" ? "tool_calls" : "stop";
}

export function usageOf(promptTokens: number, replies: readonly Reply[]): Fields {
  const completionTokens = replies.reduce((sum, reply) => sum + reply.tokens, 0);
  return {
    prompt_tokens: promptTokens,
    completion_tokens: completionTokens,
    total_tokens: promptTokens + completionTokens,
    prompt_tokens_details: { cached_tokens: 0, audio_tokens: 0 },
    completion_tokens_details: {
      reasoning_tokens: 0,
      audio_tokens: 0,
      accepted_prediction_tokens: 0,
      rejected_prediction_tokens: 0,
    },
  };
}

export function askOf(body: Fields, messages: readonly unknown[]): Ask {
  const malformed = messages.findIndex((message) => !isFields(message));
  if (malformed >= 0) {
    const param = `messages[${malformed}]`;
    throw new DemoRefusal(400, `Invalid '${param}': expected an object.`, param, "invalid_type");
  }
  const last = fieldsOf(messages.at(-1));
  const tools = isList(body["tools"]) ? body["tools"].map((tool) => toolOf(fieldsOf(tool))) : [];
  return {
    last: contentText(last["content"]),
    lastIsToolResult: last["role"] === "tool",
    tools: tools.filter((tool) => tool.name !== ""),
    toolChoice: toolChoiceOf(body["tool_choice"]),
    schema: schemaOf(fieldsOf(body["response_format"])),
    outputTokensMax: outputTokensMaxOf(body) ?? OUTPUT_TOKENS_MAX,
    stops: stopsOf(body["stop"]),
    choice: 0,
    brief: body["model"] === "demo-small",
  };
}

function toolOf(tool: Fields): Tool {
  const declared = fieldsOf(tool["function"]);
  return { name: textOf(declared["name"]), parameters: fieldsOf(declared["parameters"]) };
}

/** `none`, `auto`, `required`, or an object naming a function (flat in the Responses API). */
export function toolChoiceOf(value: unknown): Ask["toolChoice"] {
  if (value === "none" || value === "required") return { kind: value, name: "" };
  const name = textOf(fieldsOf(fieldsOf(value)["function"])["name"] ?? fieldsOf(value)["name"]);
  return name === "" ? { kind: "auto", name } : { kind: "named", name };
}

function schemaOf(format: Fields): Fields | null {
  if (format["type"] === "json_object") return {};
  if (format["type"] !== "json_schema") return null;
  return fieldsOf(fieldsOf(format["json_schema"])["schema"]);
}

export function outputTokensMaxOf(body: Fields): number | null {
  const newer = integerField(body, "max_completion_tokens", 1, Number.MAX_SAFE_INTEGER);
  const asked = newer ?? integerField(body, "max_tokens", 1, Number.MAX_SAFE_INTEGER);
  return asked === null ? null : Math.min(asked, OUTPUT_TOKENS_MAX);
}

function stopsOf(value: unknown): readonly string[] {
  return (isList(value) ? value : [value]).filter((stop) => typeof stop === "string");
}

/** The text of a message: a string, or the text parts of a list. */
export function contentText(content: unknown): string {
  if (!isList(content)) return textOf(content);
  return content.map((part) => textOf(fieldsOf(part)["text"])).join("");
}
