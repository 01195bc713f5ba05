import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { call } from "./caller.ts";
import type { Accepted, Call, Mode, Observation } from "./history.ts";
import { startTruthUpstream, type TruthUpstream } from "./truth-upstream.ts";

const MAX = 50;
/** " the" twice to seven times after the tag: the upstream's own choice, by the number of the tag. */
const WORDS = 5;

let upstream: TruthUpstream | undefined;
let looked: string[] = [];
beforeAll(async () => {
  const modeOf = (tag: string) => /-([a-z-]+)-\d+$/u.exec(tag)?.[1] as Mode;
  upstream = await startTruthUpstream(modeOf, (tag) => {
    looked.push(tag);
    return Promise.resolve("none");
  });
});
afterAll(async () => {
  await upstream?.close();
});

type Met = { readonly seen: Observation; readonly entry: Accepted };

/** One call straight to the upstream, as the gateway would send it, and what the journal says of it. */
async function meet(mode: Mode, fields: Partial<Call> = {}): Promise<Met> {
  if (upstream === undefined) throw new Error("the upstream has started");
  looked = [];
  const planned: Call = {
    tag: `s1-${mode}-3`,
    tenant: "",
    keyId: "",
    key: "k",
    model: "m",
    mode,
    stream: false,
    outputTokensMax: MAX,
    promptBytes: 40,
    run: null,
    step: null,
    leavesAtByte: null,
    ...fields,
  };
  const before = upstream.journal.length;
  const seen = await call(planned, { slot: 0, incarnation: 0, port: upstream.port });
  await upstream.quiet();
  const entry = upstream.journal[before];
  if (entry === undefined) throw new Error("it was not accepted");
  expect(looked).toEqual([planned.tag]);
  return { seen, entry };
}

/** A token for each of the prompt's bytes, the wrapping, a hidden prompt, and all of the output. */
const most = (tag: string): bigint => BigInt(tag.length + 1 + 40 + 7 + 100) * 10n + 5_000n;

describe("the truth upstream", () => {
  test.each([false, true])(
    "bills what it says, in an answer of its own (stream: %s)",
    async (stream) => {
      const { seen, entry } = await meet("usual", { stream });
      expect(seen).toMatchObject({ status: 200, end: "whole", words: WORDS });
      expect(entry).toMatchObject({ decision: "none", credential: "Bearer k", stream });
      // A stream tells its usage when it is asked to: this client, unlike the gateway, does not ask.
      expect(entry.toldUsage).toBe(!stream);
      expect(entry.billed).toBeGreaterThan(BigInt(WORDS) * 100n);
      expect(entry.billed).toBeLessThan(most(entry.tag));
    },
  );

  test("bills the most that a request permits", async () => {
    const { seen, entry } = await meet("most");
    expect(seen.end).toBe("whole");
    expect(entry.billed).toBe(most(entry.tag));
  });

  test.each(["fails", "garbles", "resets"] as const)("%s, and bills the most", async (mode) => {
    const { seen, entry } = await meet(mode, { stream: mode !== "fails" });
    expect(seen).toMatchObject(mode === "fails" ? { status: 500 } : { status: 200, end: "cut" });
    expect(entry).toMatchObject({ billed: most(entry.tag), toldUsage: false });
  });

  test("stalls until its client gives up, and bills the most", async () => {
    const leaving = meet("stalls");
    // Nobody waits the caller's patience out: the upstream is seen to hold, then it is cut.
    while (upstream?.journal.at(-1)?.mode !== "stalls") await sleep(5);
    const entry = upstream.journal.at(-1);
    await sleep(100);
    expect(entry).toMatchObject({ endedMs: Number.POSITIVE_INFINITY });
    upstream.cut();
    const { seen } = await leaving;
    expect(seen).toMatchObject({ status: null, end: "cut" });
    expect(entry?.billed).toBe(most(entry?.tag ?? ""));
  });

  test("tells nothing, or zero", async () => {
    const { entry: silent } = await meet("tells-nothing");
    expect(silent.toldUsage).toBe(false);
    expect(silent.billed).toBeGreaterThan(0n);
    expect((await meet("tells-zero")).entry).toMatchObject({ billed: 0n, toldUsage: true });
  });

  test("bills a stream that is left by what it made, or all of it where it keeps on", async () => {
    const left = { stream: true, leavesAtByte: 1 };
    const { entry: whole } = await meet("usual", { stream: true });
    const { seen, entry: cut } = await meet("usual", left);
    expect(seen.end).toBe("left");
    expect(cut.billed).toBeLessThan(whole.billed);
    const { entry: regardless } = await meet("keeps-on", left);
    const { entry: untroubled } = await meet("keeps-on", { stream: true });
    expect(regardless.billed).toBe(untroubled.billed);
  });
});
