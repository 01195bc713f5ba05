/**
 * A workflow as many are written. The library below it tries a call that timed out twice more, as it comes;
 * the engine starts a step that failed again, unless the error says that trying again is of no use. Each
 * layer has its cap, and nobody counts them together. It knows nothing of Tollgate: it reads the base URL
 * and the key of the OpenAI library from the environment, and sends no header of ours.
 */
import OpenAI from "openai";
import { BAD_QUESTION, messagesFor, SEARCH_MODEL } from "../provider.ts";
import { say } from "./say.ts";

/** Its patience with one call. */
const TIMEOUT_MS = 400;

const client = new OpenAI({ timeout: TIMEOUT_MS });

for (let start = 1; ; start += 1) {
  try {
    await client.chat.completions.create({
      model: SEARCH_MODEL,
      messages: messagesFor(BAD_QUESTION),
      max_completion_tokens: 1_000,
    });
    say("answered", { start });
    break;
  } catch (error) {
    if (!(error instanceof OpenAI.APIError)) throw error;
    const status: unknown = error.status ?? null;
    const isPassing = status === null || status === 429 || Number(status) >= 500;
    if (!isPassing) {
      say("stopped", { start, status, code: error.code ?? null, message: error.message });
      break;
    }
    say("failed", { start, status });
  }
}
