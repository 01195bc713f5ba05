import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { createBatcher, type BatchOptions } from "../../src/gate/batch.ts";
import { Overloaded } from "../../src/gate/unavailable.ts";
import { seedOf } from "../store/seed.ts";

type Item = { readonly id: number; readonly tenant: string };
type Flight = {
  readonly items: readonly Item[];
  readonly land: () => void;
  readonly crash: (error: Error) => void;
};

class ContentError extends Error {}

/** A batcher whose commits land when the test says so. */
function controlled(options: Partial<BatchOptions<Item, string>> = {}) {
  const flights: Flight[] = [];
  let nowMs = 0;
  let flown = Promise.withResolvers<void>();
  const batcher = createBatcher<Item, string>({
    commit: (items) =>
      new Promise((resolve, reject) => {
        flights.push({ items, land: () => resolve(items.map(answerOf)), crash: reject });
        flown.resolve();
        flown = Promise.withResolvers();
      }),
    itemsMax: 8,
    inFlightMax: 1,
    waitingMax: 1_000,
    waitMsMax: 5_000,
    standingMs: 500,
    crowdedMs: 100,
    gatherMs: 0,
    companyMin: 1,
    companyMs: 0,
    tenantOf: ({ tenant }) => tenant,
    isContentError: (error) => error instanceof ContentError,
    monotonicMs: () => nowMs,
    ...options,
  });
  return {
    batcher,
    flights,
    pass: (ms: number) => (nowMs += ms),
    flight: async (number: number): Promise<Flight> => {
      while (flights.length <= number) await flown.promise;
      return flights[number]!;
    },
  };
}

const answerOf = ({ id }: Item) => `answer ${id}`;
const tenantsOf = (flight: Flight) => flight.items.map(({ tenant }) => tenant).join("");

/** Items of tenants named by one letter each, in this order. */
const itemsOf = (tenants: string): Item[] =>
  tenants.split("").map((tenant, id) => ({ id, tenant }));

describe("a batch", () => {
  const rows: [name: string, queued: string, first: string, second: string][] = [
    ["takes everything in order where all of it fits", "aaaaabcb", "aaaaabcb", ""],
    [
      "holds a quarter of each tenant while four crowd it",
      "aaaaaaaabbbccdd",
      "aabbccdd",
      "aaaaaab",
    ],
    ["gives the room that no share takes to whoever was first", "aaaaaaaaaab", "aabaaaaa", "aaa"],
    ["is one tenant's where nobody else waits", "aaaaaaaaaa", "aaaaaaaa", "aa"],
    ["leaves nobody out who came last", "aaaaaaaaaaaaaaaab", "aabaaaaa", "aaaaaaaa"],
  ];
  test.each(rows)("%s", async (_name, queued, first, second) => {
    const { batcher, flight } = controlled();
    const answers = Promise.all(itemsOf(queued).map((item) => batcher.submit(item)));
    const one = await flight(0);
    expect(tenantsOf(one)).toBe(first);
    one.land();
    if (second !== "") {
      const two = await flight(1);
      expect(tenantsOf(two)).toBe(second);
      two.land();
      for (let number = 2; first.length + second.length < queued.length && number < 3; number += 1)
        (await flight(number)).land();
    }
    expect(await answers).toEqual(itemsOf(queued).map(answerOf));
  });

  test("fills while another flies, and no more fly than may", async () => {
    const { batcher, flights, flight } = controlled({ inFlightMax: 2 });
    const first = batcher.submit({ id: 1, tenant: "a" });
    await flight(0);
    const second = batcher.submit({ id: 2, tenant: "a" });
    await flight(1);
    const third = [3, 4].map((id) => batcher.submit({ id, tenant: "a" }));
    await new Promise((done) => setImmediate(() => setImmediate(done)));
    expect(flights.length).toBe(2);
    expect(batcher.waiting()).toBe(2);
    flights[0]!.land();
    expect((await flight(2)).items.map(({ id }) => id)).toEqual([3, 4]);
    for (const each of flights) each.land();
    await batcher.drained();
    expect(await Promise.all([first, second, ...third])).toHaveLength(4);
  });

  test("that is too small to fly beside another goes when that one has landed", async () => {
    const { batcher, flights, flight } = controlled({
      inFlightMax: 2,
      companyMin: 3,
      companyMs: 60_000,
    });
    const asks = [batcher.submit({ id: 1, tenant: "a" })];
    await flight(0);
    asks.push(batcher.submit({ id: 2, tenant: "a" }), batcher.submit({ id: 3, tenant: "a" }));
    await new Promise((done) => setImmediate(() => setImmediate(done)));
    expect(flights.length).toBe(1);
    flights[0]!.land();
    expect((await flight(1)).items.map(({ id }) => id)).toEqual([2, 3]);
    // Three are worth a flight of their own.
    for (const id of [4, 5, 6]) asks.push(batcher.submit({ id, tenant: "a" }));
    expect((await flight(2)).items.map(({ id }) => id)).toEqual([4, 5, 6]);
    for (const each of flights) each.land();
    expect(await Promise.all(asks)).toHaveLength(6);
  });

  test("that is too small waits no longer than it may for one that does not land", async () => {
    const { batcher, flight } = controlled({ inFlightMax: 2, companyMin: 3, companyMs: 1 });
    const stuck = batcher.submit({ id: 1, tenant: "a" });
    const first = await flight(0);
    const second = batcher.submit({ id: 2, tenant: "a" });
    (await flight(1)).land();
    expect(await second).toBe("answer 2");
    first.land();
    expect(await stuck).toBe("answer 1");
  });
});

describe("an ask", () => {
  test("that waited too long is dropped, and never posted", async () => {
    const { batcher, flights, flight, pass } = controlled({ standingMs: 6_000 });
    const first = batcher.submit({ id: 1, tenant: "a" });
    await flight(0);
    const late = batcher.submit({ id: 2, tenant: "a" });
    const dropped = expect(late).rejects.toThrow(Overloaded);
    pass(5_001);
    const fresh = batcher.submit({ id: 3, tenant: "a" });
    flights[0]!.land();
    const second = await flight(1);
    expect(second.items.map(({ id }) => id)).toEqual([3]);
    second.land();
    await dropped;
    expect(await Promise.all([first, fresh])).toEqual(["answer 1", "answer 3"]);
    await batcher.drained();
  });

  test("is refused at once where the queue is full", async () => {
    const { batcher, flights, flight } = controlled({ waitingMax: 2 });
    const flying = batcher.submit({ id: 0, tenant: "a" });
    await flight(0);
    const waiting = [1, 2].map((id) => batcher.submit({ id, tenant: "a" }));
    await expect(batcher.submit({ id: 3, tenant: "b" })).rejects.toThrow(Overloaded);
    flights[0]!.land();
    (await flight(1)).land();
    expect(await Promise.all([flying, ...waiting])).toHaveLength(3);
  });

  describe("in a queue", () => {
    const rows: [name: string, standsMs: number, isLetIn: boolean][] = [
      ["that stands for a moment only waits, however long", 500, true],
      ["that stands for longer is turned away", 501, false],
    ];
    test.each(rows)("%s", async (_name, standsMs, isLetIn) => {
      const { batcher, flight, pass } = controlled({ itemsMax: 1 });
      const flying = batcher.submit({ id: 0, tenant: "a" });
      const first = await flight(0);
      const waiting = batcher.submit({ id: 1, tenant: "a" });
      pass(standsMs);
      expect(batcher.isCrowded("a")).toBe(!isLetIn);
      const last = batcher.submit({ id: 2, tenant: "a" });
      if (!isLetIn) await expect(last).rejects.toThrow(Overloaded);
      first.land();
      (await flight(1)).land();
      if (isLetIn) (await flight(2)).land();
      expect(await Promise.all([flying, waiting, ...(isLetIn ? [last] : [])])).toHaveLength(
        isLetIn ? 3 : 2,
      );
    });

    test("that stands, but moves fast enough, waits", async () => {
      const { batcher, flight, pass } = controlled({ itemsMax: 1 });
      const answers = [batcher.submit({ id: 0, tenant: "a" })];
      for (let number = 0; number < 12; number += 1) {
        const flying = await flight(number);
        answers.push(batcher.submit({ id: number + 1, tenant: "a" }));
        if (number === 0) answers.push(batcher.submit({ id: 100, tenant: "a" }));
        pass(50);
        expect(batcher.isCrowded("a")).toBe(false);
        flying.land();
      }
      (await flight(12)).land();
      (await flight(13)).land();
      expect(await Promise.all(answers)).toHaveLength(14);
    });

    test("is let in beside a tenant that crowds it", async () => {
      const { batcher, flight, pass } = controlled({ itemsMax: 2, waitingMax: 8 });
      const flying = batcher.submit({ id: 0, tenant: "a" });
      const first = await flight(0);
      const crowd = [1, 2, 3, 4, 5, 7].map((id) => batcher.submit({ id, tenant: "a" }));
      await expect(batcher.submit({ id: 8, tenant: "a" })).rejects.toThrow(Overloaded);
      pass(501);
      expect(batcher.isCrowded("a")).toBe(true);
      expect(batcher.isCrowded("b")).toBe(false);
      const other = batcher.submit({ id: 6, tenant: "b" });
      first.land();
      const second = await flight(1);
      expect(tenantsOf(second)).toBe("ab");
      second.land();
      for (const number of [2, 3, 4]) (await flight(number)).land();
      expect(await Promise.all([flying, other, ...crowd])).toHaveLength(8);
    });

    test("that was empty in between may be long again", async () => {
      const { batcher, flight, pass } = controlled({ itemsMax: 1 });
      const flying = batcher.submit({ id: 0, tenant: "a" });
      const first = await flight(0);
      const waiting = batcher.submit({ id: 1, tenant: "a" });
      pass(501);
      expect(batcher.isCrowded("a")).toBe(true);
      first.land();
      const second = await flight(1);
      const later = batcher.submit({ id: 2, tenant: "a" });
      pass(499);
      expect(batcher.isCrowded("a")).toBe(false);
      second.land();
      (await flight(2)).land();
      expect(await Promise.all([flying, waiting, later])).toHaveLength(3);
    });
  });

  test("that the database cannot accept sinks none of its neighbours", async () => {
    const committed: number[][] = [];
    const { batcher } = controlled({
      itemsMax: 64,
      commit: (items) => {
        const ids = items.map(({ id }) => id);
        if (ids.includes(23)) return Promise.reject(new ContentError("poison"));
        committed.push(ids);
        return Promise.resolve(items.map(answerOf));
      },
    });
    const all = await Promise.allSettled(
      itemsOf("a".repeat(50)).map((item) => batcher.submit(item)),
    );
    expect(all.flatMap(({ status }, id) => (status === "rejected" ? [id] : []))).toEqual([23]);
    expect(committed.flat().toSorted((a, b) => a - b)).toEqual(
      itemsOf("a".repeat(50)).flatMap(({ id }) => (id === 23 ? [] : [id])),
    );
  });

  test("shares the fate of its batch when the database is away: nothing is split, nothing is tried again", async () => {
    const { batcher, flights, flight } = controlled();
    const answers = Promise.allSettled(itemsOf("aab").map((item) => batcher.submit(item)));
    (await flight(0)).crash(new Error("connection lost"));
    expect((await answers).map(({ status }) => status)).toEqual([
      "rejected",
      "rejected",
      "rejected",
    ]);
    await batcher.drained();
    expect(flights.length).toBe(1);
  });

  test("without an answer of its own is told so, and hangs never", async () => {
    const { batcher } = controlled({
      commit: (items) => Promise.resolve(items.slice(1).map(answerOf)),
    });
    const answers = await Promise.allSettled(itemsOf("ab").map((item) => batcher.submit(item)));
    expect(answers.map(({ status }) => status)).toEqual(["fulfilled", "rejected"]);
  });

  test("is answered exactly once, with its own answer, whatever fails", async () => {
    const seed = seedOf("the batcher");
    const scenario = fc.record({
      waves: fc.array(fc.array(fc.constantFrom("a", "b", "c", "d", "e"), { maxLength: 40 }), {
        minLength: 1,
        maxLength: 4,
      }),
      poison: fc.uniqueArray(fc.nat(100), { maxLength: 4 }),
      awayEvery: fc.integer({ min: 2, max: 9 }),
      inFlightMax: fc.integer({ min: 1, max: 3 }),
    });
    await fc.assert(
      fc.asyncProperty(scenario, async ({ waves, poison, awayEvery, inFlightMax }) => {
        let commits = 0;
        const committed: number[] = [];
        const { batcher } = controlled({
          inFlightMax,
          commit: async (items) => {
            commits += 1;
            const isAway = commits % awayEvery === 0;
            await new Promise((done) => setImmediate(done));
            if (isAway) throw new Error("away");
            if (items.some(({ id }) => poison.includes(id))) throw new ContentError("poison");
            committed.push(...items.map(({ id }) => id));
            return items.map(answerOf);
          },
        });
        let id = 0;
        const answers: Promise<void>[] = [];
        const told = new Map<number, string[]>();
        for (const wave of waves) {
          for (const tenant of wave) {
            const item = { id: (id += 1), tenant };
            told.set(item.id, []);
            const tell = (text: string) => void told.get(item.id)!.push(text);
            answers.push(batcher.submit(item).then(tell, () => tell("failed")));
          }
          await new Promise((done) => setImmediate(done));
        }
        await batcher.drained();
        await Promise.all(answers);
        expect(batcher.waiting()).toBe(0);
        for (const [each, texts] of told) {
          expect(texts).toEqual([committed.includes(each) ? `answer ${each}` : "failed"]);
        }
        expect(new Set(committed).size).toBe(committed.length);
        expect(poison.some((each) => committed.includes(each))).toBe(false);
      }),
      { seed, numRuns: 100 },
    );
  });
});
