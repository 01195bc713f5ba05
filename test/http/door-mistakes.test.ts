import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { describeEachDatabase } from "../support/databases.ts";
import { MODEL } from "../support/tollgate.ts";
import { errorOf, startDoor, type Door } from "./door.ts";
import { call, until } from "./http-call.ts";

/** What never comes to a decision: who asks is not known, or what is asked is not clear. */

describeEachDatabase("a refusal", (database) => {
  let door: Door;
  let upstream: Door["upstream"];
  let tollgate: Door["tollgate"];
  let chat: Door["chat"];
  beforeAll(async () => {
    door = await startDoor(database);
    ({ upstream, tollgate, chat } = door);
  });
  afterAll(() => door.close());

  describe("of what is not a call", () => {
    type Mistake = {
      readonly name: string;
      readonly path?: string;
      readonly method?: string;
      readonly headers?: Readonly<Record<string, string | string[]>>;
      readonly body?: string;
      readonly status: number;
      readonly code: string;
      readonly param?: string | null;
      /** Part of it. */
      readonly message?: string;
    };
    const MISTAKES: readonly Mistake[] = [
      { name: "no key", headers: { authorization: "" }, status: 401, code: "invalid_api_key" },
      {
        name: "a made-up key",
        headers: { authorization: "Bearer tg_live_nope" },
        status: 401,
        code: "invalid_api_key",
      },
      {
        name: "another scheme",
        headers: { authorization: "Basic dTpw" },
        status: 401,
        code: "invalid_api_key",
      },
      {
        name: "a model nobody serves",
        body: '{"model":"zzz"}',
        status: 404,
        code: "model_not_found",
        param: "model",
      },
      {
        name: "no model, of what has one of its own at the provider, where nobody serves every model",
        path: "/v1/images/generations",
        body: '{"prompt":"x"}',
        status: 400,
        code: "missing_required_parameter",
        param: "model",
        message: "You must provide a 'model' parameter",
      },
      {
        name: "a moderation by the model that is its default, where nobody serves it",
        path: "/v1/moderations",
        body: '{"input":"x"}',
        status: 404,
        code: "model_not_found",
        message: "`omni-moderation-latest`",
      },
      {
        name: "no model",
        body: '{"messages":[]}',
        status: 400,
        code: "missing_required_parameter",
        param: "model",
      },
      { name: "broken JSON", body: '{"model":', status: 400, code: "invalid_json" },
      { name: "no body", body: "", status: 400, code: "invalid_json" },
      { name: "no path", path: "/v1", status: 404, code: "unknown_url" },
      { name: "the root", path: "/", method: "GET", status: 404, code: "unknown_url" },
      {
        name: "administration",
        path: "/v1/organization/usage",
        method: "GET",
        status: 403,
        code: "forbidden",
      },
      {
        name: "an encoded body",
        headers: { "content-encoding": "gzip" },
        status: 415,
        code: "unsupported_encoding",
      },
      {
        name: "a form without a boundary",
        path: "/v1/audio/transcriptions",
        headers: { "content-type": "multipart/form-data" },
        status: 415,
        code: "unsupported_media_type",
      },
      {
        name: "two types of one body",
        headers: { "content-type": ["application/json", "application/json; charset=utf-8"] },
        status: 400,
        code: "invalid_header",
        param: "content-type",
      },
      {
        name: "a form with two boundaries",
        path: "/v1/images/edits",
        headers: {
          "content-type": ["multipart/form-data; boundary=a", "multipart/form-data; boundary=b"],
        },
        body: `--a\r\ncontent-disposition: form-data; name="model"\r\n\r\n${MODEL}\r\n--a--\r\n`,
        status: 400,
        code: "invalid_header",
        param: "content-type",
      },
      {
        name: "a model in the query",
        path: "/v1/chat/completions?api-version=2024-10-21&model=other&n=5",
        status: 400,
        code: "invalid_value",
        param: "model",
      },
      {
        name: "a model in the query, behind a semicolon",
        path: "/v1/chat/completions?api-version=1;model=other",
        status: 400,
        code: "invalid_value",
        param: "model",
      },
      {
        name: "a member in the query, otherwise written",
        path: "/v1/chat/completions?%6e=5",
        status: 400,
        code: "invalid_value",
        param: "n",
      },
      {
        name: "a body that says it is too large",
        headers: { "content-length": String(70 * 1024 * 1024) },
        body: "",
        status: 413,
        code: "body_too_large",
      },
      {
        name: "a WebSocket",
        path: "/v1/responses",
        method: "GET",
        headers: { connection: "Upgrade", upgrade: "websocket", "sec-websocket-version": "13" },
        status: 426,
        code: "websocket_unsupported",
      },
      {
        name: "a maximum that is no amount",
        headers: { "tollgate-max-cost": "cheap" },
        status: 400,
        code: "invalid_value",
        param: "Tollgate-Max-Cost",
      },
      {
        name: "a maximum below nothing",
        headers: { "tollgate-max-cost": "-1" },
        status: 400,
        code: "invalid_value",
        param: "Tollgate-Max-Cost",
        message: "is not negative",
      },
      {
        name: "a maximum beyond what any act costs",
        headers: { "tollgate-max-cost": "1000000000.01" },
        status: 400,
        code: "invalid_value",
        param: "Tollgate-Max-Cost",
        message: "is at most 1000000000 USD",
      },
      {
        name: "a dry run that is neither",
        headers: { "tollgate-dry-run": "maybe" },
        status: 400,
        code: "invalid_header",
        param: "Tollgate-Dry-Run",
      },
      {
        name: "a run that is too long",
        headers: { "tollgate-run": "r".repeat(257) },
        status: 400,
        code: "invalid_header",
        param: "Tollgate-Run",
      },
      {
        name: "labels without values",
        headers: { "tollgate-labels": "a=b, c" },
        status: 400,
        code: "invalid_header",
        param: "Tollgate-Labels",
      },
    ];

    test.each(MISTAKES)("says what is wrong: $name", async (mistake) => {
      const tenant = await tollgate.tenant();
      const before = upstream.journal.length;
      const { path = "/v1/chat/completions", method = "POST" } = mistake;
      const told = await call(`${tollgate.url}${path}`, {
        method,
        headers: {
          authorization: `Bearer ${tenant.key}`,
          "content-type": "application/json",
          ...mistake.headers,
        },
        body: method === "GET" ? null : (mistake.body ?? `{"model":"${MODEL}","messages":[]}`),
      });
      const error = errorOf(told);
      expect([told.status, error.code]).toEqual([mistake.status, mistake.code]);
      if (mistake.param !== undefined) expect(error.param).toBe(mistake.param);
      expect(error.message.length).toBeGreaterThan(10);
      expect(error.message).toContain(mistake.message ?? "");
      expect(told.headers["x-should-retry"]).toBe("false");
      expect(told.headers["x-request-id"]).toMatch(/^req_/);
      expect(upstream.journal.length).toBe(before);
    });

    test.each([
      ["the step door, which allows it", "/api/gate", "step", 200],
      ["the step door, which refuses it", "/api/gate", "nothing", 400],
      ["the management API", "/api/limits", "step", 403],
    ])("as any answer of %s, has a request id of its own", async (_, path, kind, status) => {
      const { key } = await tollgate.tenant();
      const invoker = { authorization: `Bearer ${key}`, "content-type": "application/json" };
      const ask = () =>
        call(`${tollgate.url}${path}`, {
          method: "POST",
          headers: invoker,
          body: JSON.stringify({ kind, name: "s" }),
        });
      const [first, second] = [await ask(), await ask()];
      expect([first.status, second.status]).toEqual([status, status]);
      expect(first.headers["x-request-id"]).toMatch(/^req_./);
      expect(second.headers["x-request-id"]).not.toBe(first.headers["x-request-id"]);
    });

    test("of a key that was revoked, has expired, may not call, or is the installation's", async () => {
      const tenant = await tollgate.tenant();
      const revoked = await tenant.newKey();
      await tenant.revoke(revoked.id);
      const expired = await tenant.newKey({ expiresAt: new Date(Date.now() + 200) });
      const reporter = await tenant.newKey({ scopes: ["report"] });
      const codes = async (key: string) => {
        const refused = await chat(key);
        return [refused.status, errorOf(refused).code];
      };
      expect(await codes(revoked.key)).toEqual([401, "invalid_api_key"]);
      await until(async () => (await chat(expired.key)).status === 401);
      expect(await codes(expired.key)).toEqual([401, "invalid_api_key"]);
      expect(await codes(reporter.key)).toEqual([403, "scope_missing"]);
      expect(await codes(tollgate.adminKey)).toEqual([403, "forbidden"]);
    });
  });
});
