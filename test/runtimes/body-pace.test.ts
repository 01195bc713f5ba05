import { expect, test } from "vitest";
import { createBodyBudget } from "../../src/entry/body-node.ts";
import { PACE } from "../../src/entry/body-pace.ts";
import { createWebExchange } from "../../src/entry/worker/exchange-web.ts";
import type { Exchange } from "../../src/http/exchange.ts";

const BODIES = createBodyBudget({
  ...PACE,
  graceMs: 100,
  bytesPerSecondMin: 1_000,
  heldBytesMax: 10_000,
});

/** A body of a byte at a time, for as long as somebody reads it. */
function dripping(): Exchange {
  const body = new ReadableStream<Uint8Array>({
    pull: async (controller) => {
      await new Promise((done) => setTimeout(done, 20));
      controller.enqueue(new Uint8Array(1));
    },
  });
  const init = { method: "POST", body, duplex: "half" as const };
  return createWebExchange(new Request("http://localhost/", init), BODIES).exchange;
}

const LATE = { code: "request_timeout", message: expect.stringContaining("1000 bytes a second") };

test("a body that drips into a Worker is read no further, whether it is held or passes", async () => {
  await expect(dripping().readBody(1_000)).rejects.toMatchObject(LATE);
  const passing = async () => {
    for await (const part of dripping().streamBody(1_000) ?? []) expect(part.byteLength).toBe(1);
  };
  await expect(passing()).rejects.toMatchObject(LATE);
});
