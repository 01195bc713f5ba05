import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { request, type IncomingMessage } from "node:http";
import { setTimeout as passes } from "node:timers/promises";
import { afterEach, expect, test } from "vitest";
import { SNAPSHOT_MS_MAX, UNKNOWN_GRACE_MS } from "../../src/core/limits.ts";
import { call, until, type Call } from "../http/http-call.ts";
import { resetClock, shiftClock } from "../support/clock.ts";
import { chatAnswer, chatFrames, errorAnswer } from "../support/openai-answers.ts";
import type { Script } from "../support/scripted-upstream.ts";
import { MODEL, startTollgate, type Clients, type Tenant } from "../support/tollgate.ts";
import { describeEachRuntime, endingsOf, reserved, type Runtime } from "./runtimes.ts";
import { ledgerViolations } from "../store/violations.ts";

/**
 * What a client and an operator may rely on wherever Tollgate runs. Where Workers promise less than
 * Node, the row says what they promise.
 */

const USAGE = { input: 3, output: 2 };
const MESSAGES = [{ role: "user" as const, content: "Hi" }];
/** 3 tokens in at 10 pico-dollars, 2 out at 100. */
const COST = "0.00000000023";

const headers = (key: string, script = "none") => ({
  authorization: `Bearer ${key}`,
  "content-type": "application/json",
  "x-script": script,
});

const chatOf = ({ url }: Clients, key: string, given: Call & { readonly body?: string } = {}) =>
  call(`${url}/v1/chat/completions`, {
    method: "POST",
    headers: headers(key),
    body: JSON.stringify({ model: MODEL, messages: MESSAGES }),
    ...given,
  });

const STREAMED = JSON.stringify({
  model: MODEL,
  messages: MESSAGES,
  stream: true,
  stream_options: { include_usage: true },
});

const whole: Script = { kind: "json", body: chatAnswer(MODEL, "ok", USAGE) };

describeEachRuntime("the model door", (runtime) => {
  afterEach(() => resetClock(runtime.database.db));

  const settledAs = async (tenant: Tenant, ...endings: string[]) => {
    await until(
      async () => (await endingsOf(runtime.database, tenant.id)).length >= endings.length,
    );
    expect(await endingsOf(runtime.database, tenant.id)).toEqual(endings);
    expect(await reserved(runtime.database, tenant.id, "open")).toBe(0);
    expect(await ledgerViolations(runtime.database.db.admin, tenant.id)).toEqual([]);
  };

  test("answers the official library, with the cost of the answer", async () => {
    const tenant = await runtime.tenant();
    runtime.upstream.next(whole);
    const { data, response } = await tenant.client.chat.completions
      .create({ model: MODEL, messages: MESSAGES })
      .withResponse();
    expect(data.choices[0]?.message.content).toBe("ok");
    expect(response.headers.get("tollgate-cost")).toBe(COST);
    await settledAs(tenant, "succeeded/computed");
  });

  test("hands a stream on byte by byte, wherever its packets are cut", async () => {
    const tenant = await runtime.tenant();
    const bytes = Buffer.from(chatFrames(MODEL, ["Grüße, ", "世界 🌍", "!"], USAGE).join(""));
    const cuts = [0, 1, 130, 601, 602, 603, 700, 1_111, bytes.length];
    const frames = cuts.slice(1).map((to, at) => ({
      bytes: bytes.subarray(cuts[at], to),
      delayMs: 5,
    }));
    runtime.upstream.next({ kind: "sse", frames });
    const called = await chatOf(runtime, tenant.key, { body: STREAMED });
    expect(called.status).toBe(200);
    expect(called.bytes.equals(bytes)).toBe(true);
    expect(called.end).toBe("whole");
    await settledAs(tenant, "succeeded/computed");
  });

  test("gives the first event of a stream before the upstream makes the second", async () => {
    const tenant = await runtime.tenant();
    const [first = "", ...rest] = chatFrames(MODEL, ["a"], USAGE);
    const seen = Promise.withResolvers<void>();
    const frames = [first, ...rest.map((bytes) => ({ bytes, gate: seen.promise }))];
    runtime.upstream.next({ kind: "sse", frames });
    const stream = await tenant.client.chat.completions.create({
      model: MODEL,
      messages: MESSAGES,
      stream: true,
    });
    let events = 0;
    for await (const event of stream) {
      events += event.choices.length;
      seen.resolve();
    }
    expect(events).toBe(3);
    await settledAs(tenant, "succeeded/computed");
  });

  test("refuses what the budget does not hold with 402, and records why", async () => {
    const tenant = await runtime.tenant();
    await tenant.limit({ scope: "tenant", unit: "usd", limit: "0.00000000001" });
    const before = runtime.upstream.connections();
    const called = await chatOf(runtime, tenant.key);
    expect(called.status).toBe(402);
    expect(called.headers["tollgate-verdict"]).toBe("block");
    expect(JSON.parse(called.text)).toMatchObject({ error: { code: "budget_exceeded" } });
    const decisions = await runtime.database.db.admin`
      select verdict, reason from decisions where tenant_id = ${tenant.id}`;
    expect([...decisions]).toEqual([{ verdict: "block", reason: "budget_exceeded" }]);
    expect(runtime.upstream.connections()).toBe(before);
  });

  test("admits exactly five of twenty calls that race for a budget of five", async () => {
    const tenant = await runtime.tenant();
    runtime.upstream.next(whole);
    await chatOf(runtime, tenant.key);
    const [row] = await runtime.database.db.admin`
      select estimate_picousd as cost from decisions where tenant_id = ${tenant.id}`;
    const cost = BigInt(String(row?.["cost"]));
    await settledAs(tenant, "succeeded/computed");
    // The meter begins with the limit, so what was spent before does not count.
    const limit = `0.${String(5n * cost + cost / 2n).padStart(12, "0")}`;
    await tenant.limit({ scope: "key", id: tenant.keyId, unit: "usd", limit });
    const before = runtime.upstream.journal.length;
    const release = Promise.withResolvers<void>();
    const body = chatAnswer(MODEL, "ok", USAGE);
    runtime.upstream.onHeader("gated", { kind: "json", body, headersGate: release.promise });
    let refused = 0;
    const calls = Array.from({ length: 20 }, async () => {
      const called = await chatOf(runtime, tenant.key, { headers: headers(tenant.key, "gated") });
      if (called.status !== 200 && (refused += 1) === 15) release.resolve();
      return called;
    });
    const answers = await Promise.all(calls);
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(5);
    expect(answers.filter(({ status }) => status === 429 || status === 402)).toHaveLength(15);
    expect(runtime.upstream.journal.length - before).toBe(5);
    await settledAs(tenant, ...Array<string>(6).fill("succeeded/computed"));
  });

  test("ends the upstream when the client leaves in mid-stream, and settles what was delivered", async () => {
    const tenant = await runtime.tenant({ mode: "tolerant" });
    const [head = "", delta = ""] = chatFrames(MODEL, ["word "], USAGE);
    function* endless() {
      yield head;
      for (;;) yield { bytes: delta, delayMs: 20 };
    }
    runtime.upstream.next({ kind: "sse", frames: endless() });
    const called = await chatOf(runtime, tenant.key, { body: STREAMED, leave: { after: "word" } });
    expect(called.end).toBe("left");
    await until(() => runtime.upstream.journal.at(-1)?.ended === "closed_by_client");
    await settledAs(tenant, "aborted/estimated");
  });

  // Node notices it at once; workerd when it next writes, which a comment after 15 s of silence does.
  test("ends the upstream when the client leaves a stream that stays silent", async () => {
    const tenant = await runtime.tenant({ mode: "tolerant" });
    const frames = chatFrames(MODEL, ["word"], USAGE).slice(0, 2);
    runtime.upstream.next({ kind: "sse", frames, last: "stall" });
    await chatOf(runtime, tenant.key, { body: STREAMED, leave: { after: "word" } });
    await runtime.upstream.quiet();
    expect(runtime.upstream.journal.at(-1)?.ended).toBe("closed_by_client");
    await settledAs(tenant, "aborted/estimated");
  });

  test("waits for a whole answer whose client left, and settles what it says", async () => {
    const tenant = await runtime.tenant();
    const release = Promise.withResolvers<void>();
    const before = runtime.upstream.journal.length;
    runtime.upstream.next({
      kind: "json",
      body: chatAnswer(MODEL, "ok", USAGE),
      headersGate: release.promise,
    });
    const leaveAfter = runtime.upstream.arrived(before + 1);
    await chatOf(runtime, tenant.key, { leave: "before_head", leaveAfter });
    release.resolve();
    await settledAs(tenant, "succeeded/computed");
  });

  test("passes an upload on as it comes, with its length", async () => {
    const tenant = await runtime.tenant();
    const body = randomBytes(700_000);
    runtime.upstream.next({ kind: "json", body: { id: "file-1", object: "file" } });
    const called = await call(`${runtime.url}/v1/files`, {
      method: "POST",
      headers: {
        authorization: `Bearer ${tenant.key}`,
        "content-type": "multipart/form-data; boundary=x",
      },
      body,
    });
    expect(called.status).toBe(200);
    const got = runtime.upstream.journal.at(-1);
    expect(got?.headers["content-length"]).toBe(String(body.length));
    expect(sha256(got?.body ?? new Uint8Array())).toBe(sha256(body));
  });

  test("reads and forwards a body of megabytes unchanged", async () => {
    const tenant = await runtime.tenant();
    const content = "many words ".repeat(200_000);
    const body = JSON.stringify({
      model: MODEL,
      max_tokens: 5,
      messages: [{ role: "user", content }],
    });
    runtime.upstream.next(whole);
    expect((await chatOf(runtime, tenant.key, { body })).status).toBe(200);
    expect(sha256(runtime.upstream.journal.at(-1)?.body ?? new Uint8Array())).toBe(
      sha256(Buffer.from(body)),
    );
  });

  test("does not know a revoked key any more, whoever revoked it", async () => {
    const tenant = await runtime.tenant();
    const { id, key } = await tenant.newKey();
    runtime.upstream.next(whole);
    expect((await chatOf(runtime, key)).status).toBe(200);
    const other = await startTollgate({ database: runtime.database });
    try {
      const answer = await fetch(`${other.url}/api/keys/${id}?tenant=${tenant.id}`, {
        method: "DELETE",
        headers: { authorization: `Bearer ${other.adminKey}` },
      });
      expect(answer.status).toBe(200);
      runtime.upstream.otherwise(whole);
      await until(async () => (await chatOf(runtime, key)).status === 401);
      expect((await chatOf(runtime, tenant.key)).status).toBe(200);
    } finally {
      await other.close();
    }
  });

  test("does not admit a call whose key was revoked while its body came", async () => {
    const tenant = await runtime.tenant();
    const { id, key } = await tenant.newKey();
    const body = JSON.stringify({ model: MODEL, messages: MESSAGES });
    const [first, second] = [body.slice(0, 20), body.slice(20)];
    const sent = request(`${runtime.url}/v1/chat/completions`, {
      method: "POST",
      agent: false,
      headers: { ...headers(key), "content-length": Buffer.byteLength(body) },
    });
    sent.write(first);
    // Its key is looked up when the head has come; nothing tells that from outside but time.
    await passes(500);
    const before = runtime.upstream.journal.length;
    const other = await startTollgate({ database: runtime.database });
    try {
      await fetch(`${other.url}/api/keys/${id}?tenant=${tenant.id}`, {
        method: "DELETE",
        headers: { authorization: `Bearer ${other.adminKey}` },
      });
      await passes(SNAPSHOT_MS_MAX + 500);
      sent.end(second);
      const [answer] = (await once(sent, "response")) as [IncomingMessage];
      answer.resume();
      expect(answer.statusCode).toBe(401);
      expect(runtime.upstream.journal.length).toBe(before);
    } finally {
      await other.close();
    }
  });

  test("stops reading from the upstream when its client does", async () => {
    const tenant = await runtime.tenant({ mode: "tolerant" });
    const bytes = Buffer.from(`: ${"x".repeat(64 * 1024)}\n\n`);
    const total = 4_000;
    runtime.upstream.next({ kind: "sse", frames: Array<Buffer>(total).fill(bytes) });
    const sent = request(`${runtime.url}/v1/chat/completions`, {
      method: "POST",
      agent: false,
      headers: headers(tenant.key),
    });
    sent.end(STREAMED);
    const [answer] = (await once(sent, "response")) as [IncomingMessage];
    const exchange = runtime.upstream.journal.at(-1)!;
    let still = 0;
    for (let seen = -1; still < 20;) {
      still = exchange.delivered.frames === seen ? still + 1 : 0;
      seen = exchange.delivered.frames;
      await passes(50);
    }
    // The kernels' buffers of two connections, and next to nothing of ours.
    expect(exchange.delivered.frames).toBeLessThan(total / 4);
    answer.destroy();
    await runtime.upstream.quiet();
    expect(exchange.ended).toBe("closed_by_client");
  });

  test("sweeps: what is past its deadline turns unknown, and is charged in full after its grace", async () => {
    const tenant = await runtime.tenant();
    runtime.upstream.next({ kind: "stall" });
    const before = runtime.upstream.journal.length;
    const left = runtime.upstream.arrived(before + 1);
    // Nobody will settle it while this test runs: its upstream has a minute.
    await chatOf(runtime, tenant.key, { leave: "before_head", leaveAfter: left });
    await runtime.sweep();
    expect(await reserved(runtime.database, tenant.id, "unknown")).toBe(0);
    await shiftClock(runtime.database.db, 10 * 60_000);
    await runtime.sweep();
    expect(await reserved(runtime.database, tenant.id, "unknown")).toBe(1);
    await shiftClock(runtime.database.db, 10 * 60_000 + UNKNOWN_GRACE_MS + 1_000);
    await runtime.sweep();
    await settledAs(tenant, "unknown/presumed");
  });
});

type Failure = {
  readonly name: string;
  readonly by?: (runtime: Runtime) => Clients;
  readonly plays?: Script;
  readonly stream?: boolean;
  readonly status: number;
  /** Stands in the answer. */
  readonly says: string;
  readonly ending: string;
  /** What Workers promise, where it is less. */
  readonly workers?: { readonly says: string; readonly ending: string };
};

const DELTAS = chatFrames(MODEL, ["word"], USAGE);

const FAILURES: readonly Failure[] = [
  {
    name: "a connection that is refused",
    by: ({ away }) => away,
    status: 502,
    says: "upstream_unreachable",
    ending: "released/none",
    workers: { says: "upstream_outcome_unknown", ending: "unknown" },
  },
  {
    name: "a connection that is reset before any header",
    plays: { kind: "reset" },
    status: 502,
    says: "upstream_outcome_unknown",
    ending: "unknown",
  },
  {
    name: "an upstream that never answers",
    by: ({ hasty }) => hasty,
    plays: { kind: "stall" },
    status: 504,
    says: "upstream_outcome_unknown",
    ending: "unknown",
  },
  {
    name: "a 400, handed on as it came",
    plays: {
      kind: "json",
      status: 400,
      body: errorAnswer("No such parameter.", "invalid_request_error", "unknown_parameter"),
    },
    status: 400,
    says: "No such parameter.",
    ending: "failed/none",
  },
  {
    name: "a 500, which may have run",
    plays: { kind: "json", status: 500, body: errorAnswer("Sorry.", "server_error", null) },
    status: 500,
    says: "Sorry.",
    ending: "unknown",
  },
  {
    name: "a redirect, not followed",
    plays: { kind: "json", status: 307, body: {}, headers: { location: "http://127.0.0.1:1/" } },
    status: 307,
    says: "{}",
    ending: "succeeded/estimated",
  },
  {
    name: "a whole answer cut in the middle",
    plays: { kind: "json", body: chatAnswer(MODEL, "ok", USAGE), resetAtByte: 40 },
    status: 502,
    says: "upstream_outcome_unknown",
    ending: "unknown",
  },
  {
    name: "a stream that is reset",
    plays: { kind: "sse", frames: DELTAS, resetAtByte: 700 },
    stream: true,
    status: 200,
    says: '"code":"upstream_error"',
    ending: "unknown",
  },
  {
    name: "a stream that ends politely without its end",
    plays: { kind: "sse", frames: DELTAS.slice(0, 2) },
    stream: true,
    status: 200,
    says: '"code":"upstream_error"',
    ending: "unknown",
  },
];

describeEachRuntime("a failing upstream", (runtime) => {
  test.each(FAILURES)("$name: $status", async (failure) => {
    const { by = (all) => all, plays, stream = false, status, workers } = failure;
    const { says, ending } = runtime.kind === "workerd" ? (workers ?? failure) : failure;
    const gateway = by(runtime);
    const tenant = await gateway.tenant();
    if (plays !== undefined) runtime.upstream.next(plays);
    const called = await chatOf(gateway, tenant.key, stream ? { body: STREAMED } : {});
    expect(called.status).toBe(status);
    expect(called.text).toContain(says);
    expect(called.text).not.toContain("[DONE]");
    expect(called.end).toBe("whole");
    if (ending === "unknown") {
      await until(async () => (await reserved(runtime.database, tenant.id, "unknown")) === 1);
    } else {
      await until(async () => (await endingsOf(runtime.database, tenant.id)).length === 1);
      expect(await endingsOf(runtime.database, tenant.id)).toEqual([ending]);
    }
    expect(await reserved(runtime.database, tenant.id, "open")).toBe(0);
    expect(await ledgerViolations(runtime.database.db.admin, tenant.id)).toEqual([]);
  });

  test("a pass-through cut in the middle is a connection cut for its client", async () => {
    const tenant = await runtime.tenant();
    runtime.upstream.next({
      kind: "bytes",
      frames: [randomBytes(50_000)],
      contentLength: 90_000,
      headers: { "content-type": "application/octet-stream" },
    });
    const called = await call(`${runtime.url}/v1/files/file-1/content`, {
      headers: { authorization: `Bearer ${tenant.key}` },
    });
    expect(called.end).toBe("broken");
  });
});

function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}
