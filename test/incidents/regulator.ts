/**
 * The regulator's question: which policies were evaluated when this call was approved? Asked when the policy
 * has been edited and deleted since.
 */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { startAgent } from "./agent.ts";
import type { Bank } from "./bank.ts";

const REFUND = { ORDER: "order-125", AMOUNT: "800" };

export type Logged = {
  /** The line of the audit log, as it stands. */
  readonly line: string;
  readonly result: string;
  /** What it says of the rules that were asked. */
  readonly rulesNamed: number;
  /** The rule's text by now, or that it is gone. */
  readonly rule: string;
};

/** An application that decides by a file and writes a log: the file is edited, then deleted. */
export async function askTheLog(bank: Bank): Promise<Logged> {
  const directory = await mkdtemp(join(tmpdir(), "tollgate-audit-"));
  try {
    const [rule, log] = [join(directory, "rule.json"), join(directory, "audit.log")];
    await writeFile(rule, JSON.stringify({ amount_max: 1_000 }));
    const env = { ...REFUND, BANK_URL: bank.url, VIA: "log", RULE_FILE: rule, LOG_FILE: log };
    const agent = startAgent("payer.ts", env);
    await agent.said("paid");
    await agent.exited;
    await writeFile(rule, JSON.stringify({ amount_max: 100 }));
    await rm(rule);
    const line = (await readFile(log, "utf8")).trim();
    const logged = JSON.parse(line) as Readonly<Record<string, unknown>>;
    const text = await readFile(rule, "utf8").catch((error: NodeJS.ErrnoException) => error.code);
    return {
      line,
      result: String(logged["result"]),
      rulesNamed: Object.keys(logged).filter((name) => /rule|policy/u.test(name)).length,
      rule: text === "ENOENT" ? "gone" : String(text),
    };
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/** The rules as they were on the day, comment included. */
export const RULES = `# Agreed with the auditors: a person looks at every refund above 500.
policies:
  - id: large-refund
    name: Large refunds
    applies_to: { doors: [step], resources: [wire] }
    when: int(arguments.amount) > 500
    effect: require_approval
    approval: { quorum: 1, expires_in: 1h }
    risk: 30
    reason: "{operation} is above 500."
  - id: never-that-much
    applies_to: { doors: [step], resources: [wire] }
    when: int(arguments.amount) > 2000
    effect: block
`;

/** The same policy, edited: now it would not even ask. */
const EDITED = `policies:
  - id: large-refund
    applies_to: { doors: [step], resources: [wire] }
    when: int(arguments.amount) > 100
    effect: block
    reason: "Refunds above 100 are made by hand."
`;

export type Installation = {
  readonly url: string;
  readonly adminKey: string;
  readonly tenantId: string;
  readonly key: string;
  readonly approver: { readonly id: string; readonly key: string };
};

export type Answered = {
  readonly exitCode: number | null;
  /** What the approver was shown, exactly, and to what he said yes. */
  readonly shown: string;
  /** The policies of the record: id, and what it came to. */
  readonly policies: readonly (readonly [string, string])[];
  readonly explanation: readonly string[];
  /** The text of the version that judged, as it is told today. */
  readonly text: string;
  /** Judged again by what was recorded: whether it comes out the same. */
  readonly isEqual: boolean;
  /** What the edited policy would have said. */
  readonly byEdited: string;
  /** What is in force today. */
  readonly activeStatus: number;
};

type Json = Readonly<Record<string, unknown>>;

/** Decides, edits the policy, deletes it, and asks why. */
export async function askTheGate(bank: Bank, at: Installation): Promise<Answered> {
  const api = apiOf(at);
  await enforce(api, RULES);
  const env = { ...REFUND, BANK_URL: bank.url, VIA: "gate", GATE_URL: at.url, GATE_KEY: at.key };
  const agent = startAgent("payer.ts", env);
  try {
    const shown = await approve(api, at.approver.key);
    const allowed = await agent.said("allowed");
    const exitCode = await agent.exited;
    await enforce(api, EDITED);
    await api("POST", "/policies/deactivate", {});
    const path = `/decisions/${String(allowed["decision"])}`;
    const decision = (await api("GET", path)).body;
    const record = decision["record"] as { policies: Json[]; policy_version: string };
    const replay = (await api("POST", `${path}/replay`, {})).body;
    const edited = (await api("POST", `${path}/replay`, { source: EDITED })).body;
    return {
      exitCode,
      shown,
      policies: record.policies.map(({ id, result }) => [String(id), String(result)] as const),
      explanation: decision["explanation"] as string[],
      text: String((await api("GET", `/policies/${record.policy_version}`)).body["source"]),
      isEqual: replay["equal"] === true,
      byEdited: String((edited["now"] as Json)["verdict"]),
      activeStatus: (await api("GET", "/policies/active")).status,
    };
  } finally {
    await agent.kill();
  }
}

type Api = (
  method: string,
  path: string,
  body?: object,
  key?: string,
) => Promise<{ readonly status: number; readonly body: Json }>;

function apiOf({ url, adminKey, tenantId }: Installation): Api {
  return async (method, path, body, key) => {
    // The installation's key says for which tenant; a tenant's own key needs not.
    const query = key === undefined ? `?tenant=${tenantId}` : "";
    const response = await fetch(`${url}/api${path}${query}`, {
      method,
      headers: {
        authorization: `Bearer ${key ?? adminKey}`,
        "content-type": "application/json",
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    return { status: response.status, body: (await response.json()) as Json };
  };
}

async function enforce(api: Api, source: string): Promise<void> {
  const { status, body } = await api("POST", "/policies", { source });
  if (status !== 201) throw new Error(JSON.stringify(body));
  const activated = await api("POST", `/policies/${String(body["version"])}/activate`, {});
  if (activated.status !== 200) throw new Error(JSON.stringify(activated.body));
}

const ASKED_MS_MAX = 30_000;

/** Somebody with the scope `approve` reads the exact call and says yes to its digest. */
async function approve(api: Api, key: string): Promise<string> {
  const untilMs = performance.now() + ASKED_MS_MAX;
  for (;;) {
    const { body } = await api("GET", "/approvals", undefined, key);
    const [pending] = body["data"] as { readonly id: string }[];
    if (pending !== undefined) {
      const path = `/approvals/${pending.id}`;
      const { digest, call } = (await api("GET", path, undefined, key)).body;
      const voted = await api("POST", `${path}/approve`, { digest, reason: "Customer 42." }, key);
      if (voted.status !== 200) throw new Error(JSON.stringify(voted.body));
      return String(call);
    }
    if (performance.now() > untilMs) throw new Error("nobody was asked");
    await sleep(100);
  }
}
