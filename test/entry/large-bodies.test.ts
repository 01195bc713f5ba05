import { afterEach, describe, expect, test } from "vitest";
import { InputError } from "../../src/core/errors.ts";
import type { Route } from "../../src/dialects/dialect.ts";
import { findRoute } from "../../src/dialects/openai/routes.ts";
import { createLargeBodies } from "../../src/entry/large-bodies.ts";
import type { ClosableLargeBodies } from "../../src/entry/large-bodies.ts";
import { Unavailable } from "../../src/gate/unavailable.ts";
import { phraseThrown } from "../../src/http/errors.ts";

const MB = 1024 * 1024;
const QUEUE_FULL = "Too many large request bodies are being read; try again shortly.";

const open: ClosableLargeBodies[] = [];
afterEach(async () => {
  for (const each of open.splice(0)) await each.close();
});

function largeBodiesOf(deadlineMs = 60_000): ClosableLargeBodies {
  const largeBodies = createLargeBodies({ deadlineMs });
  open.push(largeBodies);
  return largeBodies;
}

function chat(): Route {
  const route = findRoute("POST", "/chat/completions");
  if (route === null) throw new Error("no such route");
  return route;
}

function chatOf(bytes: number): Uint8Array {
  const messages = [{ role: "user", content: "x".repeat(bytes) }];
  return Uint8Array.from(Buffer.from(JSON.stringify({ model: "m", messages })));
}

function read(largeBodies: ClosableLargeBodies, owner: string, bytes: Uint8Array) {
  return largeBodies.read({
    owner,
    route: chat(),
    contentType: "application/json",
    bytes,
    searches: false,
  });
}

/** The public sentences of those that were refused. */
async function toldOf(reads: readonly Promise<unknown>[]): Promise<string[]> {
  const told: string[] = [];
  for (const each of await Promise.allSettled(reads)) {
    if (each.status === "fulfilled") continue;
    expect(each.reason).toBeInstanceOf(Unavailable);
    told.push(each.reason.told);
  }
  return told;
}

const times = <T>(count: number, make: () => T): T[] => Array.from({ length: count }, make);

describe("large bodies", () => {
  test("reads and edits a body as the loop would", async () => {
    const largeBodies = largeBodiesOf();
    const { asked, bytes } = await read(largeBodies, "one", chatOf(2 * MB));
    expect(asked.model).toBe("m");
    const edited = await largeBodies.edit({ owner: "one", bytes, edits: { model: "other" } });
    expect(JSON.parse(new TextDecoder().decode(edited.bytes)).model).toBe("other");
  });

  test("a caller's mistake is the caller's, not a failure to read", async () => {
    const bytes = new TextEncoder().encode(
      `{"model":"m","messages":5,"x":"${"y".repeat(2 * MB)}"}`,
    );
    await expect(read(largeBodiesOf(), "one", bytes)).rejects.toBeInstanceOf(InputError);
  });

  test("one tenant fills half of the places, and the others still find theirs", async () => {
    const largeBodies = largeBodiesOf();
    const greedy = times(160, () => read(largeBodies, "greedy", chatOf(1_000)));
    const modest = times(128, () => read(largeBodies, "modest", chatOf(1_000)));
    const third = [read(largeBodies, "third", chatOf(1_000))];
    expect(await Promise.all([greedy, modest, third].map(toldOf))).toEqual([
      times(32, () => QUEUE_FULL),
      [],
      [QUEUE_FULL],
    ]);
    expect(await toldOf([read(largeBodies, "third", chatOf(2 * MB))])).toEqual([]);
  });

  test("bodies are bounded by their bytes, of one tenant and in all", async () => {
    const largeBodies = largeBodiesOf();
    const bytes = chatOf(60 * MB);
    const one = times(5, () => read(largeBodies, "one", Uint8Array.from(bytes)));
    const two = times(4, () => read(largeBodies, "two", Uint8Array.from(bytes)));
    const three = [read(largeBodies, "three", Uint8Array.from(bytes))];
    const small = [read(largeBodies, "three", chatOf(2 * MB))];
    expect(await Promise.all([one, two, three, small].map(toldOf))).toEqual([
      [QUEUE_FULL],
      [],
      [QUEUE_FULL],
      [],
    ]);
  });

  test("too many at once, and all past their deadline, end as 503 and leave every place free", async () => {
    const largeBodies = largeBodiesOf(1);
    const told = await toldOf(times(160, () => read(largeBodies, "one", chatOf(1_000))));
    expect(told.filter((each) => each === QUEUE_FULL)).toHaveLength(32);
    expect(told).toHaveLength(160);
    await new Promise((resolve) => setTimeout(resolve, 100));
    const again = await toldOf(times(128, () => read(largeBodies, "one", chatOf(1_000))));
    expect(again.filter((each) => each === QUEUE_FULL)).toEqual([]);
  });

  test("the caller is told that large bodies queue, and when to come again", () => {
    const error = new Unavailable("No place for a large body.", { told: QUEUE_FULL });
    const { status, body, headers } = phraseThrown(error, "req_1");
    expect(status).toBe(503);
    expect(JSON.parse(body).error).toMatchObject({
      code: "admission_unavailable",
      message: QUEUE_FULL,
    });
    expect(headers["retry-after"]).toBe("1");
  });

  test("what cannot be recorded still says so", () => {
    const { body } = phraseThrown(new Unavailable("posting failed"), "req_1");
    expect(JSON.parse(body).error.message).toContain("cannot record its decision");
  });
});
