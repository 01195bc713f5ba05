import { expect, test } from "vitest";
import type { Operation } from "../../../src/core/intent.ts";
import type { Route } from "../../../src/dialects/dialect.ts";
import { countable, encodingFor } from "../../../src/dialects/openai/tokens.ts";

test.each([
  ["gpt-4o", "o200k_base"],
  ["gpt-4o-mini-2024-07-18", "o200k_base"],
  ["gpt-4.1-nano", "o200k_base"],
  ["gpt-5", "o200k_base"],
  ["o3-mini", "o200k_base"],
  ["gpt-4", "cl100k_base"],
  ["gpt-4-turbo", "cl100k_base"],
  ["gpt-3.5-turbo-0125", "cl100k_base"],
  ["gpt-35-turbo", "cl100k_base"],
  ["text-embedding-3-large", "cl100k_base"],
  ["openai/gpt-4o", "o200k_base"],
  ["azure/gpt-4", "cl100k_base"],
  ["ft:gpt-3.5-turbo:acme::x", "cl100k_base"],
  ["ft:gpt-4o-mini:acme::x", "o200k_base"],
  ["llama-3", "o200k_base"],
])("%s counts in %s", (model, encoding) => expect(encodingFor(model)).toBe(encoding));

function route(operation: Operation): Route {
  return { operation, billing: "metered", path: "/x", body: "json", pathModel: null };
}

const data = `data:image/png;base64,${"A".repeat(10_000)}`;
test.each<[string, Operation, unknown, readonly string[], number]>([
  [
    "chat",
    "chat",
    {
      messages: [
        { role: "system", content: "a" },
        {
          role: "user",
          name: "bob",
          content: [
            { type: "text", text: "b" },
            { type: "image_url", image_url: { url: data } },
          ],
        },
      ],
    },
    ["a", "b", "bob"],
    12,
  ],
  [
    "chat with tools",
    "chat",
    {
      messages: [{ role: "user", content: "a" }],
      tools: [{ type: "function", function: { name: "f" } }],
    },
    ["a", '[{"type":"function","function":{"name":"f"}}]'],
    97,
  ],
  ["responses", "responses", { input: "a", instructions: "i" }, ["a", "i"], 11],
  [
    "a data URL in an item",
    "responses",
    { input: [{ type: "computer_call_output", output: { image_url: data } }] },
    [`{"type":"computer_call_output","output":{"image_url":"${data.slice(0, 32)}"}}`],
    7,
  ],
  ["tokens already", "embeddings", { input: [[1, 2], [3]] }, [], 3],
  ["strings", "embeddings", { input: ["a", "b"] }, ["a", "b"], 0],
  ["a prompt", "text_completion", { prompt: "a" }, ["a"], 0],
  ["nothing", "chat", null, [], 0],
])("what to count of %s", (_name, operation, body, texts, overhead) => {
  expect(countable(route(operation), body)).toEqual({ texts, overhead });
});
