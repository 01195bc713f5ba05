import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { EFFECT_CLASSES, type EffectClass } from "../../src/core/operation.ts";
import { call, type Called } from "../http/http-call.ts";
import { startAgent } from "../incidents/agent.ts";
import { startBank } from "../incidents/bank.ts";
import { ledgerViolations } from "../store/violations.ts";
import { describeOnPostgres } from "../support/databases.ts";
import { chatAnswer } from "../support/openai-answers.ts";
import {
  startScriptedUpstream,
  type Script,
  type ScriptedUpstream,
} from "../support/scripted-upstream.ts";
import { MODEL, type Tenant } from "../support/tollgate.ts";
import { chat, startFleet, type Doomed, type Fleet } from "./doomed.ts";

/** What is told and done again when somebody was killed with `kill -9`, by the point at which he was. */

const ANSWERS: Script = {
  kind: "json",
  body: chatAnswer(MODEL, "ok", { input: 3, output: 2 }),
  bill: { input: 3, output: 2 },
};

type Told = {
  readonly error?: { readonly code: string };
  readonly disposition: string;
  readonly attempt: number;
  readonly attempt_id: string;
  readonly retry_context: {
    readonly prior: { readonly status: string; readonly result: unknown } | null;
  };
};

const bodyOf = ({ text }: Called) => JSON.parse(text) as Told;
const codeOf = (called: Called) => bodyOf(called).error?.code ?? null;

describeOnPostgres("a crash", (database) => {
  let upstream: ScriptedUpstream;
  let fleet: Fleet;
  let tenant: Tenant;
  beforeAll(async () => {
    upstream = await startScriptedUpstream();
    fleet = await startFleet(database, upstream);
  });
  beforeEach(async () => {
    upstream.otherwise(ANSWERS);
    tenant = await fleet.survivor.tenant();
    return async () => expect(await ledgerViolations(database.db.admin, tenant.id)).toEqual([]);
  });
  afterAll(async () => {
    await fleet?.close();
    await upstream?.close();
  });

  /** Brings the gateway to the point with two calls under way, one of them under a key; then it is killed. */
  type Point = {
    readonly name: string;
    /** What the upstream has seen of the two. */
    readonly seen: number;
    readonly reach: (doomed: Doomed, ask: () => void) => Promise<() => Promise<void>>;
  };
  const nothing = async () => undefined;
  const POINTS: readonly Point[] = [
    {
      name: "after the decision and before the dispatch",
      seen: 0,
      reach: async (doomed, ask) => {
        await doomed.decidesUnheard(ask);
        return nothing;
      },
    },
    {
      name: "after the dispatch and before the answer",
      seen: 2,
      reach: async (_, ask) => {
        upstream.otherwise({ kind: "stall", bill: { input: 3, output: 2 } });
        const before = upstream.journal.length;
        ask();
        await upstream.arrived(before + 2);
        return nothing;
      },
    },
    {
      name: "after the answer and before it is kept",
      seen: 2,
      reach: async (_, ask) => {
        const held = await fleet.holdBack("answers");
        ask();
        await held.reached();
        return held.letGo;
      },
    },
    {
      name: "after the answer was kept and before the settlement",
      seen: 2,
      reach: async (_, ask) => {
        const held = await fleet.holdBack("settlements");
        const before = await kept();
        ask();
        while ((await kept()) === before) await new Promise((done) => setTimeout(done, 10));
        return held.letGo;
      },
    },
  ];
  const kept = async () => (await database.db.admin`select attempt_id from answers`).length;

  test.each(POINTS)(
    "of the gateway $name never runs a keyed model call again in silence",
    async ({ seen, reach }) => {
      const doomed = await fleet.doomed();
      const before = upstream.journal.length;
      const keyed = { text: "keyed", headers: { "idempotency-key": "k-1" } };
      const plain = { text: "plain" };
      const asked: Promise<Called>[] = [];
      const undo = await reach(doomed, () => {
        asked.push(chat(doomed.url, tenant.key, keyed), chat(doomed.url, tenant.key, plain));
      });
      while (upstream.journal.length < before + seen) await upstream.arrived(before + seen);
      await doomed.kill();
      await undo();
      await Promise.all(asked);
      expect(upstream.journal.length).toBe(before + seen);
      upstream.otherwise(ANSWERS);
      const again = (given: Parameters<typeof chat>[2]) =>
        chat(fleet.survivor.url, tenant.key, given);

      const early = await again(keyed);
      expect([early.status, codeOf(early)]).toEqual([409, "idempotency_in_progress"]);
      await fleet.lapse();
      const late = await again(keyed);
      expect([late.status, codeOf(late), late.headers["x-should-retry"]]).toEqual([
        409,
        "outcome_unknown",
        "false",
      ]);
      expect(upstream.journal.length).toBe(before + seen);
      // Without a key nobody has asked for that: it runs again, as an attempt with a reservation of its own.
      expect((await again(plain)).status).toBe(200);
      expect(upstream.journal.length).toBe(before + seen + 1);
      const headers = { ...keyed.headers, "tollgate-retry-unknown": "accept" };
      const accepted = await again({ ...keyed, headers });
      expect([accepted.status, accepted.headers["tollgate-attempt"]]).toEqual([200, "2"]);
      expect(upstream.journal.length).toBe(before + seen + 2);
    },
  );

  const declare = async (): Promise<void> => {
    const { url, adminKey } = fleet.survivor;
    for (const effect of EFFECT_CLASSES) {
      const put = await call(`${url}/api/tools/${effect}?tenant=${tenant.id}`, {
        method: "PUT",
        headers: { authorization: `Bearer ${adminKey}`, "content-type": "application/json" },
        body: JSON.stringify({ effect, price_usd: "0.01" }),
      });
      if (put.status !== 200) throw new Error(put.text);
    }
    // Every process hears of it within a second; making a key waits for that.
    await tenant.newKey();
  };
  const askFor = (tool: EffectClass) => ({
    kind: "tool",
    name: tool,
    operation: `refund:${tool}`,
    arguments: { order: tool },
    lease_seconds: 60,
    include_result: true,
  });
  const post = (url: string, path: string, body: object, key = tenant.key) =>
    call(`${url}/api${path}`, {
      method: "POST",
      headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
      body: JSON.stringify(body),
    });
  const askSurvivor = (tool: EffectClass) => post(fleet.survivor.url, "/gate", askFor(tool));
  /** What each class is answered, by the survivor. */
  const answersByClass = async () => {
    const answers: Record<string, unknown> = {};
    for (const tool of EFFECT_CLASSES) {
      const answer = await askSurvivor(tool);
      answers[tool] = codeOf(answer) ?? `granted, attempt before it: ${priorOf(answer)}`;
    }
    return answers;
  };
  const priorOf = (answer: Called) => bodyOf(answer).retry_context.prior?.status ?? "none";
  const attemptOf = async (tool: EffectClass): Promise<string> => {
    const [row] = await database.db.admin`
      select attempt_id from effects where tenant_id = ${tenant.id} and operation_key = ${tool}`;
    return String(row?.["attempt_id"]);
  };

  /** Of a tool that was granted, and of which nobody says how it ended. */
  const expectNothingTwice = async (): Promise<void> => {
    expect(await answersByClass()).toMatchObject({
      pure: expect.stringContaining("granted"),
      idempotent: "effect_in_flight",
      keyed: "effect_in_flight",
      effectful: "effect_in_flight",
    });
    const lost = await attemptOf("effectful");
    await fleet.lapse();
    expect(await answersByClass()).toEqual({
      pure: expect.stringContaining("granted"),
      idempotent: "granted, attempt before it: unknown",
      keyed: "granted, attempt before it: unknown",
      effectful: "effect_uncertain",
    });
    const approver = await tenant.newKey({ scopes: ["approve"] });
    const found = { applied: false, evidence: "the receiver's journal" };
    const path = `/attempts/${lost}/reconcile`;
    const reconciled = await post(fleet.survivor.url, path, found, approver.key);
    expect(reconciled.status).toBe(200);
    expect((await askSurvivor("effectful")).status).toBe(200);
  };

  test("of the gateway after it granted a tool and before its caller heard: an effectful one waits for somebody to look", async () => {
    await declare();
    for (const tool of EFFECT_CLASSES) {
      const doomed = await fleet.doomed();
      const asked: Promise<Called>[] = [];
      await doomed.decidesUnheard(() => asked.push(post(doomed.url, "/gate", askFor(tool))));
      await doomed.kill();
      expect((await Promise.all(asked)).map(({ status }) => status)).toEqual([0]);
    }
    await expectNothingTwice();
  });

  test("of the caller between grant and completion: an effectful tool waits for somebody to look", async () => {
    await declare();
    const bank = await startBank();
    try {
      const callers = EFFECT_CLASSES.map((tool) =>
        startAgent("tool-caller.ts", {
          GATE_URL: fleet.survivor.url,
          GATE_KEY: tenant.key,
          BANK_URL: bank.url,
          ORDER: tool,
          ASK: JSON.stringify(askFor(tool)),
        }),
      );
      for (const caller of callers) await caller.said("standing");
      for (const caller of callers) await caller.kill();
      await expectNothingTwice();
      // Those who were killed did it, and nobody else.
      expect(bank.wires.map(({ order }) => order).toSorted()).toEqual(EFFECT_CLASSES.toSorted());
    } finally {
      await bank.close();
    }
  });

  test("of the gateway after it was told the end and before that was written: who reports again ends it, once", async () => {
    await declare();
    const doomed = await fleet.doomed();
    const granted: Told[] = [];
    for (const tool of EFFECT_CLASSES) {
      granted.push(bodyOf(await post(doomed.url, "/gate", askFor(tool))));
    }
    const held = await fleet.holdBack("settlements");
    const report = (url: string) =>
      granted.map(({ attempt_id: attempt }) =>
        post(url, `/attempts/${attempt}/complete`, { result: { by: attempt } }),
      );
    const told = report(doomed.url);
    await held.reached();
    await doomed.kill();
    await held.letGo();
    expect((await Promise.all(told)).map(({ status }) => status)).toEqual([0, 0, 0, 0]);
    const early = await answersByClass();
    expect(early).toMatchObject({ effectful: "effect_in_flight", keyed: "effect_in_flight" });
    const again = await Promise.all(report(fleet.survivor.url));
    expect(again.map(({ status }) => status)).toEqual([200, 200, 200, 200]);
    expect(await answersByClass()).toMatchObject({
      pure: expect.stringContaining("granted"),
      idempotent: "effect_applied",
      keyed: "effect_applied",
      effectful: "effect_applied",
    });
    const prior = bodyOf(await askSurvivor("effectful")).retry_context.prior;
    expect(prior?.result).toEqual({ by: granted.at(-1)?.attempt_id });
  });
});
