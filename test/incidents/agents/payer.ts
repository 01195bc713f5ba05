/**
 * An agent that pays a refund. By `VIA=log` it reads a rule from a file, obeys it, and writes an audit log, as
 * applications do; by `VIA=gate` it asks the gate, and waits where a person must say yes.
 */
import { appendFile, readFile } from "node:fs/promises";
import { createClient } from "../../../src/client/client.ts";
import { given, say } from "./say.ts";

const refund = { order: given("ORDER"), amount: Number(given("AMOUNT")) };

async function wire(): Promise<unknown> {
  const response = await fetch(`${given("BANK_URL")}/wires`, {
    method: "POST",
    body: JSON.stringify(refund),
  });
  return await response.json();
}

async function payByLog(): Promise<void> {
  const rule = JSON.parse(await readFile(given("RULE_FILE"), "utf8")) as { amount_max: number };
  const isAllowed = refund.amount <= rule.amount_max;
  if (isAllowed) await wire();
  const result = isAllowed ? "allowed" : "blocked";
  const line = {
    at: new Date().toISOString(),
    actor: "refund-agent",
    action: "wire",
    ...refund,
    result,
  };
  await appendFile(given("LOG_FILE"), `${JSON.stringify(line)}\n`);
}

async function payThroughGate(): Promise<void> {
  const gate = createClient({ baseURL: given("GATE_URL"), apiKey: given("GATE_KEY") });
  const call = { kind: "tool" as const, name: "wire", arguments: refund, estimateUsd: "0" };
  await gate.step({ ...call, operation: `refund:${refund.order}`, waitSeconds: 60 }, (attempt) => {
    say("allowed", { decision: attempt.decisionId });
    return wire();
  });
}

await (given("VIA") === "gate" ? payThroughGate() : payByLog());
say("paid");
