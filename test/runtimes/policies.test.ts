import { expect, test } from "vitest";
import { call } from "../http/http-call.ts";
import { policies, policy } from "../support/judging.ts";
import { chatAnswer } from "../support/openai-answers.ts";
import { MODEL } from "../support/tollgate.ts";
import { describeEachRuntime } from "./runtimes.ts";

/** Policies are compiled and evaluated wherever Tollgate runs: Workers forbid making code of texts. */

describeEachRuntime("policies", (runtime) => {
  test("are checked, stored, judge, find a secret, and are judged again", async () => {
    runtime.upstream.otherwise({
      kind: "json",
      body: chatAnswer(MODEL, "ok", { input: 3, output: 2 }),
    });
    const tenant = await runtime.tenant();
    const api = async (method: string, path: string, body: object) => {
      const answer = await fetch(`${runtime.url}/api${path}?tenant=${tenant.id}`, {
        method,
        headers: {
          authorization: `Bearer ${runtime.adminKey}`,
          "content-type": "application/json",
        },
        body: JSON.stringify(body),
      });
      return (await answer.json()) as Record<string, unknown>;
    };
    const source = policies(
      policy("red", "labels.team.matches('^r(e+)+d$')", "effect: block, on_error: skip"),
      policy("secrets", "detectors.secrets > 0"),
    );
    const { version } = await api("POST", "/policies", { source });
    await api("POST", `/policies/${String(version)}/activate`, {});
    const chat = (content: string, team: string) =>
      call(`${runtime.url}/v1/chat/completions`, {
        method: "POST",
        headers: {
          authorization: `Bearer ${tenant.key}`,
          "content-type": "application/json",
          "tollgate-labels": `team=${team}`,
        },
        body: JSON.stringify({
          model: MODEL,
          max_tokens: 20,
          messages: [{ role: "user", content }],
        }),
      });
    const secret = ["AK", "IAQWERTYUIOPASDFGH"].join("");
    const answers = [await chat("Hi", "blue"), await chat("Hi", "red"), await chat(secret, "blue")];
    expect(answers.map(({ status }) => status)).toEqual([200, 403, 403]);
    for (const { headers } of answers) {
      const decision = String(headers["tollgate-decision"]);
      expect(await api("POST", `/decisions/${decision}/replay`, {})).toMatchObject({ equal: true });
    }
  });
});
