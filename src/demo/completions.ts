import { CHOICES_MAX } from "../core/limits.ts";
import { CREATED, dataEvent, DONE, FINGERPRINT, idFor, json, type Answer } from "./answer.ts";
import { askOf, finishOf, outputTokensMaxOf, usageOf } from "./chat.ts";
import {
  DemoRefusal,
  fieldsOf,
  integerField,
  isList,
  requiredField,
  type Fields,
} from "./fields.ts";
import { pieces, replyTo, tokensBelow } from "./reply.ts";

/** What legacy completions write when nobody sets a maximum: OpenAI's own default. */
const COMPLETION_TOKENS_DEFAULT = 16;

/** `POST /completions`: the legacy endpoint; each prompt gets its `n` choices. */
export function textCompletion(body: Fields): Answer {
  const prompts = promptsOf(requiredField(body, "prompt"));
  const count = integerField(body, "n", 1, CHOICES_MAX) ?? 1;
  if (prompts.length * count > CHOICES_MAX) {
    throw new DemoRefusal(400, `At most ${CHOICES_MAX} choices in all.`, "n", "invalid_value");
  }
  const outputTokensMax = outputTokensMaxOf(body) ?? COMPLETION_TOKENS_DEFAULT;
  const ask = { ...askOf(body, []), outputTokensMax };
  const replies = prompts.flatMap(({ text }) =>
    Array.from({ length: count }, (_, choice) => replyTo({ ...ask, last: text, choice })),
  );
  const promptTokens = prompts.reduce((sum, prompt) => sum + prompt.tokens, 0);
  const {
    prompt_tokens_details: _in,
    completion_tokens_details: _out,
    ...usage
  } = usageOf(promptTokens, replies);
  const common = {
    id: idFor("cmpl-", body),
    object: "text_completion",
    created: CREATED,
    model: body["model"],
    system_fingerprint: FINGERPRINT,
  };
  if (body["stream"] !== true) {
    const choices = replies.map((reply, index) => choiceOf(reply.text, index, finishOf(reply)));
    return json({ ...common, choices, usage });
  }
  const wantsUsage = fieldsOf(body["stream_options"])["include_usage"] === true;
  const chunk = (choices: readonly unknown[], reported: unknown): string =>
    dataEvent({ ...common, choices, ...(wantsUsage ? { usage: reported } : {}) });
  const events = replies.flatMap((reply, index) => [
    ...pieces(reply.text).map((text) => chunk([choiceOf(text, index, null)], null)),
    chunk([choiceOf("", index, finishOf(reply))], null),
  ]);
  if (wantsUsage) events.push(chunk([], usage));
  return { kind: "stream", events: [...events, DONE] };
}

function choiceOf(text: string, index: number, finish: string | null): Fields {
  return { text, index, logprobs: null, finish_reason: finish };
}

/** Prompts are text, or token numbers: one token each, quoted as their count. */
function promptsOf(prompt: unknown): readonly { readonly text: string; readonly tokens: number }[] {
  const list = isList(prompt) ? prompt : [prompt];
  const single = list.every((item) => typeof item === "number") ? [list] : list;
  return single.map((item) => {
    if (typeof item === "string") return { text: item, tokens: tokensBelow(item) };
    if (isList(item) && item.every((token) => typeof token === "number")) {
      return { text: `${item.length} tokens`, tokens: item.length };
    }
    throw new DemoRefusal(
      400,
      "Invalid 'prompt': expected text or tokens.",
      "prompt",
      "invalid_type",
    );
  });
}
