/** What the declaration of a tool and its standing say of a call, beside policies. */
import { describe, expect, test } from "vitest";
import type { Intent, ToolListed } from "../../src/core/intent.ts";
import type { Approval } from "../../src/core/policy-judge.ts";
import type { ToolApproval } from "../../src/core/tool.ts";
import { whyNotCallable, withDeclared } from "../../src/core/tool-judge.ts";
import { intentOf } from "../gate/gate-on.ts";

const callOf = (
  standing: ToolListed["standing"] | null,
  approval: ToolApproval | null = null,
): Intent => ({
  ...intentOf({}),
  door: "tool",
  operation: "execute_tool",
  billing: "stated",
  resource: "pay/wire",
  act: {
    effectClass: "effectful",
    effect: null,
    extracted: null,
    listed: standing === null ? null : { standing, definition: "d".repeat(64) },
    approval,
  },
});

describe("a tool", () => {
  test.each([
    ["not_allowed", "tool_not_allowed"],
    ["undeclared", "tool_undeclared"],
    ["quarantined", "tool_quarantined"],
  ] as const)("that is %s is not called", (standing, reason) => {
    const refused = whyNotCallable(callOf(standing));
    expect(refused).toMatchObject({ reason, param: "name" });
    expect(refused?.message).toContain("`pay/wire`");
  });

  test.each(["callable", "observed", null] as const)("that is %s may be", (standing) => {
    expect(whyNotCallable(callOf(standing))).toBeNull();
  });
});

const POLICIES: Approval = {
  quorum: 2,
  role: "finance",
  expiresInMs: 60_000,
  policies: [{ id: "large", version: "v", reason: "It is large." }],
};

describe("whoever must approve a call", () => {
  test("is whom policies ask, where nothing is declared", () => {
    expect(withDeclared(POLICIES, callOf("callable"))).toEqual({
      kind: "asks",
      approval: POLICIES,
    });
    expect(withDeclared(null, callOf("callable"))).toEqual({ kind: "asks", approval: null });
  });

  test("is whom the declaration asks, where no policy does, of exactly this definition", () => {
    const asked = withDeclared(null, callOf("callable", { quorum: 1, role: "ops" }));
    expect(asked).toEqual({
      kind: "asks",
      approval: {
        quorum: 1,
        role: "ops",
        expiresInMs: 86_400_000,
        policies: [
          {
            id: "tool:pay/wire",
            version: "d".repeat(64),
            reason: "Its declaration has people approve each call.",
          },
        ],
      },
    });
  });

  test("is the stricter of both", () => {
    const asked = withDeclared(POLICIES, callOf("callable", { quorum: 3, role: null }));
    expect(asked).toMatchObject({
      kind: "asks",
      approval: { quorum: 3, role: "finance", expiresInMs: 60_000 },
    });
    expect(asked.kind === "asks" && asked.approval?.policies.map(({ id }) => id)).toEqual([
      "large",
      "tool:pay/wire",
    ]);
  });

  test("is nobody where both ask for other roles, and nothing passes", () => {
    const asked = withDeclared(POLICIES, callOf("callable", { quorum: 1, role: "ops" }));
    expect(asked).toMatchObject({ kind: "refused", refusal: { reason: "policy_denied" } });
  });
});
