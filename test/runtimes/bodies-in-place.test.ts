import { expect, test } from "vitest";
import { findRoute } from "../../src/dialects/openai/routes.ts";
import { inPlaceBodies, WORKER_BRACKETS_MAX } from "../../src/entry/worker/bodies-in-place.ts";

const route = findRoute("POST", "/v1/chat/completions")!;
const read = (body: string) =>
  inPlaceBodies().read({
    owner: "ten_1",
    route,
    contentType: "application/json",
    bytes: Buffer.from(body),
    searches: false,
  });

const withBrackets = (count: number) =>
  `{"model":"m","messages":[],"metadata":{},"x":[${Array(count - 4)
    .fill("{}")
    .join(",")}]}`;

test("a body with as many brackets as an isolate can build is read", async () => {
  const { asked, bytes } = await read(withBrackets(WORKER_BRACKETS_MAX));
  expect(asked.model).toBe("m");
  expect(bytes.byteLength).toBeGreaterThan(WORKER_BRACKETS_MAX);
});

test("a body with one more is refused before anything is built of it", async () => {
  await expect(read(withBrackets(WORKER_BRACKETS_MAX + 1))).rejects.toMatchObject({
    code: "body_too_large",
    message: /more than 500000 brackets/u,
  });
});

test("four megabytes of source code are read", async () => {
  const code = "function f(a) {\n  return [a].map((x) => ({ x, y: g(x) }));\n}\n";
  const content = code.repeat(Math.floor((4 * 1024 * 1024) / (code.length + 3)) - 10);
  const body = JSON.stringify({ model: "m", messages: [{ role: "user", content }] });
  expect((await read(body)).asked.model).toBe("m");
});
