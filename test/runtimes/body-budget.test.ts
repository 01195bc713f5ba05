import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { setImmediate as turn } from "node:timers/promises";
import { expect, test } from "vitest";
import { createIsolateBudget } from "../../src/entry/worker/body-budget.ts";

setFlagsFromString("--expose-gc");
const collectGarbage = runInNewContext("gc") as () => void;

test("bodies take of one memory, and give back what they took", () => {
  const budget = createIsolateBudget(100);
  const [one, other] = [budget.share(), budget.share()];
  expect(one.take(60)).toBe(true);
  expect(other.fits(41)).toBe(false);
  expect(other.take(41)).toBe(false);
  expect(other.take(40)).toBe(true);
  one.end();
  expect(budget.held()).toBe(40);
  expect(one.take(1)).toBe(false);
  other.end();
  expect(budget.held()).toBe(0);
});

test("what an invocation held that was ended without a word is given back", async () => {
  const budget = createIsolateBudget(100);
  const kept = budget.share();
  expect(kept.take(10)).toBe(true);
  // Nobody keeps this one, as when its whole invocation is gone.
  expect(budget.share().take(90)).toBe(true);
  expect(kept.fits(1)).toBe(false);
  // A reference that was looked at keeps its object until the turn is over.
  await turn();
  collectGarbage();
  expect(budget.held()).toBe(10);
  expect(kept.take(90)).toBe(true);
});
