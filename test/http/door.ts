import type { TestDatabase } from "../support/databases.ts";
import { chatAnswer } from "../support/openai-answers.ts";
import { startScriptedUpstream, type ScriptedUpstream } from "../support/scripted-upstream.ts";
import { MODEL, startTollgate, type Tollgate } from "../support/tollgate.ts";
import { call, type Called } from "./http-call.ts";

/** A model door with an upstream that always answers, and what is read of its refusals. */

export type ErrorBody = {
  readonly message: string;
  readonly type: string;
  readonly param: string | null;
  readonly code: string;
  readonly tollgate: Readonly<Record<string, unknown>>;
};

export const errorOf = ({ text }: Called): ErrorBody =>
  (JSON.parse(text) as { readonly error: ErrorBody }).error;

export type Given = {
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Readonly<Record<string, unknown>>;
};

export type Door = {
  readonly upstream: ScriptedUpstream;
  readonly tollgate: Tollgate;
  readonly chat: (key: string, given?: Given) => Promise<Called>;
  readonly decisionOf: (called: Called) => Promise<Record<string, unknown> | undefined>;
  readonly close: () => Promise<void>;
};

/** Serves the models `m*`, of which only `MODEL` has a price; each answer tells 3 tokens in and 2 out. */
export async function startDoor(database: TestDatabase): Promise<Door> {
  const upstream = await startScriptedUpstream();
  upstream.otherwise(({ model }) => ({
    kind: "json",
    body: chatAnswer(model ?? "", "ok", { input: 3, output: 2 }),
  }));
  const tollgate = await startTollgate({
    database,
    upstream: upstream.url,
    upstreamConfig: { models: ["m*"] },
    aliases: { "failing-alias": "up/m-fails" },
  });
  return {
    upstream,
    tollgate,
    chat: (key, given = {}) =>
      call(`${tollgate.url}/v1/chat/completions`, {
        method: "POST",
        headers: {
          authorization: `Bearer ${key}`,
          "content-type": "application/json",
          ...given.headers,
        },
        body: JSON.stringify({
          model: MODEL,
          messages: [{ role: "user", content: "Hi" }],
          ...given.body,
        }),
      }),
    decisionOf: async ({ headers }) => {
      const id = String(headers["tollgate-decision"]).replace(/^dec_/u, "att_");
      const [row] = await tollgate.rows(
        "select verdict, reason, meters, record from decisions where attempt_id = $1",
        [id],
      );
      return row;
    },
    close: async () => {
      await tollgate.close();
      await upstream.close();
    },
  };
}
