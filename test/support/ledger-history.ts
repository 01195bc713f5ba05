/** Histories of a ledger, posted and settled by the gate's own statements: for what must hold after any of them. */
import { postApprovalCost } from "../../src/store/approvals.ts";
import { insertAdjustment } from "../../src/store/adjustments.ts";
import { post, type Ask } from "../../src/store/posting.ts";
import { settle, type Settlement } from "../../src/store/settlement.ts";
import { newId } from "./approvals.ts";
import type { Random } from "../sim/random.ts";
import type { TestDatabase } from "./databases.ts";

const RUNS = ["run_a", "run_b", "run_c", "run_d"];
const OPERATIONS = ["refund:1", "refund:2"];

export async function newTenant({ db }: TestDatabase): Promise<string> {
  const tenantId = `ten_${newId()}`;
  await db.admin`insert into tenants (tenant_id, name) values (${tenantId}, ${tenantId})`;
  return tenantId;
}

export function askOf(
  tenantId: string,
  given: Partial<Ask> & { readonly context?: object } = {},
): Ask {
  const { context = {}, ...ask } = given;
  return {
    attemptId: `att_${newId()}`,
    tenantId,
    keyId: "key_a",
    runId: "run_a",
    runNamed: true,
    stepId: null,
    stepDigest: null,
    contentDigest: null,
    retryResource: "model:m",
    door: "model",
    operation: "chat",
    resource: "m",
    upstream: "up",
    model: "m",
    judgedReason: null,
    costPicousd: 1_000n,
    tokens: 10,
    priceVersion: "price",
    final: true,
    deadlineMs: 60_000,
    record: JSON.stringify({ context }),
    refs: [],
    extra: null,
    ...ask,
  };
}

export function settlementOf(ask: Ask, given: Partial<Settlement> = {}): Settlement {
  return {
    tenantId: ask.tenantId,
    attemptId: ask.attemptId,
    ending: "succeeded",
    basis: "computed",
    costPicousd: 100n,
    tokens: 5,
    requests: 1,
    priceVersion: "price",
    usage: '{"input":3,"cache_read":1,"output":1}',
    record: "{}",
    ...given,
  };
}

export type Told = {
  readonly subject: string;
  readonly type?: string;
  readonly key?: string;
  readonly weight?: number;
  readonly status?: string;
  readonly supersedes?: { readonly id: string; readonly root: string };
};

export async function tell({ db }: TestDatabase, tenantId: string, told: Told) {
  const id = `out_${newId()}`;
  const root = told.supersedes?.root ?? id;
  await db.admin`
    insert into outcome_types (tenant_id, name, description) values (${tenantId}, ${told.type ?? "ticket_resolved"}, '')
    on conflict do nothing`;
  await db.admin`
    insert into outcomes (tenant_id, outcome_id, root_id, supersedes, type, subject_kind, subject, key, status, weight,
                          occurred_at, recorded_by)
    values (${tenantId}, ${id}, ${root}, ${told.supersedes?.id ?? null}, ${told.type ?? "ticket_resolved"},
            ${told.subject.includes(":") ? "operation" : "run"}, ${told.subject}, ${told.key ?? ""},
            ${told.status ?? "success"}, ${told.weight ?? 1}, tollgate_now(), 'key_a')`;
  return { id, root };
}

/** A question about this call, denied by a person whose time has a price. */
async function answer({ db }: TestDatabase, { tenantId, attemptId, runId }: Ask, price: bigint) {
  const approvalId = `apr_${newId()}`;
  await db.admin`
    insert into approvals (tenant_id, approval_id, digest, state, requested_by, run_id, attempt_id, door, resource,
                           policies, quorum, expires_at)
    values (${tenantId}, ${approvalId}, ${approvalId}, 'denied', 'key_a', ${runId}, ${attemptId}, 'model', 'm',
            '[]', 1, tollgate_now())`;
  await db.admin`
    update tenants set approval_picousd = ${String(price)}::text::numeric where tenant_id = ${tenantId}`;
  const by = { attemptId: `att_${newId()}`, keyId: "key_b" };
  await postApprovalCost(db.admin, { tenantId, approvalId }, by);
}

/** Credits where the amount is negative; of an attempt and its run, of a run, or of neither. */
export async function adjust(
  { db }: TestDatabase,
  tenantId: string,
  of: { readonly attempt: string | null; readonly run: string | null },
  amountPicousd: bigint,
): Promise<string> {
  const adjustmentId = `adj_${newId()}`;
  await insertAdjustment(db.admin, {
    tenantId,
    adjustmentId,
    amountPicousd,
    reason: "credit note 17",
    actor: "installation",
    attemptId: of.attempt,
    runId: of.run,
  });
  return adjustmentId;
}

/** Asks, settles, presumes, corrects, refuses, answers for money and adjusts, and tells and corrects outcomes, in any order. */
export function createHistory(database: TestDatabase, tenantId: string, random: Random) {
  const { gate } = database.db;
  const open: Ask[] = [];
  const presumed: Ask[] = [];
  const asked: Ask[] = [];
  const told = new Map<string, { readonly id: string; readonly root: string }>();
  const acts = {
    ask: async () => {
      const asks = Array.from({ length: 1 + random.below(4) }, () =>
        askOf(tenantId, {
          runId: random.pick(RUNS),
          keyId: random.pick(["key_a", "key_b"]),
          model: random.pick(["m", "n"]),
          ...random.pick([{ stepId: "s", stepDigest: `digest ${random.pick(RUNS)}` }, {}]),
          context: {
            customer: random.pick(["acme", null]),
            operation: random.pick([...OPERATIONS, null]),
            labels: random.pick([{}, { workflow: "support" }]),
          },
        }),
      );
      await post(gate, "rep", asks);
      open.push(...asks);
      asked.push(...asks);
    },
    refuse: async () => {
      await post(gate, "rep", [askOf(tenantId, { judgedReason: "policy_denied", final: true })]);
    },
    settle: async () => {
      const ask = open.pop();
      if (ask === undefined) return;
      const cost = BigInt(random.below(1_000));
      await settle(gate, [
        random.pick([
          settlementOf(ask, { costPicousd: cost }),
          settlementOf(ask, { ending: "failed", costPicousd: cost }),
          settlementOf(ask, { ending: "aborted", basis: "estimated", costPicousd: cost }),
          settlementOf(ask, { basis: "unpriced", costPicousd: null }),
        ]),
      ]);
    },
    presume: async () => {
      const ask = open.pop();
      if (ask === undefined) return;
      await settle(gate, [
        settlementOf(ask, { ending: "unknown", basis: "presumed", costPicousd: 999n }),
      ]);
      presumed.push(ask);
    },
    correct: async () => {
      const ask = presumed.pop();
      if (ask !== undefined) {
        await settle(gate, [settlementOf(ask, { costPicousd: BigInt(random.below(2_000)) })]);
      }
    },
    answer: async () => {
      const ask = open.at(-1);
      if (ask !== undefined) await answer(database, ask, BigInt(1 + random.below(3_000)));
    },
    adjust: async () => {
      const of = asked.length === 0 ? null : random.pick(asked);
      await adjust(
        database,
        tenantId,
        random.pick([
          { attempt: of?.attemptId ?? null, run: of?.runId ?? null },
          { attempt: null, run: of?.runId ?? null },
          { attempt: null, run: null },
        ]),
        BigInt(random.below(500)) - 250n || 1n,
      );
    },
    tell: async () => {
      const subject = random.pick([...RUNS, ...OPERATIONS]);
      const key = random.pick(["", "1", "2"]);
      const name = `${subject} ${key}`;
      const before = told.get(name);
      const now = await tell(database, tenantId, {
        subject,
        key,
        weight: random.below(4),
        status: random.pick(["success", "failure", "reversed"]),
        ...(before === undefined ? {} : { supersedes: before }),
      });
      told.set(name, now);
    },
  };
  return async () => {
    await random.pick(Object.values(acts))();
  };
}
