/**
 * The ninety-second drain. A workflow retries itself when a model call times out, and the library below it
 * retries, too. Played on the provider alone, and through the gate.
 */
import OpenAI from "openai";
import { startAgent, type Said } from "./agent.ts";
import { CRM_MODEL, messagesFor, SEARCH_MODEL, type Provider } from "./provider.ts";

/** What an honest neighbour of the workflow gets, with the same key: `ok`, or the error's status and code. */
type Neighbour = string;

export type Drained = {
  readonly calls: number;
  readonly cents: number;
  readonly left: number;
  readonly ms: number;
  /** Another model, and another question to the same one. */
  readonly otherModel: Neighbour;
  readonly otherQuestion: Neighbour;
};

/** With nothing in between: it ends when the day's quota is gone, and somebody pulls the plug. */
export async function drainWithoutGate(provider: Provider): Promise<Drained> {
  const began = performance.now();
  const agent = startAgent("workflow.ts", environmentOf(provider.url, "sk-provider"));
  try {
    await provider.exhausted();
    const ms = performance.now() - began;
    return await figures(provider, { url: provider.url, key: "sk-provider", ms });
  } finally {
    await agent.kill();
  }
}

export type Stopped = Drained & {
  /** What the workflow was told last, and how it ended. */
  readonly told: Said;
  readonly exitCode: number | null;
};

/** Through a gate where nobody has configured anything but the provider. */
export async function drainThroughGate(
  provider: Provider,
  { url, key }: { readonly url: string; readonly key: string },
  program: "workflow.ts" | "workflow-langchain.ts" = "workflow.ts",
): Promise<Stopped> {
  const began = performance.now();
  const agent = startAgent(program, environmentOf(`${url}/v1`, key));
  try {
    const told = await agent.said("stopped");
    const exitCode = await agent.exited;
    const ms = performance.now() - began;
    const drained = await figures(provider, { url: `${url}/v1`, key, ms });
    return { ...drained, told, exitCode };
  } finally {
    await agent.kill();
  }
}

function environmentOf(url: string, key: string): Readonly<Record<string, string>> {
  return { OPENAI_BASE_URL: url, OPENAI_API_KEY: key };
}

type Where = { readonly url: string; readonly key: string; readonly ms: number };

async function figures(provider: Provider, { url, key, ms }: Where): Promise<Drained> {
  const calls = provider.charged();
  const cents = provider.chargedCents();
  const client = new OpenAI({ baseURL: url, apiKey: key, maxRetries: 0 });
  const otherModel = await ask(client, CRM_MODEL, "Note that customer 42 called.");
  const otherQuestion = await ask(client, SEARCH_MODEL, "Is invoice 4711 open?");
  return {
    calls,
    cents,
    left: provider.quotaCalls - calls,
    ms,
    otherModel,
    otherQuestion,
  };
}

async function ask(client: OpenAI, model: string, question: string): Promise<Neighbour> {
  try {
    await client.chat.completions.create({
      model,
      messages: messagesFor(question),
      max_completion_tokens: 1_000,
    });
    return "ok";
  } catch (error) {
    if (!(error instanceof OpenAI.APIError)) throw error;
    return `${String(error.status)} ${String(error.code)}`;
  }
}
