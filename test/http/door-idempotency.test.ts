import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { describeEachDatabase } from "../support/databases.ts";
import { resetClock, shiftClock } from "../support/clock.ts";
import {
  chatAnswer,
  chatFrames,
  embeddingsAnswer,
  responseAnswer,
} from "../support/openai-answers.ts";
import { MODEL, type Tenant } from "../support/tollgate.ts";
import { rollUpAll } from "../store/roll-up-violations.ts";
import { errorOf, startDoor, type Door } from "./door.ts";
import { call, type Called } from "./http-call.ts";

/** The table of idempotent repeats: what the same key gets, by what became of the first request. */

const DAY_MS = 24 * 3_600_000;
const USAGE = { input: 3, output: 2 };

describeEachDatabase("a request under an idempotency key", (database) => {
  let door: Door;
  let tenant: Tenant;
  beforeAll(async () => {
    door = await startDoor(database);
    tenant = await door.tollgate.tenant();
    door.upstream.onModel("m-stream", {
      kind: "sse",
      frames: chatFrames("m-stream", ["a", "b"], USAGE),
    });
  });
  afterAll(() => door.close());

  const ask = async (
    idempotencyKey: string,
    body: Readonly<Record<string, unknown>> = {},
    headers: Readonly<Record<string, string>> = {},
  ): Promise<Called> =>
    door.chat(tenant.key, { body, headers: { ...headers, "idempotency-key": idempotencyKey } });
  const dispatched = () => door.upstream.journal.length;
  const costs = async () =>
    Number(
      (
        await door.tollgate.ledger<{ sum: string }>(
          "select coalesce(sum(cost_picousd), 0)::text as sum from settlements where tenant_id = $1",
          [tenant.id],
        )
      )[0]?.sum,
    );

  test("that succeeded gets the same bytes again, free, with its own decision", async () => {
    const first = await ask("whole");
    await door.tollgate.settled();
    const [before, cost] = [dispatched(), await costs()];
    const repeat = await ask("whole");
    expect(repeat.text).toBe(first.text);
    expect(repeat.status).toBe(200);
    expect(repeat.headers["idempotent-replayed"]).toBe("true");
    expect(repeat.headers["tollgate-decision"]).toBe(first.headers["tollgate-decision"]);
    expect([dispatched(), await costs()]).toEqual([before, cost]);
    // The repeat has a decision of its own in the ledger, which says whose duplicate it is.
    const [row] = await door.tollgate.ledger(
      "select reason, retry->>'prior_attempt' as prior from decisions where tenant_id = $1 and reason is not null",
      [tenant.id],
    );
    const prior = String(first.headers["tollgate-decision"]).replace("dec_", "att_");
    expect(row).toEqual({ reason: "duplicate_request", prior });
  });

  test("gets a stream again byte for byte", async () => {
    const body = { model: MODEL, stream: true };
    door.upstream.next({ kind: "sse", frames: chatFrames(MODEL, ["one", "two"], USAGE) });
    const first = await ask("stream", body);
    await door.tollgate.settled();
    const repeat = await ask("stream", body);
    expect(first.text).toContain("[DONE]");
    expect(repeat.text).toBe(first.text);
    expect(repeat.headers["content-type"]).toBe(first.headers["content-type"]);
  });

  test("in another order and spacing is the same request", async () => {
    const send = (body: string) =>
      call(`${door.tollgate.url}/v1/chat/completions`, {
        method: "POST",
        headers: {
          authorization: `Bearer ${tenant.key}`,
          "content-type": "application/json",
          "idempotency-key": "canonical",
        },
        body,
      });
    const messages = '[{"role":"user","content":"Hi"}]';
    const first = await send(
      `{"model":"${MODEL}","messages":${messages},"max_completion_tokens":9}`,
    );
    await door.tollgate.settled();
    const again = await send(
      `{ "max_completion_tokens": 9.0, "messages": ${messages}, "model": "${MODEL}" }`,
    );
    expect([again.status, again.text]).toEqual([200, first.text]);
    expect(again.headers["idempotent-replayed"]).toBe("true");
  });

  test("is the same as a form with another boundary, which libraries draw for each attempt", async () => {
    const tolerant = await door.tollgate.tenant({ mode: "tolerant" });
    const send = async (sound: string) => {
      const body = new FormData();
      body.append("model", MODEL);
      body.append("file", new Blob([sound]), "a.wav");
      const headers = { authorization: `Bearer ${tolerant.key}`, "idempotency-key": "form" };
      const url = `${door.tollgate.url}/v1/audio/transcriptions`;
      return fetch(url, { method: "POST", headers, body });
    };
    const first = await send("RIFF");
    expect([first.status, first.headers.get("idempotent-replayed")]).toEqual([200, null]);
    await first.body?.cancel();
    await door.tollgate.settled();
    const again = await send("RIFF");
    expect([again.status, again.headers.get("idempotent-replayed")]).toEqual([200, "true"]);
    expect((await send("RIFX")).status).toBe(422);
  });

  test("is executed once for an upstream that did not know stream_options, too", async () => {
    const refused = { error: { message: "unknown stream_options", type: "invalid_request_error" } };
    door.upstream.next(
      { kind: "json", status: 400, body: refused },
      { kind: "sse", frames: chatFrames("m-old", ["ok"], USAGE) },
    );
    const tolerant = await door.tollgate.tenant({ mode: "tolerant" });
    const ask = () =>
      door.chat(tolerant.key, {
        headers: { "idempotency-key": "old" },
        body: { model: "m-old", stream: true },
      });
    const first = await ask();
    expect(first.status).toBe(200);
    await door.tollgate.settled();
    expect((await ask()).text).toBe(first.text);
  });

  test.each([
    [
      "/v1/embeddings",
      { model: MODEL, input: "Hi" },
      embeddingsAnswer(MODEL, [[0.5, 0.25]], USAGE.input),
    ],
    ["/v1/responses", { model: MODEL, input: "Hi" }, responseAnswer(MODEL, "ok", USAGE)],
  ])("of %s is repeated like any other", async (path, body, answer) => {
    const send = () =>
      call(`${door.tollgate.url}${path}`, {
        method: "POST",
        headers: {
          authorization: `Bearer ${tenant.key}`,
          "content-type": "application/json",
          "idempotency-key": path,
        },
        body: JSON.stringify(body),
      });
    door.upstream.next({ kind: "json", body: answer });
    const first = await send();
    await door.tollgate.settled();
    const before = dispatched();
    expect([first.status, (await send()).text, dispatched()]).toEqual([200, first.text, before]);
  });

  test("is one attempt, however often it is repeated: nothing of it counts as refused", async () => {
    const mine = await door.tollgate.tenant();
    const api = async (path: string) => {
      const headers = { authorization: `Bearer ${mine.key}` };
      const url = `${door.tollgate.url}/api${path}`;
      return JSON.parse((await call(url, { method: "GET", headers, body: null })).text);
    };
    const headers = { "idempotency-key": "six", "tollgate-run": "six", prefer: "wait=20" };
    const release = Promise.withResolvers<void>();
    const answer = chatAnswer(MODEL, "six", USAGE);
    door.upstream.next({ kind: "json", headersGate: release.promise, body: answer });
    const arrived = door.upstream.arrived(dispatched() + 1);
    const first = door.chat(mine.key, { headers });
    await arrived;
    // This one waits, and so has two decisions: that it runs, and that it has succeeded.
    const waiting = door.chat(mine.key, { headers });
    await vi.waitFor(async () => expect((await api("/usage")).totals.repeated).toBe(1));
    release.resolve();
    const answers = [await first, await waiting];
    await door.tollgate.settled();
    for (let more = 0; more < 4; more += 1) answers.push(await door.chat(mine.key, { headers }));
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 200, 200, 200]);
    const counts = { attempts: 1, blocked: 0, repeated: 6 };
    const usage = await api("/usage");
    expect([usage.totals, usage.by_reason]).toMatchObject([counts, []]);
    const run = await api("/runs/six");
    expect(run.totals).toMatchObject(counts);
    expect(run.attempts.map(({ status }: { status: string }) => status)).toEqual([
      "succeeded",
      ...Array.from({ length: 6 }, () => "repeated"),
    ]);
    const why = (await api(`/decisions/${run.attempts[1].decision}`)).explanation.join(" ");
    expect(why).toContain("It was a repeat, and not run again");
    await rollUpAll(door.tollgate.db.admin);
    const { total, rows } = await api("/reports/spend?group_by=ending");
    expect(total).toMatchObject({ ...counts, retries: 0 });
    expect(rows).toMatchObject([
      { groups: { ending: "succeeded" }, attempts: 1, repeated: 0 },
      { groups: { ending: "repeated" }, attempts: 0, blocked: 0, repeated: 6 },
    ]);
    const [only, none] = [
      await api("/reports/spend?ending=repeated"),
      await api("/reports/spend?ending=blocked"),
    ];
    expect([only.total.repeated, none.total.blocked]).toEqual([6, 0]);
  });

  test("with other content is refused and told nothing of the first", async () => {
    const first = await ask("reused");
    await door.tollgate.settled();
    const other = await ask("reused", { messages: [{ role: "user", content: "other" }] });
    expect(other.status).toBe(422);
    expect(errorOf(other)).toMatchObject({ code: "idempotency_key_reused" });
    const decision = String(first.headers["tollgate-decision"]).slice(4);
    expect(other.text).not.toContain(decision);
  });

  test("that is still running is told so, or waits for the answer when it prefers to", async () => {
    const release = Promise.withResolvers<void>();
    const answer = chatAnswer(MODEL, "slow", USAGE);
    door.upstream.next({ kind: "json", headersGate: release.promise, body: answer });
    const before = dispatched();
    const first = ask("slow");
    await door.upstream.arrived(before + 1);
    const told = await ask("slow");
    expect(told.status).toBe(409);
    expect(told.headers).toMatchObject({ "x-should-retry": "true", "retry-after": "1" });
    expect(errorOf(told)).toMatchObject({ code: "idempotency_in_progress" });
    const waiting = ask("slow", {}, { prefer: "wait=20" });
    release.resolve();
    const [given, attached] = await Promise.all([first, waiting]);
    expect(attached.text).toBe(given.text);
    expect(attached.headers["idempotent-replayed"]).toBe("true");
    expect(dispatched()).toBe(before + 1);
  });

  test("that certainly did not run, or was refused, leaves the key free", async () => {
    door.upstream.next({ kind: "json", status: 429, body: { error: { message: "later" } } });
    expect((await ask("again")).status).toBe(429);
    await door.tollgate.settled();
    const second = await ask("again");
    expect([second.status, second.headers["tollgate-attempt"]]).toEqual([200, "2"]);
    const refused = await ask("free", {}, { "tollgate-max-cost": "0" });
    expect(refused.status).toBe(402);
    expect((await ask("free", { messages: [{ role: "user", content: "other" }] })).status).toBe(
      200,
    );
  });

  test("of which nobody knows the outcome is not run again unless that is accepted", async () => {
    door.upstream.next({ kind: "reset" });
    expect((await ask("lost")).status).toBe(502);
    await door.tollgate.settled();
    const refused = await ask("lost");
    expect(refused.status).toBe(409);
    expect(refused.headers["x-should-retry"]).toBe("false");
    expect(errorOf(refused)).toMatchObject({ code: "outcome_unknown" });
    const accepted = await ask("lost", {}, { "tollgate-retry-unknown": "accept" });
    expect([accepted.status, accepted.headers["tollgate-attempt"]]).toEqual([200, "2"]);
  });

  test("keeps its answer for a day, and then the key is free", async () => {
    const first = await ask("kept");
    await door.tollgate.settled();
    await shiftClock(door.tollgate.db, DAY_MS - 60_000);
    expect((await ask("kept")).text).toBe(first.text);
    await shiftClock(door.tollgate.db, DAY_MS + 60_000);
    const before = dispatched();
    expect((await ask("kept")).status).toBe(200);
    await resetClock(door.tollgate.db);
    expect(dispatched()).toBe(before + 1);
  });

  test("is another tenant's business alone", async () => {
    await ask("shared-name");
    const other = await door.tollgate.tenant();
    const before = dispatched();
    const called = await door.chat(other.key, {
      headers: { "idempotency-key": "shared-name" },
      body: { messages: [{ role: "user", content: "theirs" }] },
    });
    expect([called.status, dispatched()]).toEqual([200, before + 1]);
  });

  test("is never stored in clear, and neither is its answer", async () => {
    door.upstream.next({ kind: "json", body: chatAnswer(MODEL, "canary answer 7f3a", USAGE) });
    await ask("canary-key-51ba");
    await door.tollgate.settled();
    const [found] = await door.tollgate.ledger(
      `select count(*)::int as count from answers
       where position('canary answer'::bytea in sealed) > 0`,
    );
    const [keys] = await door.tollgate.ledger(
      "select count(*)::int as count from idempotency_keys where key_digest like '%canary%'",
    );
    expect([found, keys]).toEqual([{ count: 0 }, { count: 0 }]);
  });

  test.each(["", "a b", "é", "x".repeat(256)])("with the bad key %j is a mistake", async (key) => {
    const called = await ask(key);
    expect(called.status).toBe(400);
    expect(errorOf(called)).toMatchObject({ code: "invalid_header", param: "Idempotency-Key" });
  });

  test("whose client left is finished, and the answer is there for its retry", async () => {
    const release = Promise.withResolvers<void>();
    const frames = chatFrames(MODEL, ["x", "y"], USAGE);
    const gated = frames.map((bytes, i) => (i === 1 ? { bytes, gate: release.promise } : bytes));
    door.upstream.next({ kind: "sse", frames: gated });
    const before = dispatched();
    const leaving = new AbortController();
    const headers = {
      authorization: `Bearer ${tenant.key}`,
      "content-type": "application/json",
      "idempotency-key": "left",
    };
    const body = JSON.stringify({
      model: MODEL,
      messages: [{ role: "user", content: "Hi" }],
      stream: true,
    });
    const url = `${door.tollgate.url}/v1/chat/completions`;
    const left = fetch(url, { method: "POST", headers, body, signal: leaving.signal });
    await door.upstream.arrived(before + 1);
    await left;
    leaving.abort();
    release.resolve();
    await door.tollgate.settled();
    const retried = await ask("left", { stream: true });
    expect(retried.headers["idempotent-replayed"]).toBe("true");
    expect(retried.text).toContain("[DONE]");
    expect(dispatched()).toBe(before + 1);
  });
});
