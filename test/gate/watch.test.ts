/** The one timer of all exchanges: who is told the time, who no longer, and what of those that are over stays. */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { createWatch, type Watched } from "../../src/gate/watch.ts";

const TICK_MS = 250;

describe("a watch", () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  const told = () => {
    const names: string[] = [];
    const watch = createWatch(() => 7);
    const add = (name: string) => watch.add((nowMs) => names.push(`${name} ${nowMs}`));
    return { watch, names, add };
  };

  test("tells the time to everybody that it watches, until they are removed", () => {
    const { watch, names, add } = told();
    const [a, b, c] = [add("a"), add("b"), add("c")];
    vi.advanceTimersByTime(TICK_MS);
    expect(names.toSorted()).toEqual(["a 7", "b 7", "c 7"]);
    watch.remove(a);
    watch.remove(a);
    expect(watch.size()).toBe(2);
    names.length = 0;
    vi.advanceTimersByTime(TICK_MS);
    expect(names.toSorted()).toEqual(["b 7", "c 7"]);
    watch.remove(c);
    watch.remove(b);
    expect(watch.size()).toBe(0);
    expect(vi.getTimerCount()).toBe(0);
  });

  test("goes on where somebody removes itself or others when it is told", () => {
    const { watch, names, add } = told();
    const all: Watched[] = [add("a")];
    const removing = (which: () => Watched[]) =>
      watch.add(() => {
        names.push("removes");
        for (const each of which()) watch.remove(each);
      });
    all.push(
      removing(() => all.slice(1, 3)),
      add("b"),
      add("c"),
    );
    vi.advanceTimersByTime(TICK_MS);
    expect(new Set(names)).toEqual(new Set(["a 7", "b 7", "c 7", "removes"]));
    names.length = 0;
    vi.advanceTimersByTime(TICK_MS);
    expect(names.toSorted()).toEqual(["a 7", "c 7"]);
  });

  test("watches anew after everybody was removed", () => {
    const { watch, names, add } = told();
    watch.remove(add("a"));
    add("b");
    vi.advanceTimersByTime(TICK_MS);
    expect(names).toEqual(["b 7"]);
  });
});

test("who is watched no more is collected with the young", () => {
  setFlagsFromString("--expose-gc");
  // Typed by nobody: Node's own `gc`, of whichever generation.
  const gc = runInNewContext("gc") as (options?: { readonly type: "minor" }) => void;
  const watch = createWatch(() => 0);
  const HELD = 64;
  const PAYLOAD = 200;
  const flying: Watched[] = [];
  const pass = (calls: number) => {
    for (let call = 0; call < calls; call += 1) {
      const state = Array.from({ length: PAYLOAD }, (_, i) => ({ i: call + i }));
      flying.push(watch.add(() => void state.length));
      const oldest = flying.length > HELD ? flying.shift() : undefined;
      if (oldest !== undefined) watch.remove(oldest);
      if (call % (4 * HELD) === 0) gc({ type: "minor" });
    }
  };
  pass(4 * HELD);
  gc();
  const before = process.memoryUsage().heapUsed;
  pass(200 * HELD);
  gc({ type: "minor" });
  const grown = process.memoryUsage().heapUsed - before;
  for (const each of flying) watch.remove(each);
  // 0.6 MB; and 68 where they stood in a `Set`.
  expect(grown).toBeLessThan(10_000_000);
});
