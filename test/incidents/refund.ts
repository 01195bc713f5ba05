/**
 * The duplicate notification. An agent sends a wire and is killed before it sends the notice; its
 * orchestrator starts it again, under another run id, and it remembers nothing.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { startAgent, type Said } from "./agent.ts";
import type { Bank } from "./bank.ts";

export type Gate = {
  readonly url: string;
  readonly key: string;
  /** May say what became of an attempt. */
  readonly reconcilerKey: string;
};

/** One life of the agent: what it did itself, what it had in the end, and how it ended. */
export type Life = {
  readonly did: readonly string[];
  readonly had: readonly Said[];
  readonly told: readonly Said[];
  readonly refused: Said | null;
  /** Null: it was killed. */
  readonly exitCode: number | null;
};

export type Terms = {
  readonly bank: Bank;
  /** Null: nothing stands between the agent and the bank. */
  readonly gate: Gate | null;
  readonly order: string;
  readonly run: string;
  readonly via: "nothing" | "http" | "client";
  readonly killedAt?: "in-wire" | "after-wire";
};

export async function live(terms: Terms): Promise<Life> {
  const { bank, gate, order, run, via, killedAt } = terms;
  const agent = startAgent("refund.ts", {
    BANK_URL: bank.url,
    GATE_URL: gate?.url ?? "",
    GATE_KEY: gate?.key ?? "",
    ORDER: order,
    RUN: run,
    VIA: via,
    STAND: killedAt ?? "nowhere",
  });
  try {
    if (killedAt !== undefined) {
      await agent.said("standing");
      await agent.kill();
    }
    const exitCode = await agent.exited;
    const of = (kind: string) => agent.lines.filter((line) => line.kind === kind);
    return {
      did: of("did").map(({ effect }) => String(effect)),
      had: of("has"),
      told: of("told"),
      refused: of("refused")[0] ?? null,
      exitCode,
    };
  } finally {
    await agent.kill();
  }
}

export type EffectState = {
  readonly effect: string;
  readonly state: string;
  readonly attempt: string;
};

/** The effects of the refund of an order, as the gate knows them. */
export async function effectsOf(gate: Gate, order: string): Promise<readonly EffectState[]> {
  const response = await fetch(`${gate.url}/api/operations/refund/${order}`, {
    headers: { authorization: `Bearer ${gate.key}` },
  });
  if (!response.ok) throw new Error(`${response.status} ${await response.text()}`);
  const { effects } = (await response.json()) as { readonly effects: readonly EffectState[] };
  return effects;
}

/** The attempt whose outcome nobody knows, once its lease is over and somebody has looked. */
export async function untilUncertain(gate: Gate, order: string, msMax: number): Promise<string> {
  const untilMs = performance.now() + msMax;
  for (;;) {
    const found = (await effectsOf(gate, order)).find(({ state }) => state === "uncertain");
    if (found !== undefined) return found.attempt;
    if (performance.now() > untilMs) throw new Error(`still not uncertain after ${msMax} ms`);
    await sleep(100);
  }
}

/** Somebody has looked into the bank's own statement. */
export async function reconcileByStatement(
  gate: Gate,
  attempt: string,
  { bank, order }: { readonly bank: Bank; readonly order: string },
): Promise<void> {
  const wire = bank.wires.find((each) => each.order === order);
  const response = await fetch(`${gate.url}/api/attempts/${attempt}/reconcile`, {
    method: "POST",
    headers: { authorization: `Bearer ${gate.reconcilerKey}`, "content-type": "application/json" },
    body: JSON.stringify({
      applied: wire !== undefined,
      evidence: `bank statement of today: ${wire?.id ?? "no such wire"}`,
      ...(wire === undefined ? {} : { result: wire }),
    }),
  });
  if (!response.ok) throw new Error(`${response.status} ${await response.text()}`);
}
