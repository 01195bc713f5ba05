import { expect, test } from "vitest";
import { keepAnswer } from "../../src/lib/kept.ts";

type Asked = { readonly resolve: (value: string) => void; readonly reject: (why: Error) => void };

function kept(msMax: number) {
  const asked: Asked[] = [];
  const clock = { nowMs: 0 };
  const get = keepAnswer(
    () =>
      new Promise<string>((resolve, reject) => {
        asked.push({ resolve, reject });
      }),
    { msMax, monotonicMs: () => clock.nowMs },
  );
  return { asked, clock, get };
}

test("all who come while an answer is asked for get it, and it is asked for once", async () => {
  const { asked, get } = kept(0);
  const waiting = Promise.all([get(), get(), get()]);
  expect(asked).toHaveLength(1);
  asked[0]?.resolve("a");
  expect(await waiting).toEqual(["a", "a", "a"]);
});

test("an answer is given out again until it is too old, by when it was asked for", async () => {
  const { asked, clock, get } = kept(500);
  const first = get();
  clock.nowMs = 400;
  asked[0]?.resolve("a");
  expect(await first).toBe("a");
  clock.nowMs = 499;
  expect(await get()).toBe("a");
  clock.nowMs = 500;
  const second = get();
  expect(asked).toHaveLength(2);
  asked[1]?.resolve("b");
  expect(await second).toBe("b");
});

test("a failure is told to those who wait for it, and whoever comes later asks anew", async () => {
  const { asked, get } = kept(500);
  const waiting = [get(), get()];
  asked[0]?.reject(new Error("away"));
  expect(await Promise.allSettled(waiting)).toMatchObject([
    { status: "rejected", reason: { message: "away" } },
    { status: "rejected", reason: { message: "away" } },
  ]);
  const later = get();
  expect(asked).toHaveLength(2);
  asked[1]?.resolve("back");
  expect(await later).toBe("back");
});

test("an answer that is only shared is asked for again as soon as it is there", async () => {
  const { asked, get } = kept(0);
  const first = get();
  asked[0]?.resolve("a");
  expect(await first).toBe("a");
  void get();
  expect(asked).toHaveLength(2);
});
