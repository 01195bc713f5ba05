import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, expect, test } from "vitest";
import { describeOnPostgres } from "../support/databases.ts";
import * as answers from "../support/openai-answers.ts";
import {
  startScriptedUpstream,
  type Script,
  type ScriptedUpstream,
} from "../support/scripted-upstream.ts";
import {
  MODEL,
  startTollgateProcess,
  UPSTREAM_KEY,
  type Tenant,
  type TollgateProcess,
} from "../support/tollgate.ts";

const PROMPT = "prompt-canary-7d3e";
const ANSWER = "answer-canary-91aa";
const ADMIN_KEY = `admin-canary-${randomBytes(24).toString("hex")}`;
const USAGE = { input: 12, output: 7 };

/** Each way to fail that is known, with the prompt in every slot that holds one. */
const ENDINGS: readonly Script[] = [
  { kind: "json", body: answers.chatAnswer(MODEL, ANSWER, USAGE) },
  { kind: "json", body: answers.chatAnswer(MODEL, ANSWER, null) },
  { kind: "sse", frames: answers.chatFrames(MODEL, [ANSWER], USAGE) },
  { kind: "sse", frames: answers.chatFrames(MODEL, [ANSWER], null).slice(0, 2) },
  { kind: "sse", frames: [`data: {"error":{"message":"broken"}}\n\n`] },
  { kind: "bytes", frames: [`{"broken": "${ANSWER}`] },
  ...[400, 401, 403, 404, 429, 500, 503].map((status): Script => ({
    kind: "json",
    status,
    body: answers.errorAnswer("said so", "some_type", "some_code"),
  })),
  { kind: "reset" },
  { kind: "close" },
];

const BODIES: readonly string[] = [
  JSON.stringify({ model: MODEL, messages: [{ role: "user", content: PROMPT }] }),
  JSON.stringify({ model: MODEL, messages: [{ role: "user", content: PROMPT }], stream: true }),
];

/** Bodies that are refused, the prompt at the place of the mistake. */
const REFUSED: readonly string[] = [
  `{"model":"${MODEL}","messages":[{"content":"${PROMPT}"`,
  PROMPT,
  `"${PROMPT}"`,
  JSON.stringify({ model: MODEL, messages: PROMPT }),
  JSON.stringify({ model: MODEL, messages: [], max_tokens: PROMPT }),
  JSON.stringify({ model: MODEL, messages: [], n: PROMPT }),
  JSON.stringify({ model: MODEL, messages: [], stream: PROMPT }),
  JSON.stringify({ model: MODEL, messages: [], tools: PROMPT }),
  JSON.stringify({ model: MODEL, messages: [], stream_options: PROMPT }),
  JSON.stringify({ model: { a: PROMPT }, messages: [] }),
];

describeOnPostgres("what must not be told", (database) => {
  let upstream: ScriptedUpstream;
  let tollgate: TollgateProcess;
  let tenant: Tenant;
  const told: string[] = [];
  beforeAll(async () => {
    upstream = await startScriptedUpstream();
    const { address } = database;
    if (address.kind !== "url") throw new Error("a process of its own needs a URL");
    tollgate = await startTollgateProcess({
      databaseUrl: address.url,
      upstream: upstream.url,
      adminKey: ADMIN_KEY,
      env: { LOG_LEVEL: "trace" },
    });
    // The same prompt fails in every way there is.
    tenant = await tollgate.tenant({ guards: "off" });
    await play();
  });
  afterAll(async () => {
    await tollgate?.close();
    await upstream?.close();
  });

  const send = async (path: string, init: RequestInit): Promise<void> => {
    const answer = await fetch(tollgate.url + path, init).catch(() => null);
    if (answer === null) return;
    told.push(JSON.stringify([...answer.headers]));
    const text = await answer.text().catch(() => "");
    // The upstream's own words are the client's; everything else is ours.
    told.push(text.replaceAll(ANSWER, ""));
  };
  const post = (path: string, body: string, authorization: string): Promise<void> =>
    send(path, {
      method: "POST",
      headers: { authorization, "content-type": "application/json" },
      body,
    });
  const play = async (): Promise<void> => {
    const bearer = `Bearer ${tenant.key}`;
    for (const ending of ENDINGS) {
      for (const body of BODIES) {
        upstream.next(ending);
        await post("/v1/chat/completions", body, bearer);
      }
    }
    for (const body of REFUSED) await post("/v1/chat/completions", body, bearer);
    // Credentials at every wrong place.
    for (const key of [`${tenant.key}x`, `${bearer} x`, `Basic ${tenant.key}`, UPSTREAM_KEY]) {
      await post("/v1/chat/completions", BODIES[0]!, key);
    }
    await post("/v1/chat/completions", BODIES[0]!, `Bearer ${ADMIN_KEY}`);
    await post(`/v1/chat/completions?api-key=${tenant.key}`, BODIES[0]!, "");
    await post("/api/keys", JSON.stringify({ name: PROMPT.slice(0, 3) }), bearer);
    await post("/api/keys", "{", `Bearer ${ADMIN_KEY}`);
    // A refusal by a limit, and a fault of the database.
    await tenant.limit({ scope: "tenant", unit: "requests", limit: 0 });
    await post("/v1/chat/completions", BODIES[0]!, bearer);
    await database.db.admin.unsafe("alter table decisions rename to decisions_away");
    await post("/v1/chat/completions", BODIES[0]!, bearer);
    await send("/api/decisions/dec_x", { headers: { authorization: `Bearer ${ADMIN_KEY}` } });
    await database.db.admin.unsafe("alter table decisions_away rename to decisions");
    for (const path of ["/metrics", "/healthz", "/readyz", "/api/tenants", "/api/prices"]) {
      await send(path, { headers: { authorization: `Bearer ${ADMIN_KEY}` } });
    }
    for (const list of ["keys", "limits", "events", "runs", "usage"]) {
      const authorization = `Bearer ${ADMIN_KEY}`;
      await send(`/api/${list}?tenant=${tenant.id}`, { headers: { authorization } });
    }
    await tollgate.kill("SIGTERM");
  };

  const secrets = () => ({
    "the upstream's key": UPSTREAM_KEY,
    "the administration key": ADMIN_KEY,
    "a tenant's key": tenant.key,
    "the secret of a tenant's key": tenant.key.split("_").at(-1) ?? "",
    "a prompt": PROMPT,
  });

  test("stands in no answer", () => {
    expect(told.length).toBeGreaterThan(100);
    for (const [name, secret] of Object.entries(secrets())) {
      expect(secret.length).toBeGreaterThan(8);
      expect(
        told.filter((text) => text.includes(secret)),
        name,
      ).toEqual([]);
    }
  });

  test("stands in no log, at the level that tells most", () => {
    const { stdout, stderr } = tollgate.output();
    expect(stderr).toContain("could not be posted");
    for (const [name, secret] of Object.entries({ ...secrets(), "an answer": ANSWER })) {
      expect(`${stdout}${stderr}`.includes(secret), name).toBe(false);
    }
  });

  test("stands in no table", async () => {
    const tables = await database.db.admin.unsafe(
      "select format('%I.%I', schemaname, tablename) as name from pg_tables where schemaname not in ('pg_catalog', 'information_schema')",
    );
    expect(tables.length).toBeGreaterThan(8);
    let rows = 0;
    let found = 0;
    for (const table of tables) {
      const name = String(table["name"]);
      const texts = await database.db.admin.unsafe(`select t::text as text from ${name} t`);
      rows += texts.length;
      // What may be there is found in the same way: the search can see.
      found += texts.filter(({ text }) => String(text).includes(tenant.keyId)).length;
      for (const [what, secret] of Object.entries({ ...secrets(), "an answer": ANSWER })) {
        const leaked = texts.filter(({ text }) => String(text).includes(secret));
        expect(leaked, `${what} in ${name}`).toEqual([]);
      }
    }
    expect(rows).toBeGreaterThan(2 * ENDINGS.length);
    expect(found).toBeGreaterThan(ENDINGS.length);
  });

  test("reached the upstream, which alone may see a prompt and its own key", () => {
    const seen = upstream.journal.map(
      ({ rawHeaders, body }) => rawHeaders.join("\n") + Buffer.from(body).toString(),
    );
    expect(seen.every((text) => text.includes(PROMPT) && text.includes(UPSTREAM_KEY))).toBe(true);
    expect(seen.some((text) => text.includes(tenant.key) || text.includes(ADMIN_KEY))).toBe(false);
    expect(seen.length).toBe(ENDINGS.length * BODIES.length);
  });
});
