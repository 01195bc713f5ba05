/**
 * An agent that refunds an order: it sends a wire, then a notice. `VIA` says how it passes the gate, if at
 * all: `nothing`, `http` (plain requests) or `client` (`tollgate/client`). `STAND` names the moment at which
 * it stands still to be killed: `in-wire`, when the money has gone and nobody has been told, or `after-wire`.
 */
import { createClient, Refused } from "../../../src/client/client.ts";
import { given, say, stand } from "./say.ts";

const ORDER = given("ORDER");
const OPERATION = `refund:${ORDER}`;
const LEASE_SECONDS = 5;

type Work = () => Promise<unknown>;
/** Answers the result of an effect, now or from before. */
type Pass = (effect: string, work: Work) => Promise<unknown>;

async function post(path: string): Promise<unknown> {
  const body = JSON.stringify({ order: ORDER });
  const response = await fetch(`${given("BANK_URL")}${path}`, { method: "POST", body });
  return await response.json();
}

const throughNothing: Pass = (_, work) => work();

type Asked = {
  readonly verdict: "allow" | "block";
  readonly disposition: string;
  readonly attempt_id: string;
  readonly error?: { readonly code: string; readonly message: string };
  readonly operation: { readonly effects: readonly { effect: string; state: string }[] };
  readonly retry_context: { readonly prior: { readonly result: unknown } | null };
};

async function ask(path: string, body: object): Promise<Asked> {
  const response = await fetch(`${given("GATE_URL")}${path}`, {
    method: "POST",
    headers: { authorization: `Bearer ${given("GATE_KEY")}`, "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  return (await response.json()) as Asked;
}

const throughHttp: Pass = async (effect, work) => {
  const asked = await ask("/api/gate", {
    kind: "step",
    name: effect,
    run: given("RUN"),
    operation: OPERATION,
    arguments: { order: ORDER },
    lease_seconds: LEASE_SECONDS,
    include_result: true,
  });
  const known = asked.operation.effects.map((each) => `${each.effect} ${each.state}`);
  say("told", { effect, verdict: asked.verdict, disposition: asked.disposition, known });
  if (asked.verdict === "allow") {
    const result = await work();
    await ask(`/api/attempts/${asked.attempt_id}/complete`, { result });
    return result;
  }
  if (asked.disposition === "return_prior") return asked.retry_context.prior?.result;
  return refused(effect, asked.error?.code, asked.disposition, asked.error?.message);
};

const throughClient: Pass = async (effect, work) => {
  const gate = createClient({ baseURL: given("GATE_URL"), apiKey: given("GATE_KEY") });
  const call = {
    name: effect,
    run: given("RUN"),
    operation: OPERATION,
    arguments: { order: ORDER },
  };
  try {
    return await gate.step({ ...call, leaseSeconds: LEASE_SECONDS }, work);
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    return refused(effect, error.reason, error.disposition, error.message);
  }
};

/** It does nothing that it may not, and says why. */
function refused(effect: string, ...[code, disposition, message]: readonly unknown[]): never {
  say("refused", { effect, code, disposition, message });
  process.exit(3);
}

const WAYS: Readonly<Record<string, Pass>> = {
  nothing: throughNothing,
  http: throughHttp,
  client: throughClient,
};

const pass = WAYS[given("VIA")];
if (pass === undefined) throw new Error(`VIA is ${given("VIA")}`);
const standsAt = given("STAND");

const wire = await pass("wire", async () => {
  const sent = await post("/wires");
  say("did", { effect: "wire" });
  if (standsAt === "in-wire") await stand("in-wire");
  return sent;
});
say("has", { effect: "wire", result: wire });
if (standsAt === "after-wire") await stand("after-wire");
const notice = await pass("notify", async () => {
  const sent = await post("/notices");
  say("did", { effect: "notify" });
  return sent;
});
say("has", { effect: "notify", result: notice });
