import { describe, expect, test } from "vitest";
import {
  APPROVAL_STATES,
  approvalDigest,
  approvalState,
  judgeVote,
  STORED_AS,
  type ApprovalSubject,
  type Question,
  type Vote,
  type Voter,
} from "../../src/core/approval.ts";

const SUBJECT: ApprovalSubject = {
  tenantId: "ten_1",
  keyId: "key_1",
  runId: "run",
  stepId: "step",
  operation: "refund:order-123",
  door: "tool",
  act: "execute_tool",
  resource: "payments/refund",
  tool: "refund",
  customer: "acme",
  labels: { team: "red" },
  toolDefinition: "d".repeat(64),
  argumentsDigest: "a".repeat(64),
  policies: [
    { id: "b", version: "2" },
    { id: "a", version: "1" },
  ],
};

describe("the digest of an approval", () => {
  test("is SHA-256 of canonical JSON, which anybody can compute anew", () => {
    expect(approvalDigest(SUBJECT)).toBe(
      // printf '%s' '{"act":"execute_tool","arguments":"aaa…",…}' | sha256sum
      "8699c80bc90095b9df2f2b5cff88c441cb52dff4839157e90f2230729846baae",
    );
  });

  test("does not depend on the order in which the policies asked", () => {
    const policies = SUBJECT.policies.toReversed();
    expect(approvalDigest({ ...SUBJECT, policies })).toBe(approvalDigest(SUBJECT));
  });

  test.each<[string, Partial<ApprovalSubject>]>([
    ["tenant", { tenantId: "ten_2" }],
    ["key that asks", { keyId: "key_2" }],
    ["run", { runId: "run2" }],
    ["run that is not named", { runId: null }],
    ["step", { stepId: "step2" }],
    ["operation", { operation: "refund:order-124" }],
    ["door", { door: "step" }],
    ["resource", { resource: "payments/refund2" }],
    ["act", { act: "step" }],
    ["tool", { tool: "refund2" }],
    ["customer", { customer: null }],
    ["label", { labels: { team: "blue" } }],
    ["tool definition", { toolDefinition: `${"d".repeat(63)}e` }],
    ["byte of the arguments", { argumentsDigest: `${"a".repeat(63)}b` }],
    ["policy more", { policies: [...SUBJECT.policies, { id: "c", version: "1" }] }],
    ["policy less", { policies: SUBJECT.policies.slice(1) }],
    ["version of a policy", { policies: [{ id: "b", version: "3" }, SUBJECT.policies[1]!] }],
  ])("is another for another %s", (_, change) => {
    expect(approvalDigest({ ...SUBJECT, ...change })).not.toBe(approvalDigest(SUBJECT));
  });
});

test.each(APPROVAL_STATES)("the state %s is read as it is stored", (state) => {
  const { stored, isPast } = STORED_AS[state];
  for (const past of isPast === null ? [true, false] : [isPast]) {
    expect(approvalState(stored, past)).toBe(state);
  }
});

const QUESTION: Question = {
  state: "pending",
  digest: "d",
  role: null,
  quorum: 1,
  approvals: 0,
  isReadable: true,
};
const VOTER: Voter = { isRequester: false, role: null, voted: null };
const YES: Vote = { approves: true, digest: "d" };
const NO: Vote = { approves: false, digest: "d" };

describe("a vote", () => {
  test.each<[string, Partial<Question>, Partial<Voter>, Vote, object]>([
    ["approves", {}, {}, YES, { kind: "counts", next: "approved" }],
    ["denies", {}, {}, NO, { kind: "counts", next: "denied" }],
    ["is one of three", { quorum: 3 }, {}, YES, { kind: "counts", next: "pending" }],
    [
      "is the last of three",
      { quorum: 3, approvals: 2 },
      {},
      YES,
      { kind: "counts", next: "approved" },
    ],
    [
      "denies, however many approved",
      { quorum: 3, approvals: 2 },
      {},
      NO,
      { kind: "counts", next: "denied" },
    ],
    [
      "of the role counts",
      { role: "lead" },
      { role: "lead" },
      YES,
      { kind: "counts", next: "approved" },
    ],
    ["repeats itself", {}, { voted: "approved" }, YES, { kind: "repeat" }],
    [
      "repeats its no when all is over",
      { state: "denied" },
      { voted: "denied" },
      NO,
      { kind: "repeat" },
    ],
    [
      "repeats its yes when it was used",
      { state: "consumed" },
      { voted: "approved" },
      YES,
      { kind: "repeat" },
    ],
    [
      "may deny what nobody can read",
      { isReadable: false },
      {},
      NO,
      { kind: "counts", next: "denied" },
    ],
  ])("%s", (_, question, voter, vote, judged) => {
    expect(judgeVote({ ...QUESTION, ...question }, { ...VOTER, ...voter }, vote)).toEqual(judged);
  });

  /** Each row is broken in one more way than the next: the first one is told. */
  const broken = { role: "lead", state: "denied", isReadable: false } as const;
  test.each<[string, Partial<Question>, Partial<Voter>, Vote]>([
    ["requester", broken, { isRequester: true, voted: "denied" }, { ...YES, digest: "x" }],
    ["role_missing", broken, { voted: "denied" }, { ...YES, digest: "x" }],
    ["other_digest", broken, { role: "lead", voted: "denied" }, { ...YES, digest: "x" }],
    ["voted_otherwise", broken, { role: "lead", voted: "denied" }, YES],
    ["not_pending", broken, { role: "lead" }, YES],
    ["unreadable", { ...broken, state: "pending" }, { role: "lead" }, YES],
  ])("is refused first for: %s", (kind, question, voter, vote) => {
    const judged = judgeVote({ ...QUESTION, ...question }, { ...VOTER, ...voter }, vote);
    expect(judged).toMatchObject({ kind: "refused", why: { kind } });
  });

  test.each(["approved", "consumed", "denied", "cancelled", "expired", "lapsed"] as const)(
    "comes too late when it is %s, and is told so",
    (state) => {
      for (const vote of [YES, NO]) {
        const judged = judgeVote({ ...QUESTION, state }, VOTER, vote);
        expect(judged).toEqual({ kind: "refused", why: { kind: "not_pending", state } });
      }
    },
  );
});
