import OpenAI from "openai";
import type { Database } from "../../src/store/database.ts";

/** What one call met: the status of each answer, retries included, and how the library ended it. */
export type Called = {
  readonly name: string;
  readonly statuses: readonly number[];
  readonly text: string | null;
  readonly error: unknown;
};

type CallTerms = {
  readonly url: string;
  readonly key: string;
  readonly name: string;
  readonly model: string;
  readonly run?: string;
  readonly stream?: boolean;
  readonly maxRetries?: number;
};

/** One call by the official library, named by step at the gate and by `x-call` in the upstream's journal. */
export async function call(terms: CallTerms): Promise<Called> {
  const { url, key, name, model, run = "race", stream = true, maxRetries = 0 } = terms;
  const statuses: number[] = [];
  const client = new OpenAI({
    baseURL: `${url}/v1`,
    apiKey: key,
    maxRetries,
    fetch: async (input, init) => {
      const response = await fetch(input, init);
      statuses.push(response.status);
      return response;
    },
  });
  const headers = { "tollgate-run": run, "tollgate-step": name, "x-call": name };
  const body = {
    model,
    // The same length for each call, so that each could cost the same.
    messages: [{ role: "user" as const, content: name.padStart(12) }],
    max_completion_tokens: 1_000,
  };
  try {
    let text = "";
    if (stream) {
      const chunks = await client.chat.completions.create({ ...body, stream }, { headers });
      for await (const chunk of chunks) text += chunk.choices[0]?.delta.content ?? "";
    } else {
      const answer = await client.chat.completions.create(body, { headers });
      text = answer.choices[0]?.message.content ?? "";
    }
    return { name, statuses, text, error: null };
  } catch (error) {
    return { name, statuses, text: null, error };
  }
}

/** Resolves when the query's count is as wanted: what other processes write is awaited in the database. */
export async function untilCount(db: Database, query: string, count: number): Promise<void> {
  for (;;) {
    const [row] = await db.admin.unsafe(query);
    if (Number(row?.["count"]) === count) return;
    await new Promise((done) => setTimeout(done, 50));
  }
}

export const OPEN_RESERVATIONS =
  "select count(*)::int as count from reservations where state = 'open'";
