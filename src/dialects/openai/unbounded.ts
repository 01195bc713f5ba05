import { isList, isRecord } from "../../lib/json.ts";
import { isGiven, readBoolean, readText } from "./fields.ts";
import { plainName } from "./parts.ts";

type Body = Readonly<Record<string, unknown>>;

/** Members that make some upstream search, read or run what no figure of the request bounds, and its name here. */
const COSTLY: Readonly<Record<string, string>> = {
  web_search_options: "hosted_tool:web_search",
  web_search: "hosted_tool:web_search",
  enable_search: "hosted_tool:web_search",
  enable_web_search: "hosted_tool:web_search",
  enable_enhancement: "hosted_tool:web_search",
  search: "hosted_tool:web_search",
  search_parameters: "hosted_tool:live_search",
  search_settings: "hosted_tool:web_search",
  search_options: "hosted_tool:web_search",
  compound_custom: "hosted_tool:compound",
  enable_code_interpreter: "hosted_tool:code_interpreter",
  connectors: "hosted_tool:connectors",
  mcp_servers: "hosted_tool:mcp",
  data_sources: "hosted_tool:data_sources",
  plugins: "hosted_tool:plugins",
  tool_resources: "hosted_tool:tool_resources",
  // What a provider reads there is its own, and may be any of these.
  extra_body: "extra_body",
  cached_content: "stored_context",
  // OpenRouter may answer with any of these, at its own price.
  models: "model_fallback",
  fallbacks: "model_fallback",
  route: "model_fallback",
  // It picks whoever serves the model, each at a price of its own, and a preset holds any members at all.
  provider: "provider_routing",
  preset: "preset",
  // xAI answers with an id at once, and tells what it cost to whoever fetches the answer later.
  deferred: "deferred",
  // A template of the caller's own writes as much as it likes, in a loop, into what the model reads.
  chat_template: "chat_template",
  prompt_embeds: "embeds",
  // These say into how many tokens an image or a video is read.
  mm_processor_kwargs: "media_processing",
  media_io_kwargs: "media_processing",
};

/** Members whose presence lets a call use what no figure of the request bounds. */
export function noteUnbounded(body: Body, unbounded: Set<string>): void {
  if (isGiven(body["previous_response_id"]) || isGiven(body["conversation"])) {
    unbounded.add("stored_context");
  }
  const { prompt } = body;
  if (isRecord(prompt)) unbounded.add("stored_context");
  // Text and tokens are bounded by their bytes; what else a server reads there is its own.
  if (isList(prompt) && prompt.some(isRecord)) unbounded.add("prompt_parts");
  if (readBoolean(body, "background") === true) unbounded.add("background");
  // Compaction runs the model over the context again, as often as it fills.
  if (isGiven(body["context_management"])) unbounded.add("context_management");
  // Rejected prediction tokens are billed as output, and the provider does not accept the member that
  // would bound them (`max_completion_tokens`) together with a prediction.
  if (isGiven(body["prediction"])) unbounded.add("prediction");
  const template = body["chat_template_kwargs"];
  if (isRecord(template) && isGiven(template["chat_template"])) unbounded.add("chat_template");
  for (const name in COSTLY) {
    if (isGiven(body[name])) unbounded.add(COSTLY[name] ?? name);
  }
}

/** The service tier asked for, as a name that may stand in a record. */
export function readServiceTier(body: Body): string | null {
  const tier = readText(body, "service_tier");
  return tier === null ? null : plainName(tier);
}
