import { describe, expect, test } from "vitest";
import fc from "fast-check";
import { InputError } from "../../../src/core/errors.ts";
import { splitRunPrefix } from "../../../src/dialects/openai/path.ts";
import { findRoute, routeAt, ROUTES } from "../../../src/dialects/openai/routes.ts";

describe("every route is found under every base that clients use", () => {
  const bases = ["", "/v1", "/openai/v1", "/v1/", "/openai", "//v1", "//"];
  test.each(ROUTES.map((row) => [`${row.method} ${row.pattern}`, row] as const))(
    "%s",
    (_name, row) => {
      const path = row.pattern
        .replaceAll("{id}", "x_1")
        .replaceAll(/\{(.+?)\}/gu, "$1x1")
        .replace("/**", "/a/b");
      const method = row.method === "ANY" ? "POST" : row.method;
      for (const base of bases) {
        for (const end of ["", "/"]) {
          const route = findRoute(
            method,
            base.endsWith("/") ? base.slice(0, -1) + "/" + path + end : base + path + end,
          );
          expect(route, base).toMatchObject({
            operation: row.operation,
            billing: row.billing,
            path,
            body: row.body,
          });
        }
      }
    },
  );

  test("only reading and deleting, stopping and storing are free", () => {
    const posts = ROUTES.filter((row) => row.billing === "free" && row.method === "POST");
    for (const row of posts)
      expect(row.pattern).not.toMatch(
        /^\/(chat\/completions|responses|embeddings|images|audio|videos|realtime)$/,
      );
    for (const row of ROUTES) expect(row.why.length).toBeGreaterThan(3);
    // What ends with any name may end with the name of an act.
    for (const row of posts) expect(row.pattern).not.toMatch(/(\{id\}|\*\*)$/);
  });

  test.each([
    "/conversations",
    "/conversations/conv_1",
    "/conversations/conv_1/items",
    "/threads",
    "/threads/thread_1/messages",
    "/threads/thread_1/runs/run_1",
    "/assistants",
    "/evals",
    "/chat/completions/chatcmpl-1",
  ])("POST %s is free at OpenAI, and starts work elsewhere", (path) => {
    const found = findRoute("POST", `/v1${path}`)!;
    expect(routeAt(found, true)).toMatchObject({ path, billing: "free" });
    expect(routeAt(found, false)).toMatchObject({ path, billing: "deferred" });
  });

  test.each(["/conversations/conv_1", "/files", "/models"])("GET %s is free anywhere", (path) => {
    expect(routeAt(findRoute("GET", path)!, false)).toMatchObject({ billing: "free" });
  });
});

describe("a path", () => {
  const known: readonly [string, string, string, string, string | null][] = [
    [
      "POST",
      "/openai/deployments/gpt%204o/chat/completions",
      "/chat/completions",
      "metered",
      "gpt 4o",
    ],
    ["POST", "/openai/deployments/d/embeddings/", "/embeddings", "metered", "d"],
    [
      "GET",
      "/v1/models/ft%3Agpt-4o%3Aorg%3A%3Aid",
      "/models/ft%3Agpt-4o%3Aorg%3A%3Aid",
      "free",
      null,
    ],
    ["GET", "/v1/models/a~b_c.d-e:f", "/models/a~b_c.d-e:f", "free", null],
    // What a server behind us may cut at these characters is another path than the one judged.
    ["GET", "/v1/models/org%2Fmodel", "/models/org%2Fmodel", "unknown", null],
    ["POST", "/v1/responses/x%3F/cancel", "/responses/x%3F/cancel", "unknown", null],
    ["POST", "/v1/responses/x%23/cancel", "/responses/x%23/cancel", "unknown", null],
    ["POST", "/v1/responses/x%20/cancel", "/responses/x%20/cancel", "unknown", null],
    ["POST", "/v1/responses/x;y/cancel", "/responses/x;y/cancel", "unknown", null],
    ["POST", "/v1/responses/x%252F/cancel", "/responses/x%252F/cancel", "unknown", null],
    ["POST", "/v1/chat/completions/x%3Fy", "/chat/completions/x%3Fy", "unknown", null],
    ["POST", "/v1/uploads/x/%3Fy", "/uploads/x/%3Fy", "unknown", null],
    ["GET", "/v1/models/org/model", "/models/org/model", "free", null],
    ["HEAD", "/v1/models", "/models", "free", null],
    ["POST", "/v1/responses/resp_1/cancel", "/responses/resp_1/cancel", "free", null],
    ["POST", "/v1/responses/input_tokens", "/responses/input_tokens", "free", null],
    ["POST", "/chat/completions/chatcmpl-1", "/chat/completions/chatcmpl-1", "free", null],
    // Acts of other servers, where OpenAI has an id: vLLM's batch of prompts, Mistral's conversations, LangGraph's runs.
    ["POST", "/chat/completions/batch", "/chat/completions/batch", "deferred", null],
    ["POST", "/chat/completions/c1", "/chat/completions/c1", "deferred", null],
    ["POST", "/v1/chat/completions/chatcmpl-", "/chat/completions/chatcmpl-", "deferred", null],
    ["POST", "/conversations/conv_1/restart", "/conversations/conv_1/restart", "deferred", null],
    ["POST", "/conversations/1/items", "/conversations/1/items", "deferred", null],
    ["POST", "/threads/thread_1/runs/stream", "/threads/thread_1/runs/stream", "deferred", null],
    ["POST", "/threads/thread_1/runs/wait", "/threads/thread_1/runs/wait", "deferred", null],
    ["POST", "/evals/eval_1/runs/start", "/evals/eval_1/runs/start", "deferred", null],
    ["POST", "/vector_stores/search", "/vector_stores/search", "deferred", null],
    ["POST", "/uploads/up_1/transcribe", "/uploads/up_1/transcribe", "deferred", null],
    ["GET", "/v1/responses", "/responses", "deferred", null],
    ["GET", "/v1/realtime", "/realtime", "deferred", null],
    ["POST", "/v1/messages", "/messages", "unknown", null],
    ["PUT", "/v1/chat/completions", "/chat/completions", "unknown", null],
    ["POST", "/v1/CHAT/completions", "/CHAT/completions", "unknown", null],
    ["POST", "/v1/chat%2Fcompletions", "/chat%2Fcompletions", "unknown", null],
    ["GET", "/v1/chat//completions", "/chat/completions", "free", null],
  ];
  test.each(known)("%s %s goes to %s, %s", (method, path, upstream, billing, pathModel) => {
    expect(findRoute(method, path)).toMatchObject({ path: upstream, billing, pathModel });
  });

  test.each([
    ["GET", "/"],
    ["GET", "/v1"],
    ["GET", "/v1/"],
    ["CONNECT", "/v1/models"],
    ["TRACE", "/v1/models"],
  ])("%s %s has nothing to forward", (method, path) => expect(findRoute(method, path)).toBe(null));

  const refused: readonly [string, string][] = [
    ["/v1/../admin", "invalid_value"],
    ["/v1/files/..", "invalid_value"],
    ["/v1/files/%2e%2e/x", "invalid_value"],
    ["/v1/files/%252E%252e/x", "invalid_value"],
    ["/v1/files/a%2f..%2fb", "invalid_value"],
    ["/v1/files/..;x/b", "invalid_value"],
    ["/v1/files/.", "invalid_value"],
    ["/v1/files/a\\b", "invalid_value"],
    ["/v1/files/a%5cb", "invalid_value"],
    ["/v1/files/a%0d%0ab", "invalid_value"],
    ["/v1/files/a\u0001b", "invalid_value"],
    ["/v1/files/ä", "invalid_value"],
    ["/v1/files/a%", "invalid_value"],
    ["/v1/files/a?b", "invalid_value"],
    ["/v1/files/a#b", "invalid_value"],
    ["//evil.example/v1/x", "invalid_value"],
    ["http://evil.example/v1/models", "invalid_value"],
    ["", "invalid_value"],
    [`/v1/${"a".repeat(3_000)}`, "invalid_value"],
    ["/v1/organization/admin_api_keys", "forbidden"],
    ["/organization", "forbidden"],
    ["/v1/Projects/p", "forbidden"],
    ["/v1/%6frganization/users", "forbidden"],
    ["/v1/v1/organization", "forbidden"],
    ["/openai/v1/projects", "forbidden"],
  ];
  test.each(refused)("%s is refused as %s", (path, code) => {
    expect(() => findRoute("GET", path)).toThrow(expect.objectContaining({ code }));
  });

  test("whatever it is, is refused by name or safe to append", () => {
    const segment = fc.oneof(
      fc.string(),
      fc.constantFrom("..", ".", "%2e%2e", "%2F", "v1", "", "files", "\\", "%00"),
    );
    fc.assert(
      fc.property(fc.array(segment), fc.constantFrom("GET", "POST", "X"), (segments, method) => {
        try {
          const route = findRoute(method, `/${segments.join("/")}`);
          if (route === null) return;
          expect(route.path).toMatch(/^(\/[\x21-\x7e]+)+$/);
          expect(route.path).not.toContain("//");
          const url = new URL(`https://api.example/v1${route.path}`);
          expect(url.origin).toBe("https://api.example");
          expect(url.pathname.startsWith("/v1/")).toBe(true);
        } catch (error) {
          if (!(error instanceof InputError)) throw error;
        }
      }),
    );
  });
});

describe("a run in the path", () => {
  const rows: readonly [string, string, string | null, string | null][] = [
    ["/v1/models", "/v1/models", null, null],
    ["/run/nightly/v1/models", "/v1/models", "nightly", null],
    ["/run/a%20b/step/s%2F1/v1/models", "/v1/models", "a b", "s/1"],
    ["/run/a/step/s", "/", "a", "s"],
    ["//run/a/v1/x", "/v1/x", "a", null],
    ["/run/a", "/", "a", null],
    ["/running/v1/x", "/running/v1/x", null, null],
    ["/run/a/steps/v1", "/steps/v1", "a", null],
  ];
  test.each(rows)("%s", (path, rest, run, step) => {
    expect(splitRunPrefix(path)).toEqual({ path: rest, run, step });
  });
  test.each([
    ["/run//v1/x", "run"],
    ["/run/../v1", "run"],
    ["/run/%zz/v1", "run"],
    ["/run/a%00/v1", "run"],
    [`/run/${"é".repeat(200)}/v1`, "run"],
    ["/run/a/step//v1", "step"],
    ["/run/a/step", "step"],
    [`/run/a/step/${"x".repeat(300)}/v1`, "step"],
  ])("%s is refused, naming %s", (path, param) => {
    expect(() => splitRunPrefix(path)).toThrow(
      expect.objectContaining({ code: "invalid_value", param }),
    );
  });
});
