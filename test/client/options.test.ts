import { expect, test } from "vitest";

import { createClient } from "../../src/client/client.ts";

const URL = "http://127.0.0.1:8787";

/** As JavaScript calls it. */
const made = (options: unknown) => () => createClient(options as never);

test.each<[what: string, options: unknown, told: RegExp]>([
  ["nothing", undefined, /takes an object/],
  ["no place", { apiKey: "k" }, /needs `baseURL`, where .*: it is not given\./],
  ["no key", { baseURL: URL }, /needs `apiKey`, .*: it is not given\./],
  [
    "a key that is not set",
    { baseURL: URL, apiKey: undefined },
    /needs `apiKey`, .* it is not given/,
  ],
  ["an empty key", { baseURL: URL, apiKey: " " }, /needs `apiKey`, .*an empty one/],
  ["a key of another type", { baseURL: URL, apiKey: 5 }, /needs `apiKey`, .*no text/],
  ["a place that is no URL", { baseURL: "localhost:8787", apiKey: "k" }, /begins with http/],
  ["another case", { baseUrl: URL, apiKey: "k" }, /no option `baseUrl`\. Did you mean `baseURL`\?/],
  ["another spelling", { base_url: URL, apiKey: "k" }, /Did you mean `baseURL`\?/],
  [
    "what is none",
    { baseURL: URL, apiKey: "k", retries: 3 },
    /no option `retries`\. Known: baseURL/,
  ],
])("a client made with %s says so when it is made", (_, options, told) => {
  expect(made(options)).toThrow(TypeError);
  expect(made(options)).toThrow(told);
});

test("a client is made with all that there is", () => {
  const all = { baseURL: `${URL}/v1/`, apiKey: "k", fetch, timeoutMs: 1, maxRetries: 0 };
  expect(made(all)).not.toThrow();
});
