/**
 * `npm run demo`: three incidents told on the terminal, each first without the gate and then with it. The
 * programs are real and run as processes; the figures are read from the journals of the servers that were
 * called, and each is compared with what is claimed of it: the exit code is 0 only if all of them hold.
 *
 * It stands among the tests because it plays their stories, with clients that only the tests need: the
 * program itself needs no client library.
 */
import { wantsColours } from "../../src/entry/cli/terminal.ts";
import { startTollgateProcess, type TollgateProcess } from "../support/tollgate.ts";
import { startBank } from "./bank.ts";
import { drainThroughGate, drainWithoutGate } from "./drain.ts";
import { createNarrator, type Narrator } from "./narration.ts";
import { PRICES_YAML, startProvider, type Provider } from "./provider.ts";
import { askTheGate, askTheLog, RULES } from "./regulator.ts";
import { live, reconcileByStatement, untilUncertain, type Gate } from "./refund.ts";

const QUOTA_CALLS = 20;

/** The gate looks for leases that are over every five seconds; the agent's lasts five. */
const UNCERTAIN_MS_MAX = 40_000;

/** A story that takes longer than this does not go as it is told. */
const DEMO_MS_MAX = 120_000;

type Closing = () => Promise<unknown>;

async function play(narrator: Narrator, closings: Closing[]): Promise<void> {
  narrator.title(
    "Tollgate decides before it spends: three incidents, without the gate and with it",
  );
  narrator.say(
    "Everything here is real and on this machine: the agents are processes that are killed with kill -9, the OpenAI " +
      "library is the official one as it comes, and the provider and the bank are HTTP servers that keep a journal. " +
      "No account is needed, and nothing leaves this machine.",
  );
  const provider = await startProvider(QUOTA_CALLS);
  closings.push(provider.close);
  // It starts while the first story is told without it; one that cannot start is told where it is needed.
  const starting = startTollgateProcess({ upstream: provider.url, yaml: PRICES_YAML });
  closings.push(() =>
    starting.then(
      (tollgate) => tollgate.close(),
      () => undefined,
    ),
  );
  await tellDrain(narrator, { starting, provider, closings });
  const tollgate = await starting;
  await tellRefund(narrator, tollgate, closings);
  await tellRegulator(narrator, tollgate, closings);
}

type DrainParts = {
  readonly starting: Promise<TollgateProcess>;
  readonly provider: Provider;
  readonly closings: Closing[];
};

async function tellDrain(
  narrator: Narrator,
  { starting, provider, closings }: DrainParts,
): Promise<void> {
  const { title, part, say, quote, figure } = narrator;
  title("1. The ninety-second drain");
  say(
    "A workflow asks a model a question that is too slow for its patience of 400 ms. The OpenAI library tries a call that " +
      "timed out twice more; the workflow's engine starts the failed step again. Each layer has a cap, and nobody counts " +
      `them together. The provider charges what it accepts, and allows ${QUOTA_CALLS} calls a day.`,
  );
  part("without the gate");
  const alone = await startProvider(QUOTA_CALLS);
  closings.push(alone.close);
  const drained = await drainWithoutGate(alone);
  say(
    `After ${seconds(drained.ms)} s the day is over for everybody. The engine would go on: only the provider's own quota ` +
      "has ended it.",
  );
  figure("calls charged for one question", drained.calls, QUOTA_CALLS);
  figure("spent on it", dollars(drained.cents), "$1.20");
  figure("calls left of the day's quota", drained.left, 0);
  figure("another model, asked by a neighbour", drained.otherModel, "429 insufficient_quota");
  part("with the gate");
  const tollgate = await starting;
  say(
    `Tollgate was started meanwhile as \`npm start\` does, on an empty folder: process ${tollgate.pid}, ${tollgate.url}. ` +
      "The workflow is the same program; only OPENAI_BASE_URL and the key differ. It sends no header of ours, and no limit is configured: " +
      "the guard against storms is on by default.",
  );
  const { key } = await tollgate.tenant();
  const stopped = await drainThroughGate(provider, { url: tollgate.url, key });
  say(`It was stopped after ${seconds(stopped.ms)} s. The engine was told, once:`);
  quote(String(stopped.told["message"]));
  figure("calls charged for one question", stopped.calls, { most: 5 });
  figure("cents spent on it", stopped.cents, { most: 30 });
  figure(
    "status of the refusal, which the library does not retry",
    Number(stopped.told["status"]),
    402,
  );
  figure("calls left of the day's quota", stopped.left, { least: QUOTA_CALLS - 5 });
  figure("another model, asked by a neighbour with the same key", stopped.otherModel, "ok");
  figure("another question to the same model", stopped.otherQuestion, "ok");
}

async function tellRefund(
  narrator: Narrator,
  tollgate: TollgateProcess,
  closings: Closing[],
): Promise<void> {
  const { title, part, say, quote, figure } = narrator;
  title("2. The duplicate notification");
  say(
    "An agent refunds order-123: it sends a wire, then a notice. It is killed with kill -9 between the two. Its " +
      "orchestrator starts it again, and the new process remembers nothing.",
  );
  part("without the gate");
  const naive = await startBank();
  closings.push(naive.close);
  const order = "order-123";
  const plain = { bank: naive, gate: null, order, via: "nothing" } as const;
  await live({ ...plain, run: "monday", killedAt: "after-wire" });
  await live({ ...plain, run: "tuesday" });
  figure("wires that the bank sent for one refund", naive.wires.length, 2);
  figure("notices that the customer got", naive.notices.length, 1);

  part("with the gate");
  say(
    "Each effect asks POST /api/gate first, in the operation refund:order-123. The first agent does so by plain HTTP, in a " +
      "run named monday; the second one through tollgate/client, in a run named tuesday.",
  );
  const bank = await startBank();
  closings.push(bank.close);
  const tenant = await tollgate.tenant();
  const reconciler = await tenant.newKey({ scopes: ["approve"] });
  const gate: Gate = { url: tollgate.url, key: tenant.key, reconcilerKey: reconciler.key };
  await live({ bank, gate, order, run: "monday", via: "http", killedAt: "after-wire" });
  const second = await live({ bank, gate, order, run: "tuesday", via: "client" });
  const wire = JSON.stringify(second.had[0]?.["result"]);
  figure("what the second agent did itself", second.did.join(", "), "notify");
  figure(
    "the wire, as the gate gave it to the second agent",
    wire,
    `{"id":"wire-1","order":"${order}"}`,
  );
  const third = await live({ bank, gate, order, run: "wednesday", via: "http" });
  figure("what a third agent did itself", third.did.length, 0);
  figure("wires that the bank sent for one refund", bank.wires.length, 1);
  figure("notices that the customer got", bank.notices.length, 1);

  part("with the gate, when nobody knows");
  say(
    "Now the agent for order-124 is killed inside the wire: the bank has sent it, and nobody was told. Its lease of five " +
      "seconds runs out.",
  );
  const other = "order-124";
  const terms = { bank, gate, order: other, via: "http" } as const;
  await live({ ...terms, run: "monday", killedAt: "in-wire" });
  const early = await live({ ...terms, run: "tuesday" });
  figure(
    "an agent that comes at once is told",
    String(early.refused?.["code"]),
    "effect_in_flight",
  );
  const attempt = await untilUncertain(gate, other, UNCERTAIN_MS_MAX);
  const later = await live({ ...terms, run: "wednesday" });
  figure(
    "one that comes after the lease is told",
    String(later.refused?.["code"]),
    "effect_uncertain",
  );
  quote(String(later.refused?.["message"]));
  const wiresOf = () => bank.wires.filter((each) => each.order === other).length;
  figure("wires so far: nothing was repeated in silence", wiresOf(), 1);
  await reconcileByStatement(gate, attempt, { bank, order: other });
  const last = await live({ ...terms, run: "thursday" });
  say(
    "Somebody looks into the bank's statement and says so, with evidence; the next agent goes on from there.",
  );
  figure("what it did itself", last.did.join(", "), "notify");
  figure("wires that the bank sent for the second refund", wiresOf(), 1);
}

async function tellRegulator(
  narrator: Narrator,
  tollgate: TollgateProcess,
  closings: Closing[],
): Promise<void> {
  const { title, part, say, quote, figure } = narrator;
  title("3. The regulator's question");
  say(
    "A refund of 800 was paid. Since then the rule about large refunds was edited, and then deleted. The regulator asks: " +
      "which policies were evaluated when this was approved, and why was it?",
  );
  const bank = await startBank();
  closings.push(bank.close);
  part("without the gate");
  const logged = await askTheLog(bank);
  say("The application decided by a file and wrote an audit log, which says:");
  quote(logged.line);
  figure("what happened", logged.result, "allowed");
  figure("rules that the log names", logged.rulesNamed, 0);
  figure("the rule that was asked", logged.rule, "gone");
  part("with the gate");
  const tenant = await tollgate.tenant();
  const approver = await tenant.newKey({ scopes: ["approve"] });
  const { url, adminKey } = tollgate;
  const at = { url, adminKey, tenantId: tenant.id, key: tenant.key, approver };
  const answered = await askTheGate(bank, at);
  say("The agent waited until a person had approved exactly this call, as it was shown:");
  quote(answered.shown);
  say("Then the policy was edited, and deleted. Asked today, the decision's record says:");
  for (const sentence of answered.explanation) quote(sentence);
  const said = answered.explanation.join("\n");
  figure("policies evaluated, matched or not", answered.policies.length, 2);
  figure("the approver is named", String(said.includes(`approved by ${approver.id}`)), "true");
  const isOldText = answered.text === RULES;
  figure("the policy's old text is there, comment included", String(isOldText), "true");
  figure("policies in force today (404: none)", answered.activeStatus, 404);
  figure(
    "judged again by what was recorded, it comes out the same",
    String(answered.isEqual),
    "true",
  );
  figure("by the edited policy it would have been", answered.byEdited, "block");
}

function seconds(ms: number): string {
  return (ms / 1_000).toFixed(1);
}

function dollars(cents: number): string {
  return `$${(cents / 100).toFixed(2)}`;
}

async function main(): Promise<number> {
  const closings: Closing[] = [];
  const hasColours = wantsColours(process.env, process.stdout.isTTY);
  const out = (text: string) => void process.stdout.write(text);
  const narrator = createNarrator({ out, hasColours });
  const interrupted = Promise.withResolvers<never>();
  const interrupt = (why: string) => interrupted.reject(new Error(why));
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    process.once(signal, () => interrupt(`ended by ${signal}`));
  }
  const deadline = setTimeout(() => interrupt("it took longer than two minutes"), DEMO_MS_MAX);
  const began = performance.now();
  try {
    await Promise.race([play(narrator, closings), interrupted.promise]);
  } finally {
    clearTimeout(deadline);
    // Each by its own handle or process id, the last one first.
    for (const close of closings.toReversed()) await close();
  }
  const failures = narrator.failures();
  const took = `${seconds(performance.now() - began)} s, and everything that was started has ended.`;
  narrator.title(
    failures === 0 ? `All figures are as claimed. ${took}` : `${failures} NOT AS CLAIMED. ${took}`,
  );
  return failures === 0 ? 0 : 1;
}

process.exitCode = await main();
