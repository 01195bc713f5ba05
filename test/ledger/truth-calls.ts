/** Calls of every ending, through the gate to an upstream whose journal is the invoice. */
import { APIError } from "openai";
import { LEASE_MS, UNKNOWN_GRACE_MS } from "../../src/core/limits.ts";
import { usdFromPicousd, picousd } from "../../src/core/money.ts";
import type { Accepted, Mode } from "../faults/history.ts";
import { startTruthUpstream, type TruthUpstream } from "../faults/truth-upstream.ts";
import { shiftClock } from "../support/clock.ts";
import type { TestDatabase } from "../support/databases.ts";
import { MODEL, startTollgate, type Tenant, type Tollgate } from "../support/tollgate.ts";

type Planned = {
  readonly mode: Mode;
  readonly run: string;
  readonly step?: string;
  readonly model?: string;
  readonly operation?: string;
  readonly labels?: string;
  readonly stream?: boolean;
  /** The client leaves once a first event has come. */
  readonly leaves?: boolean;
};

const UNPRICED = "a-model-of-no-price";

/** A strict tenant: what nobody knows is presumed, and what a client leaves is read to its end. */
const STRICT: readonly Planned[] = [
  { mode: "usual", run: "good" },
  { mode: "most", run: "good", stream: true, labels: "workflow=support, team=search" },
  { mode: "fails", run: "good", step: "s" },
  { mode: "usual", run: "good", step: "s" },
  { mode: "usual", run: "below good" },
  { mode: "usual", run: "shared", labels: "workflow=support" },
  { mode: "most", run: "shared" },
  { mode: "resets", run: "shared", stream: true },
  { mode: "keeps-on", run: "first of two", stream: true, leaves: true, operation: "refund:1" },
  { mode: "tells-nothing", run: "second of two", operation: "refund:1" },
  { mode: "usual", run: "nobody's" },
  { mode: "usual", run: "broke" },
];

/** A tolerant one: it passes what has no price, is charged nothing for a failure, and stops what a client leaves. */
const TOLERANT: readonly Planned[] = [
  { mode: "usual", run: "good" },
  { mode: "usual", run: "good", model: UNPRICED },
  { mode: "fails", run: "good", stream: true },
  // It goes no further until its client has left.
  { mode: "waits", run: "left", stream: true, leaves: true },
  { mode: "resets", run: "left" },
  { mode: "most", run: "nobody's" },
];

export type Truth = {
  readonly tollgate: Tollgate;
  readonly tenants: readonly Tenant[];
  readonly upstream: TruthUpstream;
  /** What the provider bills this tenant for: the entries of its journal. */
  readonly invoice: (tenant: Tenant) => readonly Accepted[];
  readonly close: () => Promise<void>;
};

/** All of it played and settled: what nobody ever learns of is presumed. */
export async function playTruth(database: TestDatabase): Promise<Truth> {
  const modes = new Map<string, Mode>();
  const upstream = await startTruthUpstream(
    (tag) => modes.get(tag) ?? "usual",
    () => Promise.resolve("allow"),
  );
  const tollgate = await startTollgate({
    database,
    upstream: `http://127.0.0.1:${upstream.port}/v1`,
  });
  const strict = await tollgate.tenant({ guards: "off" });
  const tolerant = await tollgate.tenant({ mode: "tolerant", guards: "off" });
  await strict.run("good");
  await strict.run("below good", { parent: "good" });
  await strict.run("broke", { budgetUsd: "0.00" });
  for (const [tenant, plans] of [
    [strict, STRICT],
    [tolerant, TOLERANT],
  ] as const) {
    for (const [n, planned] of plans.entries()) {
      const tag = `${tenant.id}-${n}`;
      modes.set(tag, planned.mode);
      await ask(tenant, tag, planned);
    }
  }
  await upstream.quiet();
  await tollgate.settled();
  await shiftClock(tollgate.db, UNKNOWN_GRACE_MS + LEASE_MS);
  await tollgate.gateway.sweep();
  await tollgate.settled();
  await tellOutcomes(tollgate, strict, tolerant);
  return {
    tollgate,
    tenants: [strict, tolerant],
    upstream,
    invoice: ({ id }) => upstream.journal.filter(({ tag }) => tag.startsWith(`${id}-`)),
    close: async () => {
      await tollgate.close();
      await upstream.close();
    },
  };
}

/** By the official library, which throws what the gate or the upstream refuses. */
async function ask({ client }: Tenant, tag: string, planned: Planned): Promise<void> {
  const { run, step, operation, labels, leaves, stream, model = MODEL } = planned;
  const body = {
    model,
    user: tag,
    max_completion_tokens: 64,
    messages: [{ role: "user" as const, content: `${tag} says ${run}` }],
  };
  const headers = {
    "tollgate-run": run,
    "tollgate-customer": tag,
    ...(step === undefined ? {} : { "tollgate-step": step }),
    ...(operation === undefined ? {} : { "tollgate-operation": operation }),
    ...(labels === undefined ? {} : { "tollgate-labels": labels }),
  };
  try {
    if (stream !== true) {
      await client.chat.completions.create(body, { headers });
      return;
    }
    const events = await client.chat.completions.create({ ...body, stream: true }, { headers });
    for await (const _ of events) if (leaves === true) break;
  } catch (error) {
    // How it ended is the ledger's to say; that nothing else goes wrong is not.
    if (!(error instanceof APIError) && !(error instanceof TypeError)) throw error;
  }
}

async function tellOutcomes(tollgate: Tollgate, strict: Tenant, tolerant: Tenant): Promise<void> {
  for (const tenant of [strict, tolerant]) {
    for (const name of ["ticket_resolved", "refund_paid"]) {
      await act(tollgate, "outcome-types", { tenant: tenant.id, name, value_usd: "0.20" });
    }
  }
  const tell = (tenant: Tenant, subject: string, outcome: object) =>
    act(tollgate, `${subject}/outcome`, outcome, tenant.key);
  const resolved = { type: "ticket_resolved", status: "success" };
  await tell(strict, "runs/good", resolved);
  // Three shares of what does not divide by three.
  await tell(strict, "runs/shared", { ...resolved, key: "1" });
  await tell(strict, "runs/shared", { ...resolved, key: "2", weight: 2, status: "failure" });
  await tell(strict, "runs/shared", { type: "refund_paid", weight: 4, status: "partial" });
  await tell(strict, "operations/refund/1", { type: "refund_paid", status: "success" });
  await tell(strict, "runs/first%20of%20two", resolved);
  await tell(strict, "runs/broke", { ...resolved, status: "failure" });
  await tell(tolerant, "runs/good", resolved);
  await tell(tolerant, "runs/left", { ...resolved, status: "failure" });
}

/** What the ledger charges other than the provider bills is adjusted: a credit or debit of that attempt. */
export async function adjustToInvoice(truth: Truth, calls: readonly ChargedCall[]): Promise<void> {
  for (const { tenantId, attemptId, charged, billed } of calls) {
    if (charged === billed) continue;
    await act(truth.tollgate, "adjustments", {
      tenant: tenantId,
      amount_usd: usdFromPicousd(picousd(billed - charged)),
      reason: "as invoiced",
      attempt: attemptId,
    });
  }
}

async function act(tollgate: Tollgate, path: string, body: object, key = tollgate.adminKey) {
  const answer = await fetch(`${tollgate.url}/api/${path}`, {
    method: "POST",
    headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  if (answer.status !== 201) {
    throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
  }
}

/** One attempt as its last line tells it. */
export type ChargedCall = {
  readonly tenantId: string;
  readonly attemptId: string;
  readonly ending: string;
  readonly basis: string;
  readonly charged: bigint;
  readonly billed: bigint;
};

/** Every decision of the ledger beside what the provider bills for it; refused: `blocked`. */
export async function callsOf({ tollgate, upstream }: Truth): Promise<readonly ChargedCall[]> {
  const rows = await tollgate.rows<{
    readonly tenant: string;
    readonly attempt: string;
    readonly tag: string;
    readonly ending: string | null;
    readonly basis: string | null;
    readonly cost: string;
  }>(`
    select d.tenant_id as tenant, d.attempt_id as attempt, d.record #>> '{context,customer}' as tag,
           (array_agg(s.ending order by s.line desc))[1] as ending,
           (array_agg(s.basis order by s.line desc))[1] as basis, coalesce(sum(s.cost_picousd), 0)::text as cost
    from decisions d left join settlements s on s.tenant_id = d.tenant_id and s.attempt_id = d.attempt_id
    group by d.tenant_id, d.attempt_id, tag order by d.attempt_id`);
  return rows.map((row) => ({
    tenantId: row.tenant,
    attemptId: row.attempt,
    ending: row.ending ?? "blocked",
    basis: row.basis ?? "none",
    charged: BigInt(row.cost),
    billed: upstream.journal
      .filter(({ tag }) => tag === row.tag)
      .reduce((sum, { billed }) => sum + billed, 0n),
  }));
}
