import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { describeEachDatabase } from "../support/databases.ts";
import { chatAnswer, chatFrames, errorAnswer } from "../support/openai-answers.ts";
import {
  startScriptedUpstream,
  type Exchange,
  type ScriptedUpstream,
} from "../support/scripted-upstream.ts";
import {
  MODEL,
  startTollgate,
  UPSTREAM_KEY,
  type Tenant,
  type Tollgate,
} from "../support/tollgate.ts";
import { call, type Called } from "./http-call.ts";

/** Who asks and for what: carried by whatever a client can set, and kept from the upstream. */

const TRACE = "4bf92f3577b34da6a3ce929d0e0e4736";

describeEachDatabase("the context of a call", (database) => {
  let upstream: ScriptedUpstream;
  let tollgate: Tollgate;
  let tenant: Tenant;
  beforeAll(async () => {
    upstream = await startScriptedUpstream();
    upstream.otherwise({ kind: "json", body: chatAnswer(MODEL, "ok", { input: 3, output: 2 }) });
    tollgate = await startTollgate({ database, upstream: upstream.url });
    tenant = await tollgate.tenant();
  });
  afterAll(async () => {
    await tollgate.close();
    await upstream.close();
  });

  type Given = {
    readonly path?: string;
    readonly headers?: Readonly<Record<string, string | readonly string[]>>;
    readonly body?: Readonly<Record<string, unknown>>;
  };
  const chat = ({ path = "/v1", headers = {}, body = {} }: Given = {}): Promise<Called> =>
    call(`${tollgate.url}${path}/chat/completions`, {
      method: "POST",
      headers: {
        authorization: `Bearer ${tenant.key}`,
        "content-type": "application/json",
        ...headers,
      },
      body: JSON.stringify({
        model: MODEL,
        messages: [{ role: "user", content: "Hi" }],
        max_tokens: 20,
        ...body,
      }),
    });
  const last = (): Exchange => upstream.journal.at(-1)!;
  const sentBody = () => JSON.parse(Buffer.from(last().body).toString()) as Record<string, unknown>;
  const decisionOf = async ({ headers }: Called) => {
    const [row] = await tollgate.ledger<{
      run_id: string;
      step_id: string | null;
      record: Record<string, unknown>;
    }>("select run_id, step_id, record from decisions where attempt_id = $1", [
      String(headers["tollgate-decision"]).replace(/^dec_/u, "att_"),
    ]);
    if (row === undefined) throw new Error("no decision");
    return row;
  };

  describe("is carried", () => {
    /** Each carrier yields to those before it: every row also sends all that come after. */
    const CARRIERS: readonly (readonly [name: string, given: Given, run: string])[] = [
      ["by a header", { headers: { "tollgate-run": "by header" } }, "by header"],
      [
        "by W3C baggage",
        { headers: { baggage: "a=1, tollgate.run=by%20baggage;p=1, b=2" } },
        "by baggage",
      ],
      ["by the path", { path: "/run/by%20path/step/s/v1" }, "by path"],
      ["by metadata in the body", { body: { metadata: { tollgate_run: "by body" } } }, "by body"],
      [
        "by Codex's session",
        { headers: { originator: "codex_cli_rs", session_id: "by codex" } },
        "by codex",
      ],
      ["by the trace", { headers: { traceparent: `00-${TRACE}-00f067aa0ba902b7-01` } }, TRACE],
    ];

    test.each(CARRIERS.map((carrier, at) => [carrier[0], at] as const))("%s", async (_, at) => {
      const given = CARRIERS.slice(at).map(([, each]) => each);
      const called = await chat({
        ...Object.assign({}, ...given.toReversed()),
        headers: Object.assign({}, ...given.map(({ headers }) => headers ?? {})),
      });
      expect(called.status).toBe(200);
      const run = CARRIERS[at]![2];
      expect(called.headers["tollgate-run"]).toBe(run);
      expect((await decisionOf(called)).run_id).toBe(run);
    });

    test("for every field by header, and by the path for a step", async () => {
      const called = await chat({
        path: "/run/r/step/s-7/v1",
        headers: {
          "tollgate-parent-step": "s-6",
          "tollgate-operation": "refund",
          "tollgate-tool": "crm_write",
          "tollgate-customer": "acme",
          "tollgate-labels": "team=search, env=prod",
        },
      });
      expect(called.headers["tollgate-step"]).toBe("s-7");
      const { step_id, record } = await decisionOf(called);
      expect(step_id).toBe("s-7");
      const text = JSON.stringify(record);
      for (const value of ["s-6", "refund", "crm_write", "acme", "search", "prod"]) {
        expect(text).toContain(value);
      }
    });

    test("by nothing: then each call is a run of its own", async () => {
      const [one, other] = [await chat(), await chat()];
      expect(one.headers["tollgate-run"]).toMatch(/^run_[0-9a-z]{26}$/);
      expect(one.headers["tollgate-run"]).not.toBe(other.headers["tollgate-run"]);
    });
  });

  test("is refused where it is no plain text, naming the carrier", async () => {
    const bad: readonly (readonly [Given, string])[] = [
      [{ headers: { "tollgate-run": " " } }, "Tollgate-Run"],
      [{ headers: { "tollgate-max-cost": "$1" } }, "Tollgate-Max-Cost"],
      [{ headers: { "tollgate-max-cost": "1 USD" } }, "Tollgate-Max-Cost"],
      [{ headers: { "tollgate-step": "é" } }, "Tollgate-Step"],
      [{ headers: { "tollgate-parent-step": "x".repeat(257) } }, "Tollgate-Parent-Step"],
      [{ headers: { baggage: "tollgate.run=%00" } }, "baggage tollgate.run"],
      [{ headers: { baggage: "tollgate.customer=%zz" } }, "baggage tollgate.customer"],
      [{ body: { metadata: { tollgate_run: "a\nb" } } }, "metadata.tollgate_run"],
      [{ path: "/run/%00/v1" }, "run"],
      [{ path: `/run/${"r".repeat(257)}/v1` }, "run"],
      [{ headers: { "Tollgate-Run": ".." } }, "Tollgate-Run"],
      [{ headers: { baggage: "tollgate.run=." } }, "Tollgate-Run"],
      [{ path: "/run/r/step/%ff/v1" }, "step"],
    ];
    const before = upstream.journal.length;
    for (const [given, param] of bad) {
      const told = await chat(given);
      const { error } = JSON.parse(told.text) as { error: { param: string; message: string } };
      expect([told.status, error.param]).toEqual([400, param]);
      if (param.startsWith("Tollgate-")) expect(error.message).toContain(param);
    }
    expect(upstream.journal.length).toBe(before);
  });

  test("is refused where it is told twice, but for labels, which are a list", async () => {
    const before = upstream.journal.length;
    for (const name of ["Tollgate-Run", "Tollgate-Customer", "Tollgate-Max-Cost"]) {
      const told = await chat({ headers: { [name]: ["1", "1"] } });
      const { error } = JSON.parse(told.text) as { error: { param: string; message: string } };
      expect([told.status, error.param]).toEqual([400, name]);
      expect(error.message).toContain("twice");
    }
    expect(upstream.journal.length).toBe(before);
    expect((await chat({ headers: { "Tollgate-Labels": ["a=1", "b=2"] } })).status).toBe(200);
  });

  describe("under a name that is none of ours", () => {
    const headers = (name: string): Given => ({ headers: { [name]: "0.01" } });
    const baggage = (name: string): Given => ({ headers: { baggage: `a=1,tollgate.${name}=r` } });
    const metadata = (name: string): Given => ({ body: { metadata: { [name]: "r" } } });
    /** What is sent, the name that is refused, and the one that is said to be meant. */
    const MISTYPED: readonly (readonly [Given, string, string | null])[] = [
      [headers("Tollgate-Max-Costs"), "Tollgate-Max-Costs", "Tollgate-Max-Cost"],
      [headers("tollgate-maxcost"), "Tollgate-Maxcost", "Tollgate-Max-Cost"],
      [headers("tollgate-runn"), "Tollgate-Runn", "Tollgate-Run"],
      [headers("tollgate-run-id"), "Tollgate-Run-Id", "Tollgate-Run"],
      [headers("tollgate-parent"), "Tollgate-Parent", "Tollgate-Parent-Step"],
      [headers("tollgate-max_cost"), "Tollgate-Max_cost", "Tollgate-Max-Cost"],
      [headers("tollgate_run"), "Tollgate_run", "Tollgate-Run"],
      [headers("tollgate-budget"), "Tollgate-Budget", null],
      [headers("tollgate-"), "Tollgate-", null],
      [baggage("rum"), "baggage tollgate.rum", "baggage tollgate.run"],
      [metadata("tollgate_rum"), "metadata.tollgate_rum", "metadata.tollgate_run"],
      [metadata("tollgate_max-cost"), "metadata.tollgate_max-cost", "metadata.tollgate_max_cost"],
      [metadata("tollgate_"), "metadata.tollgate_", null],
    ];

    test.each(MISTYPED)("%j is refused, and nothing is sent", async (given, param, meant) => {
      const before = upstream.journal.length;
      const told = await chat(given);
      const { error } = JSON.parse(told.text) as { error: { param: string; message: string } };
      expect([told.status, error.param]).toEqual([400, param]);
      expect(error.message).toContain(`There is no \`${param}\``);
      expect(/Did you mean `([^`]+)`/.exec(error.message)?.[1] ?? null).toBe(meant);
      expect(upstream.journal.length).toBe(before);
    });

    test("is told with all that there are, however long it is", async () => {
      const told = await chat(headers(`tollgate-${"x".repeat(2_000)}`));
      expect(told.text).toContain("`Tollgate-Max-Cost`, `Tollgate-Dry-Run`, `Tollgate-Outcome`");
      expect(told.text.length).toBeLessThan(1_000);
    });

    test("is not one where it is another's, or an answer's that is sent along", async () => {
      const first = await chat({ headers: { "tollgate-run": "r", "tollgate-step": "s" } });
      const answered = Object.entries(first.headers).flatMap(([name, value]) =>
        name.startsWith("tollgate-") ? [[name, String(value)] as const] : [],
      );
      expect(answered.length).toBeGreaterThan(8);
      const others = { toll: "1", "tollgates-x": "1", "x-tollgate": "1", baggage: "tollgates.x=1" };
      const body = { metadata: { tollgate: "1", rum: "1" } };
      const again = await chat({ headers: { ...Object.fromEntries(answered), ...others }, body });
      expect(again.status).toBe(200);
    });
  });

  test("stays here: the upstream sees none of it, and all that is the client's own", async () => {
    const metadata = { tollgate_run: "r", mine: "kept" };
    const called = await chat({
      path: "/run/r/v1",
      headers: {
        "tollgate-step": "s",
        "tollgate-labels": "a=b",
        baggage: "tollgate.run=r, other=1,tollgate.customer=acme",
        traceparent: `00-${TRACE}-00f067aa0ba902b7-01`,
        "x-mine": ["1", "2"],
      },
      body: { metadata },
    });
    expect(called.status).toBe(200);
    const { headers, path } = last();
    expect(path).toBe("/v1/chat/completions");
    expect(Object.keys(headers).filter((name) => name.startsWith("tollgate"))).toEqual([]);
    expect(headers["baggage"]).toBe("other=1");
    expect(headers["traceparent"]).toMatch(TRACE);
    expect(headers["x-mine"]).toBe("1, 2");
    expect(sentBody()["metadata"]).toEqual({ mine: "kept" });
    const only = await chat({ body: { metadata: { tollgate_run: "r" } } });
    expect(only.status).toBe(200);
    expect(Buffer.from(last().body).toString()).not.toContain("tollgate");
  });

  test("never shows a credential of the caller to the upstream, however it came", async () => {
    const { key } = tenant;
    const forms: readonly Readonly<Record<string, string>>[] = [
      { authorization: `Bearer ${key}` },
      { authorization: `bearer  ${key}` },
      { authorization: "", "api-key": key },
      { authorization: "", "x-api-key": key },
      { authorization: "", "x-goog-api-key": key },
      { authorization: `Bearer ${key}`, "api-key": key, "x-api-key": key, "x-goog-api-key": key },
      { authorization: `Bearer ${key}`, cookie: `session=${key}`, "proxy-authorization": key },
    ];
    for (const headers of forms) {
      const given = Object.fromEntries(Object.entries(headers).filter(([, value]) => value !== ""));
      const called = await call(`${tollgate.url}/v1/models`, { headers: given });
      expect(called.status).toBe(200);
      expect(JSON.stringify(last().rawHeaders)).not.toContain(key);
      expect(last().headers["authorization"]).toBe(`Bearer ${UPSTREAM_KEY}`);
      expect(last().rawHeaders.filter((name) => /^authorization$/iu.test(name)).length).toBe(1);
    }
  });

  test("crosses without what belongs to one connection, in both directions", async () => {
    upstream.next({
      kind: "json",
      headers: {
        connection: "close, x-hop",
        "x-hop": "secret",
        "proxy-authenticate": "Basic",
        "tollgate-decision": "forged",
        "x-ratelimit-limit-requests": "100",
        "x-ms-region": "here",
        "set-cookie": ["a=1", "b=2"],
      },
      body: chatAnswer(MODEL, "ok", { input: 3, output: 2 }),
    });
    const called = await chat({
      headers: {
        connection: "keep-alive, x-nominated",
        "x-nominated": "1",
        te: "trailers",
        "proxy-connection": "x",
        "accept-encoding": "br, gzip",
        "openai-organization": "org-mine",
        "openai-project": "proj-mine",
        "x-forwarded-for": "10.0.0.1",
        forwarded: "for=10.0.0.1",
        via: "1.1 me",
        "openai-beta": "assistants=v2",
        "user-agent": "mine/1",
      },
    });
    expect(called.status).toBe(200);
    const up = last().headers;
    for (const name of [
      "x-nominated",
      "te",
      "proxy-connection",
      "openai-organization",
      "openai-project",
      "x-forwarded-for",
      "forwarded",
      "via",
    ]) {
      expect([name, up[name]]).toEqual([name, undefined]);
    }
    expect(up).toMatchObject({
      "accept-encoding": "identity",
      "openai-beta": "assistants=v2",
      "user-agent": "mine/1",
      host: new URL(upstream.url).host,
    });
    const down = called.headers;
    expect([down["x-hop"], down["proxy-authenticate"]]).toEqual([undefined, undefined]);
    expect(down["tollgate-decision"]).toMatch(/^dec_[0-9a-z]{26}$/);
    expect(down).toMatchObject({
      "x-ratelimit-limit-requests": "100",
      "x-ms-region": "here",
      "set-cookie": ["a=1", "b=2"],
    });
  });

  describe("an upstream that did not know stream_options", () => {
    const unknown = () => ({
      kind: "json" as const,
      status: 400,
      body: errorAnswer("Unknown field: stream_options", "invalid_request_error", null),
    });
    const asks = (exchange: Exchange) =>
      Buffer.from(exchange.body).toString().includes("include_usage");
    const stream = (model: string) => chat({ body: { stream: true, model } });

    test("is asked once by each tenant, and remembered", async () => {
      upstream.otherwise((exchange) =>
        asks(exchange) ? unknown() : { kind: "sse", frames: chatFrames(MODEL, ["a"], null) },
      );
      const own = await startTollgate({ database, upstream: upstream.url });
      await own.gateway.authority.refresh();
      const before = upstream.journal.length;
      const other = await own.tenant();
      for (const key of [tenant.key, tenant.key, other.key]) {
        const told = await call(`${own.url}/v1/chat/completions`, {
          method: "POST",
          headers: { authorization: `Bearer ${key}` },
          body: JSON.stringify({ model: MODEL, messages: [], max_tokens: 9, stream: true }),
        });
        expect([told.status, told.end]).toEqual([200, "whole"]);
      }
      // What one tenant's requests bring about ends nobody else's measuring.
      expect(upstream.journal.slice(before).map(asks)).toEqual([true, false, false, true, false]);
      await own.close();
    });

    test("gets a large body again whole", async () => {
      upstream.otherwise((exchange) =>
        asks(exchange) ? unknown() : { kind: "sse", frames: chatFrames(MODEL, ["a"], null) },
      );
      const own = await startTollgate({ database, upstream: upstream.url });
      await own.gateway.authority.refresh();
      const content = "word ".repeat(400_000);
      for (const limit of [{ max_tokens: 9 }, {}]) {
        const told = await call(`${own.url}/v1/chat/completions`, {
          method: "POST",
          headers: { authorization: `Bearer ${tenant.key}` },
          body: JSON.stringify({
            model: MODEL,
            messages: [{ role: "user", content }],
            ...limit,
            stream: true,
          }),
        });
        expect([told.status, told.end]).toEqual([200, "whole"]);
        expect(sentBody()["messages"]).toEqual([{ role: "user", content }]);
      }
      await own.close();
    });

    test("is not taken for one because of a caller's own mistake", async () => {
      // One tenant's bad request must not end the measuring of everybody's usage.
      upstream.otherwise(unknown());
      expect((await stream(MODEL)).status).toBe(400);
      upstream.otherwise({
        kind: "sse",
        frames: chatFrames(MODEL, ["a"], { input: 3, output: 2 }),
      });
      const before = upstream.journal.length;
      expect((await stream(MODEL)).status).toBe(200);
      expect(upstream.journal.slice(before).map(asks)).toEqual([true]);
    });
  });
});
