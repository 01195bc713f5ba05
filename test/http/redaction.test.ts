import { createHash } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { describeOnPostgres } from "../support/databases.ts";
import { policies, policy } from "../support/judging.ts";
import type { Json } from "../support/management.ts";
import {
  chatAnswer,
  chatFrames,
  responseAnswer,
  responseFrames,
} from "../support/openai-answers.ts";
import { startScriptedUpstream, type ScriptedUpstream } from "../support/scripted-upstream.ts";
import { MODEL, startTollgate, type Tenant, type Tollgate } from "../support/tollgate.ts";
import { call, type Called } from "./http-call.ts";

/** What a policy has replaced, as the upstream gets it and as the ledger tells it. */

const TOKENS = { input: 3, output: 2 };
const MAIL = "jane@acme.io";
const KEY = ["AK", "IAQWERTYUIOPASDFGH"].join("");
const REDACT = policy("clean", "true", "effect: allow, obligations: { redact: [secrets, email] }");
const sha256 = (bytes: string | Uint8Array) => createHash("sha256").update(bytes).digest("hex");

describeOnPostgres("redaction", (database) => {
  let upstream: ScriptedUpstream;
  let tollgate: Tollgate;
  beforeAll(async () => {
    upstream = await startScriptedUpstream();
    upstream.otherwise(({ path, body }) => {
      const streams = Buffer.from(body).includes('"stream":true');
      if (path.endsWith("/responses")) {
        return streams
          ? { kind: "sse", frames: responseFrames(MODEL, ["ok"], TOKENS) }
          : { kind: "json", body: responseAnswer(MODEL, "ok", TOKENS) };
      }
      return streams
        ? { kind: "sse", frames: chatFrames(MODEL, ["ok"], TOKENS) }
        : { kind: "json", body: chatAnswer(MODEL, "ok", TOKENS) };
    });
    tollgate = await startTollgate({ database, upstream: upstream.url });
  });
  afterAll(async () => {
    await tollgate.close();
    await upstream.close();
  });

  const api = async (tenant: Tenant, method: string, path: string, body?: object) => {
    const mark = path.includes("?") ? "&" : "?";
    const { status, text } = await call(`${tollgate.url}/api${path}${mark}tenant=${tenant.id}`, {
      method,
      headers: {
        authorization: `Bearer ${tollgate.adminKey}`,
        "content-type": "application/json",
      },
      body: method === "GET" ? null : JSON.stringify(body ?? {}),
    });
    const read: Json = JSON.parse(text);
    return { status, body: read };
  };
  const under = async (source: string): Promise<Tenant> => {
    const tenant = await tollgate.tenant({ mode: "tolerant" });
    const applied = await api(tenant, "POST", "/policies", { source });
    expect(applied.status).toBe(201);
    const { version } = applied.body;
    expect((await api(tenant, "POST", `/policies/${version}/activate`)).status).toBe(200);
    return tenant;
  };
  const post = (
    tenant: Tenant,
    path: string,
    body: string | Uint8Array,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<Called> =>
    call(`${tollgate.url}${path}`, {
      method: "POST",
      headers: {
        authorization: `Bearer ${tenant.key}`,
        "content-type": "application/json",
        ...headers,
      },
      body,
    });
  const sent = () => Buffer.from(upstream.journal.at(-1)!.body).toString();
  const decisionOf = async (tenant: Tenant, { headers }: Called): Promise<Json> => {
    await tollgate.settled();
    return (await api(tenant, "GET", `/decisions/${String(headers["tollgate-decision"])}`)).body;
  };
  const errorOf = ({ status, text }: Called): string => {
    expect(status).toBe(403);
    const { code, message } = JSON.parse(text).error;
    expect(code).toBe("policy_denied");
    return message as string;
  };

  const chat = (content: string, more = "") =>
    `{ "model":"${MODEL}","max_tokens":20, "seed":12345678901234567890,"messages":[{"role":"user","content":"${content}"}]${more}}`;
  const usage = ',"stream_options":{"include_usage":true}}';
  const response = (content: string, more = "") =>
    `{"model":"${MODEL}","max_output_tokens":20,"instructions":"${content}",\n"input":[{"type":"function_call","call_id":"c","name":"f","arguments":"{\\"to\\":\\"${content}\\"}"}]${more}}`;
  const before = `caf\\u00e9 ${MAIL}, \\n${KEY} +49 30 901820123`;
  const after = "caf\\u00e9 [email], \\n[aws_access_key] +49 30 901820123";

  test.each<[what: string, path: string, given: string, expected: string]>([
    ["a chat", "/v1/chat/completions", chat(before), chat(after)],
    [
      "a chat that streams",
      "/v1/chat/completions",
      chat(before, ',"stream":true'),
      chat(after, ',"stream":true').replace(/\}$/u, usage),
    ],
    ["a response", "/v1/responses", response(before), response(after)],
    [
      "a response that streams",
      "/v1/responses",
      response(before, ',"stream":true'),
      response(after, ',"stream":true'),
    ],
    [
      "a body that is read in a worker",
      "/v1/chat/completions",
      chat(`${"word ".repeat(80_000)}${before}`),
      chat(`${"word ".repeat(80_000)}${after}`),
    ],
  ])("of %s is what the upstream gets, byte by byte", async (_what, path, given, expected) => {
    const tenant = await under(policies(REDACT));
    const answer = await post(tenant, path, given);
    expect([answer.status, answer.headers["tollgate-redacted"]]).toEqual([200, "secrets, email"]);
    expect(sent()).toBe(expected);
    const { record, ending, explanation, cost_usd: cost } = await decisionOf(tenant, answer);
    // The call is its client's; what was sent of it is a fact of its dispatch.
    expect(record.input_sha256).toBe(sha256(given));
    expect(ending.sent_sha256).toBe(sha256(expected));
    expect(cost).toBe("0.00000000023");
    expect(record.obligations).toEqual({ redact: ["secrets", "email"] });
    const count = path.endsWith("responses") ? 2 : 1;
    expect(record.findings).toEqual({
      found: [
        { kind: "aws_access_key", group: "secrets", count },
        { kind: "email", group: "pii", count },
        { kind: "phone_number", group: "pii", count },
      ],
      complete: true,
    });
    expect(JSON.stringify(record)).not.toContain(MAIL);
    expect(explanation).toContain(
      "Policies had what is found of secrets, email replaced in the texts that are sent.",
    );
    const replay = await api(
      tenant,
      "POST",
      `/decisions/${String(answer.headers["tollgate-decision"])}/replay`,
    );
    expect(replay.body).toMatchObject({
      equal: true,
      differs: [],
      now: { verdict: "pass", redact: ["secrets", "email"] },
    });
  });

  test("changes nothing where nothing of it is found, in shadow, and without such a policy", async () => {
    const rows: readonly (readonly [source: string, given: string])[] = [
      [policies(REDACT), chat("Call +49 30 901820123.")],
      [policies(REDACT.replace("effect:", "mode: shadow, effect:")), chat(before)],
      [policies(REDACT.replace('"true"', '"request.stream"')), chat(before)],
    ];
    for (const [source, given] of rows) {
      const tenant = await under(source);
      const answer = await post(tenant, "/v1/chat/completions", given);
      expect([answer.status, answer.headers["tollgate-redacted"]]).toEqual([200, undefined]);
      expect(sent()).toBe(given);
      expect((await decisionOf(tenant, answer)).ending).not.toHaveProperty("sent_sha256");
    }
  });

  test("under an idempotency key the client's own body is what is compared", async () => {
    const tenant = await under(policies(REDACT));
    const key = { "idempotency-key": "k" };
    const first = await post(tenant, "/v1/chat/completions", chat(MAIL), key);
    await tollgate.settled();
    const calls = upstream.journal.length;
    const again = await post(tenant, "/v1/chat/completions", chat(MAIL), key);
    expect([again.status, again.text]).toEqual([200, first.text]);
    // What is sent would be the same; what was asked is not.
    const other = await post(tenant, "/v1/chat/completions", chat("john@acme.io"), key);
    expect(JSON.parse(other.text).error.code).toBe("idempotency_key_reused");
    expect(upstream.journal).toHaveLength(calls);
  });

  describe("what cannot be redacted is blocked, with the reason", () => {
    const form = [
      "--edge",
      'Content-Disposition: form-data; name="model"',
      "",
      MODEL,
      "--edge",
      'Content-Disposition: form-data; name="prompt"',
      "",
      MAIL,
      "--edge--",
      "",
    ].join("\r\n");
    const unsearched = /not all texts of this could be searched for it: forms, uploads and routes/u;
    test.each<[what: string, path: string, body: string, type: string, told: RegExp]>([
      ["a form", "/v1/images/edits", form, "multipart/form-data; boundary=edge", unsearched],
      ["an upload", "/v1/files", form, "multipart/form-data; boundary=edge", unsearched],
      [
        "what passes through",
        "/v1/conversations",
        `{"a":"${MAIL}"}`,
        "application/json",
        unsearched,
      ],
      [
        "speech",
        "/v1/audio/speech",
        `{"model":"${MODEL}","input":"${MAIL}","voice":"x"}`,
        "application/json",
        /This holds email, and a call for speech is not rewritten/u,
      ],
      [
        "what stands outside the content",
        "/v1/chat/completions",
        chat(`${KEY} ${MAIL}`, `,"user":"${MAIL}"`),
        "application/json",
        /This holds aws_access_key, email, and email outside its content/u,
      ],
      [
        "more text than is searched",
        "/v1/chat/completions",
        chat("word ".repeat(900_000)),
        "application/json",
        /nor are more than 4194304 characters/u,
      ],
    ])("%s", async (_what, path, body, type, told) => {
      const tenant = await under(policies(REDACT));
      const calls = upstream.journal.length;
      const refused = await post(tenant, path, body, { "content-type": type });
      expect(errorOf(refused)).toMatch(told);
      expect(upstream.journal).toHaveLength(calls);
      const id = refused.headers["tollgate-decision"] ?? JSON.parse(refused.text).error.decision_id;
      expect((await api(tenant, "POST", `/decisions/${id}/replay`)).body).toMatchObject({
        equal: true,
        why: null,
      });
    });

    test("a step that holds it, and none that does not", async () => {
      const tenant = await under(policies(REDACT));
      const ask = (to: string) =>
        post(
          tenant,
          "/api/gate",
          JSON.stringify({ kind: "tool", name: "mail", estimate_usd: "0", arguments: { to } }),
        );
      expect(errorOf(await ask(MAIL))).toMatch(
        /This holds email, and its caller acts itself, so nothing can be replaced/u,
      );
      expect((await ask("the board")).status).toBe(200);
    });

    test("a body that comes with a GET, and no GET without one", async () => {
      const tenant = await under(policies(REDACT));
      const get = (body: string | null) =>
        call(`${tollgate.url}/v1/files`, {
          method: "GET",
          headers: { authorization: `Bearer ${tenant.key}` },
          body,
        });
      expect(errorOf(await get(MAIL))).toMatch(unsearched);
      expect((await get(null)).status).toBe(200);
    });
  });

  test("a backtest shows which calls it would have changed, and of which nobody knows", async () => {
    const tenant = await under(policies(policy("look", "detectors.pii > 100")));
    await post(tenant, "/v1/chat/completions", chat(MAIL));
    await post(tenant, "/v1/chat/completions", chat("nothing"));
    await api(tenant, "POST", "/policies/deactivate");
    await post(tenant, "/v1/chat/completions", chat(MAIL));
    await tollgate.settled();
    const { body } = await api(tenant, "POST", "/policies/backtest", { source: policies(REDACT) });
    expect(body).toMatchObject({
      decisions: 3,
      unchanged: 1,
      other_terms: 1,
      unknowable: 1,
      unknowable_because: { "policy clean: the texts that it asks about were not searched": 1 },
    });
  });
});
