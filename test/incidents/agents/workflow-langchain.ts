/** The same workflow by LangChain, which tries a failed call again by itself: six times, as it comes. */
import { ChatOpenAI } from "@langchain/openai";
import { BAD_QUESTION, messagesFor, SEARCH_MODEL } from "../provider.ts";
import { given, say } from "./say.ts";

/** Its patience with one call. */
const TIMEOUT_MS = 400;

const model = new ChatOpenAI({
  model: SEARCH_MODEL,
  timeout: TIMEOUT_MS,
  maxTokens: 1_000,
  configuration: { baseURL: given("OPENAI_BASE_URL") },
});
try {
  await model.invoke(messagesFor(BAD_QUESTION));
  say("answered");
} catch (error) {
  if (!(error instanceof Error)) throw error;
  say("stopped", { ...Object.fromEntries(Object.entries(error)), message: error.message });
}
