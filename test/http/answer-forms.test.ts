import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, expect, test } from "vitest";
import { describeOnPostgres } from "../support/databases.ts";
import { chatAnswer, chatFrames, type Tokens } from "../support/openai-answers.ts";
import {
  startScriptedUpstream,
  type Script,
  type ScriptedUpstream,
} from "../support/scripted-upstream.ts";
import { MODEL, startTollgate, type Tollgate } from "../support/tollgate.ts";
import { completionFrames } from "./endpoints.ts";
import { call, type Called } from "./http-call.ts";

/** Answers in another form than their head or their route says: what is billed for them is charged, or held. */

/** More than anybody would count in these answers. */
const USAGE: Tokens = { input: 700, output: 900 };
const COMPUTED = { basis: "computed", usage: { input: 700, output: 900 } };

const CHAT = { model: MODEL, messages: [{ role: "user", content: "Hi" }], max_tokens: 1_000 };
const DELTAS = ["one ", "two"];

type Ended = { readonly ending: string; readonly basis: string; readonly usage: unknown };

describeOnPostgres("an answer in another form", (database) => {
  let upstream: ScriptedUpstream;
  let tollgate: Tollgate;
  beforeAll(async () => {
    upstream = await startScriptedUpstream();
    tollgate = await startTollgate({ database, upstream: upstream.url });
  });
  afterAll(async () => {
    await tollgate.close();
    await upstream.close();
  });

  /** What the client of a tenant of its own saw, and its one settlement: null where its outcome is unknown. */
  const ask = async (
    script: Script,
    { path = "/v1/chat/completions", body = CHAT }: { path?: string; body?: object } = {},
  ): Promise<{ readonly called: Called; readonly ended: Ended | null }> => {
    const tenant = await tollgate.tenant();
    upstream.next(script);
    const called = await call(`${tollgate.url}${path}`, {
      method: "POST",
      headers: { authorization: `Bearer ${tenant.key}`, "content-type": "application/json" },
      body: JSON.stringify(body),
    });
    const [ended = null, ...more] = await tollgate.ledger<Ended>(
      "select ending, basis, usage from settlements where tenant_id = $1",
      [tenant.id],
    );
    expect(more).toEqual([]);
    return { called, ended };
  };

  const NAMED: readonly (readonly [name: string, type: string | null])[] = [
    ["in capitals", "Text/Event-Stream; charset=utf-8"],
    ["with a space before its parameter", "text/event-stream ;charset=utf-8"],
    ["as plain text", "text/plain"],
    ["as a document", "application/json"],
    ["not at all", null],
  ];
  const WRITTEN: Readonly<Record<string, (text: string) => string>> = {
    "as usual": (text) => text,
    "after a byte order mark": (text) => `\u{feff}${text}`,
    "after empty lines and a comment": (text) => `\r\n\n: working\n\n${text}`,
    "with a name": (text) => `event: message\n${text}`,
  };
  test.each(NAMED)("is a stream, though its type is named %s", async (_, type) => {
    for (const [style, write] of Object.entries(WRITTEN)) {
      const text = write(chatFrames(MODEL, DELTAS, USAGE).join(""));
      const { called, ended } = await ask(
        {
          kind: "sse",
          frames: [text.slice(0, 1), text.slice(1)],
          headers: { "content-type": type ?? [] },
        },
        { body: { ...CHAT, stream: true } },
      );
      // The event of usage was asked for by the gateway, and is not for the client.
      expect([called.status, called.end]).toEqual([200, "whole"]);
      expect(called.text).toBe(write(chatFrames(MODEL, DELTAS, null).join("")));
      expect(called.headers["content-type"]).toBe(type ?? undefined);
      expect({ style, ended }).toEqual({ style, ended: { ending: "succeeded", ...COMPUTED } });
    }
  });

  const UNREAD: Readonly<Record<string, Script>> = {
    "encoded, though nobody asked for it": {
      kind: "bytes",
      frames: [gzipSync(JSON.stringify(chatAnswer(MODEL, "ok", USAGE)))],
      headers: { "content-encoding": "gzip" },
    },
    "encoded, and does not say so": {
      kind: "bytes",
      frames: [gzipSync(JSON.stringify(chatAnswer(MODEL, "ok", USAGE)))],
    },
    "a page": { kind: "bytes", frames: ["<html>"], headers: { "content-type": "text/html" } },
    "a list": { kind: "json", body: [chatAnswer(MODEL, "ok", USAGE)] },
    "a call that is deferred": { kind: "json", body: { request_id: "f15c" } },
    "a call that is accepted": {
      kind: "json",
      status: 202,
      body: chatAnswer(MODEL, "soon", null),
    },
    nothing: { kind: "bytes", frames: [], status: 204 },
  };
  test.each(Object.entries(UNREAD))(
    "is passed, and charged its reservation: %s",
    async (_, script) => {
      if (!("status" in script || "frames" in script || "body" in script))
        throw new Error("no answer");
      const { called, ended } = await ask(script);
      expect([called.status, called.end]).toEqual([script.status ?? 200, "whole"]);
      const sent = script.kind === "json" ? [JSON.stringify(script.body)] : [...script.frames];
      expect(called.bytes).toEqual(Buffer.concat(sent.map((each) => Buffer.from(each as string))));
      expect(ended).toMatchObject({ ending: "succeeded", basis: "presumed" });
    },
  );

  test("is a stream that passes as it is, where it is encoded, and is broken off where it is cut", async () => {
    const encoded = gzipSync(chatFrames(MODEL, DELTAS, USAGE).join(""));
    const streamed = { kind: "sse", headers: { "content-encoding": "gzip" } } as const;
    const body = { ...CHAT, stream: true };
    const passed = await ask({ ...streamed, frames: [encoded] }, { body });
    expect([passed.called.end, passed.called.bytes]).toEqual(["whole", encoded]);
    expect(passed.ended).toMatchObject({ ending: "succeeded", basis: "presumed" });
    const half = encoded.subarray(0, encoded.length / 2);
    const cut = await ask({ ...streamed, frames: [half], last: "truncate" }, { body });
    expect([cut.called.end, cut.called.bytes]).toEqual(["broken", half]);
    expect(cut.ended).toBe(null);
  });

  const whole = JSON.stringify(chatAnswer(MODEL, "x".repeat(9_000), USAGE));
  const CUT: Readonly<Record<string, Script>> = {
    "in its first bytes": { kind: "bytes", frames: [whole.slice(0, 120)] },
    "behind a byte order mark": { kind: "bytes", frames: [`\u{feff}${whole.slice(0, 5_000)}`] },
    "before its last brace": { kind: "bytes", frames: [whole.slice(0, -1)] },
    "by a length that is too short": {
      kind: "bytes",
      frames: [whole.slice(0, 90)],
      contentLength: 90,
    },
    "before its first byte": { kind: "bytes", frames: [] },
  };
  test.each(Object.entries(CUT))("is a clean 502 where it is cut %s", async (_, script) => {
    for (const body of [CHAT, { ...CHAT, stream: true }]) {
      const { called, ended } = await ask(script, { body });
      expect([called.status, called.end]).toEqual([502, "whole"]);
      expect(JSON.parse(called.text)).toMatchObject({
        error: { code: "upstream_outcome_unknown" },
      });
      // Its money stays held, and is charged after its grace.
      expect(ended).toBe(null);
    }
  });

  test("is broken off where it is cut and too large to be held", async () => {
    const long = `{"choices":[{"message":{"content":"${"x".repeat(5_000_000)}`;
    const { called, ended } = await ask({ kind: "bytes", frames: [long] });
    expect([called.status, called.end, ended]).toEqual([200, "broken", null]);
  });

  test("is passed where it is whole and too large to be held", async () => {
    const answer = chatAnswer(MODEL, "x".repeat(5_000_000), USAGE);
    const { called, ended } = await ask({ kind: "json", body: answer });
    expect([called.status, called.end]).toEqual([200, "whole"]);
    expect(called.text).toBe(JSON.stringify(answer));
    expect(ended).toEqual({ ending: "succeeded", ...COMPUTED });
  });

  const REFUSED = {
    message: "The response was filtered.",
    type: null,
    param: "prompt",
    status: 400,
  };
  const FILTERED: Readonly<Record<string, object>> = {
    "by its code": { ...REFUSED, code: "content_filter" },
    "as Azure's images write it": { ...REFUSED, code: "contentFilter" },
    "by the error inside it": {
      ...REFUSED,
      code: "BadRequest",
      innererror: { code: "ResponsibleAIPolicyViolation" },
    },
  };
  test.each(Object.entries(FILTERED))(
    "may be billed where a filter refused it, told %s",
    async (_, error) => {
      for (const body of [CHAT, { ...CHAT, stream: true }]) {
        const { called, ended } = await ask(
          { kind: "json", status: 400, body: { error } },
          { body },
        );
        expect([called.status, JSON.parse(called.text)]).toEqual([400, { error }]);
        // Its money stays held, and is charged after its grace.
        expect(ended).toBe(null);
      }
    },
  );

  test("is charged its reservation where a filter's error came with 200, and not where another did", async () => {
    const filtered = await ask({ kind: "json", body: { error: { code: "content_filter" } } });
    expect(filtered.ended).toMatchObject({ ending: "failed", basis: "presumed" });
    const failed = await ask({ kind: "json", body: { error: { code: 502 } } });
    expect(failed.ended).toMatchObject({ ending: "failed", basis: "estimated" });
  });

  test("is no answer that could not be read where it is a redirect", async () => {
    const headers = { location: "/elsewhere" };
    const { called, ended } = await ask({ kind: "bytes", frames: [], status: 307, headers });
    expect([called.status, called.headers.location]).toEqual([307, "/elsewhere"]);
    expect(ended).toMatchObject({ ending: "succeeded", basis: "estimated" });
  });

  test("costs nothing where anything else was refused", async () => {
    const error = { ...REFUSED, code: "invalid_prompt", innererror: { code: "content" } };
    const { ended } = await ask({ kind: "json", status: 400, body: { error } });
    expect(ended).toMatchObject({ ending: "failed", basis: "none" });
  });

  test("is read behind a byte order mark, however long", async () => {
    const answer = chatAnswer(MODEL, "x".repeat(9_000), USAGE);
    const { ended } = await ask({ kind: "bytes", frames: [`\u{feff}${JSON.stringify(answer)}`] });
    expect(ended).toEqual({ ending: "succeeded", ...COMPUTED });
  });

  test("is a stream of completions, though its type is not named", async () => {
    const { called, ended } = await ask(
      {
        kind: "sse",
        frames: completionFrames(MODEL, DELTAS, USAGE),
        headers: { "content-type": [] },
      },
      {
        path: "/v1/completions",
        body: { model: MODEL, prompt: "Hi", max_tokens: 1_000, stream: true },
      },
    );
    expect(called.text).toBe(completionFrames(MODEL, DELTAS, null).join(""));
    expect(ended).toEqual({ ending: "succeeded", ...COMPUTED });
  });
});
