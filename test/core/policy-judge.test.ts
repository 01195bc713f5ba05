import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { decide } from "../../src/core/decide.ts";
import type { Facts, History } from "../../src/core/facts.ts";
import type { Intent } from "../../src/core/intent.ts";
import { HISTORY_ATTEMPTS_MAX, RISK_MAX, TAINT_RISK } from "../../src/core/limits-policy.ts";
import { needsFindings, needsHistory, unreadableBundle } from "../../src/core/policy-bundle.ts";
import { cpuMsOf } from "../support/cpu-time.ts";
import {
  bundleOf,
  factsOf,
  intentOf,
  type IntentTerms,
  judge,
  policies,
  policy,
} from "../support/judging.ts";

const HISTORY: History = {
  runAgeSeconds: 60,
  runAttempts: 3,
  runSpendPicousd: 5_000_000_000_000n,
  attempt: 2,
  priorStatus: "failed",
  taintedBy: null,
};

const BLOCK = policy("b", "true");
const APPROVE = policy("p", "true", "effect: require_approval");
const CLAMP = policy("c", "true", "effect: allow, obligations: { max_output_tokens: 50 }");
const BROKEN = policy("e", "labels.absent == 'x'", "effect: allow");
const SKIPPED = policy("s", "labels.absent == 'x'", "effect: block, on_error: skip");
const MISSED = policy("n", "false");

/** What a verdict comes to. */
function told(verdict: ReturnType<typeof judge>): string {
  if (verdict.kind === "block") return verdict.reason;
  if (verdict.kind === "reroute") return `to ${verdict.model}`;
  const { approval, estimate } = verdict;
  return `ask${approval === null ? "" : " with approval"}${estimate.clampedTo === null ? "" : ` of ${estimate.clampedTo}`}`;
}

describe("of several policies the strictest counts", () => {
  // Each row is broken in one more way than the one below it.
  const rows: [text: string, facts: Partial<Facts>, intent: IntentTerms, reason: string][] = [
    [
      policies(CLAMP, APPROVE, BROKEN, BLOCK),
      { caller: { ...factsOf().caller, scopes: [] } },
      {},
      "scope_missing",
    ],
    [policies(CLAMP, APPROVE, BROKEN, BLOCK), { price: null }, {}, "policy_denied"],
    [policies(CLAMP, APPROVE, BROKEN, MISSED), { price: null }, {}, "evaluator_unavailable"],
    [policies(CLAMP, APPROVE, MISSED, SKIPPED), { price: null }, {}, "price_unknown"],
    [policies(CLAMP, APPROVE, MISSED, SKIPPED), {}, {}, "ask with approval of 50"],
    [policies(CLAMP, MISSED, SKIPPED), {}, {}, "ask of 50"],
    [policies(MISSED, SKIPPED), {}, {}, "ask"],
  ];
  test.each(rows)("%s", (text, facts, intent, reason) => {
    expect(told(judge(text, facts, intent))).toBe(reason);
  });

  test("and shadow policies change nothing, but are told", () => {
    const shadow = (text: string) => text.replace(" }\n", ", mode: shadow }\n");
    const verdict = judge(policies(shadow(BLOCK), shadow(APPROVE), shadow(CLAMP), shadow(BROKEN)));
    expect(told(verdict)).toBe("ask");
    expect(verdict.policies?.shadow).toBe("block");
    expect(verdict.policies?.results.map(({ result }) => result)).toEqual([
      "matched",
      "matched",
      "matched",
      "error",
    ]);
    expect(judge(policies(shadow(CLAMP))).policies?.shadow).toBe("obligations");
    expect(judge(policies(shadow(APPROVE))).policies?.shadow).toBe("require_approval");
    expect(judge(policies(shadow(MISSED))).policies?.shadow).toBeNull();
    const larger = policy("larger", "true", "effect: require_approval, approval: { quorum: 2 }");
    expect(judge(policies(APPROVE, shadow(larger))).policies?.shadow).toBe("require_approval");
    expect(
      judge(policies(APPROVE, shadow(APPROVE.replace("id: ", "id: other-")))).policies?.shadow,
    ).toBeNull();
  });
});

describe("every policy of the bundle stands in the verdict", () => {
  test("matched or not, applicable or not, evaluated or not, whatever decided", () => {
    const text = policies(
      BLOCK,
      MISSED,
      BROKEN,
      policy("other", "true", "effect: block, applies_to: { doors: [step] }"),
      policy("glob", "true", "effect: block, applies_to: { resources: [gpt-*] }"),
      policy("routed", "true", "effect: allow, applies_to: { resources: [up/*] }, risk: 3"),
    );
    const { policies: judged } = judge(text);
    expect(judged?.results.map(({ id, result }) => `${id} ${result}`)).toEqual([
      "b matched",
      "n not_matched",
      "e error",
      "other not_applicable",
      "glob not_applicable",
      "routed matched",
    ]);
    expect(new Set(judged?.results.map(({ version }) => version)).size).toBe(6);
  });

  test("and says why in its own words, with the facts that it quotes, in one bounded line", () => {
    const reason = 'reason: "{estimate.cost} for {resource.name} by {key.id} in {run.id}"';
    const { policies: judged } = judge(
      policies(policy("a", "true", `effect: block, ${reason}`)),
      {},
      { resource: `a\nb${"x".repeat(900)}` },
    );
    const [{ why } = { why: null }] = judged?.results ?? [];
    expect(why).toMatch(/^\$0\.00000003 for a bx+… by key_a in r$/u);
  });
});

describe("what nobody looked at is never taken for nothing", () => {
  test.each([
    ["run.attempts > 10", { history: HISTORY }],
    ["retry.prior_status == 'unknown'", { history: HISTORY }],
    [
      "detectors.secrets > 0",
      { findings: { secrets: 0, pii: 0, injection: 0, found: [], complete: true, outside: [] } },
    ],
  ])("%s", (when, looked) => {
    const text = policies(policy("a", when));
    expect(told(judge(text))).toBe("evaluator_unavailable");
    expect(judge(text).policies?.results[0]?.unseen).not.toBeNull();
    expect(told(judge(text, looked))).toBe("ask");
  });

  test("what a reason alone quotes is looked at, and judged without", () => {
    const text = policies(policy("a", "true", 'effect: block, reason: "After {run.spend}."'));
    expect([...bundleOf(text).needs]).toContain("history");
    expect(judge(text, { history: HISTORY }).policies?.results[0]?.why).toBe("After $5.00.");
    expect(judge(text).policies?.results[0]).toMatchObject({
      result: "matched",
      why: "After unknown.",
    });
  });

  test("what a run of more attempts than are counted has cost counts as more than any amount", () => {
    const text = policies(policy("a", 'run.spend > usd("1000")'));
    const spent = (runAttempts: number) =>
      told(judge(text, { history: { ...HISTORY, runAttempts } }));
    expect(spent(HISTORY_ATTEMPTS_MAX - 1)).toBe("ask");
    expect(spent(HISTORY_ATTEMPTS_MAX)).toBe("policy_denied");
  });

  test("arguments that are too large to be judged are not judged by their beginning", () => {
    const text = policies(policy("a", "has(arguments.to) && arguments.to.contains('evil')"));
    const step = { door: "step" } as const;
    const ask = (given: Intent["arguments"]) =>
      told(judge(text, {}, given === undefined ? step : { ...step, arguments: given }));
    expect(ask({ to: "good" })).toBe("ask");
    expect(ask({ to: "evil" })).toBe("policy_denied");
    expect(ask({ to: `${" ".repeat(5_000)}evil` })).toBe("evaluator_unavailable");
    expect(ask({ to: Array.from({ length: 101 }, () => "x") })).toBe("evaluator_unavailable");
    expect(ask(undefined)).toBe("evaluator_unavailable");
  });

  test("an unknown cost counts as more than any amount", () => {
    const text = policies(policy("a", 'estimate.cost > usd("1000")'));
    const tolerant = { price: null, caller: { ...factsOf().caller, mode: "tolerant" as const } };
    expect(told(judge(text, tolerant))).toBe("policy_denied");
  });

  test("a bundle that cannot be read lets nothing pass", () => {
    const verdict = decide(factsOf({ bundle: unreadableBundle("pol_x", "gone") }), intentOf());
    expect(told(verdict)).toBe("evaluator_unavailable");
  });
});

describe("obligations", () => {
  test("lower what is asked, and never raise it", () => {
    const clamp = (most: number) =>
      policies(policy("c", "true", `effect: allow, obligations: { max_output_tokens: ${most} }`));
    const sent = (most: number, asked: number | null, clampedTo: number | null = null) => {
      const verdict = judge(clamp(most), { clampedTo }, { demand: { outputTokensMax: asked } });
      return verdict.kind === "ask"
        ? [verdict.estimate.outputTokensMax, verdict.estimate.clampedTo]
        : null;
    };
    expect(sent(50, 100)).toEqual([50, 50]);
    expect(sent(50, 20)).toEqual([null, null]);
    expect(sent(50, null)).toEqual([50, 50]);
    expect(sent(5_000, null)).toEqual([1_000, null]);
    expect(sent(50, 100, 30)).toEqual([30, 30]);
    expect(sent(50, 100, 70)).toEqual([50, 50]);
  });

  test("are in what is reserved", () => {
    const verdict = judge(policies(CLAMP), {}, { demand: { outputTokensMax: 100 } });
    expect(verdict.kind === "ask" && verdict.estimate.costPicousd).toBe(2_000n * 10n + 50n * 100n);
  });

  test("have a call go to another model, once, and never a form", () => {
    const text = policies(policy("r", "true", "effect: allow, obligations: { model: small }"));
    expect(told(judge(text))).toBe("to small");
    expect(told(judge(text, { rerouted: { model: "small", policy: "r" } }))).toBe("ask");
    expect(told(judge(text, {}, { operation: "transcription" }))).toBe("policy_denied");
  });
});

describe("approval", () => {
  const ask = (terms: string) =>
    policy("x", "true", `effect: require_approval, approval: ${terms}`);
  test("of several policies takes the largest quorum and the shortest time", () => {
    const verdict = judge(
      policies(
        ask("{ quorum: 3, expires_in: 2h }"),
        ask("{ quorum: 1, role: finance, expires_in: 30m }").replace("id: x", "id: y"),
      ),
    );
    expect(verdict.kind === "ask" && verdict.approval).toMatchObject({
      quorum: 3,
      role: "finance",
      expiresInMs: 1_800_000,
      policies: [{ id: "x" }, { id: "y" }],
    });
  });

  test("by two roles is one that nobody can give", () => {
    const text = policies(ask("{ role: a }"), ask("{ role: b }").replace("id: x", "id: y"));
    expect(told(judge(text))).toBe("policy_denied");
  });
});

describe("what policies have redacted", () => {
  const redact = (id: string, names: string, more = "") =>
    policy(id, "true", `effect: allow, obligations: { redact: [${names}] }${more}`);
  const mail = { kind: "email", group: "pii" as const, count: 1 };
  const seen = { secrets: 0, pii: 1, injection: 0, found: [mail], complete: true, outside: [] };
  const CLEAN = redact("r", "pii");
  const rows: [
    what: string,
    text: string,
    facts: Partial<Facts>,
    intent: IntentTerms,
    expected: RegExp | readonly string[],
  ][] = [
    ["is replaced where it was found", CLEAN, { findings: seen }, {}, ["pii"]],
    ["is nothing where nothing was", redact("r", "secrets"), { findings: seen }, {}, []],
    [
      "is all that any of them names",
      redact("a", "email") + redact("b", "secrets"),
      { findings: seen },
      {},
      ["secrets", "email"],
    ],
    ["is nothing in shadow", redact("r", "pii", ", mode: shadow"), { findings: seen }, {}, []],
    [
      "is not sent where it stands elsewhere",
      CLEAN,
      { findings: { ...seen, outside: ["email"] } },
      {},
      /email outside its content/u,
    ],
    [
      "and is where only others do",
      redact("r", "email"),
      { findings: { ...seen, outside: ["jwt"] } },
      {},
      ["email"],
    ],
    [
      "is not known where not all was searched",
      CLEAN,
      { findings: { ...seen, complete: false } },
      {},
      /not all texts/u,
    ],
    [
      "stays with a caller that acts itself",
      CLEAN,
      { findings: seen },
      { door: "step" },
      /its caller acts itself/u,
    ],
    [
      "stays in what is not rewritten",
      CLEAN,
      { findings: seen },
      { operation: "speech" },
      /a call for speech is not rewritten/u,
    ],
    ["was not looked for", CLEAN, {}, {}, /the texts that it asks about were not searched/u],
    [
      "does not matter where another blocks",
      BLOCK + CLEAN,
      { findings: seen },
      {},
      /Policy `b` blocks this/u,
    ],
  ];
  test.each(rows)("%s", (_what, text, facts, intent, expected) => {
    const verdict = judge(policies(text), facts, intent);
    if (verdict.kind === "block") expect(verdict.message).toMatch(expected as RegExp);
    else expect(verdict).toMatchObject({ kind: "ask", redact: expected });
  });

  test("has texts searched, and in shadow is told as other terms", () => {
    expect(needsFindings(bundleOf(policies(CLEAN)))).toBe(true);
    expect(needsFindings(bundleOf(policies(CLAMP)))).toBe(false);
    const shadow = policies(redact("r", "pii", ", mode: shadow"));
    expect(judge(shadow, { findings: seen }).policies?.shadow).toBe("obligations");
    expect(
      judge(policies(CLEAN, redact("s", "pii", ", mode: shadow")), { findings: seen }).policies
        ?.shadow,
    ).toBeNull();
  });
});

describe("the risk score", () => {
  test("is the sum of what matched, with its inputs, and at most 100", () => {
    const weigh = (id: string, when: string, risk: number, mode = "enforce") =>
      policy(id, when, `effect: allow, risk: ${risk}, mode: ${mode}`);
    const found = [{ kind: "aws_access_key", group: "secrets" as const, count: 3 }];
    const findings = { secrets: 3, pii: 0, injection: 0, found, complete: true, outside: [] };
    const text = policies(
      weigh("a", "true", 30),
      weigh("b", "false", 50),
      weigh("c", "true", 9, "shadow"),
    );
    expect(judge(text, { findings }).policies?.risk).toEqual({
      score: 70,
      inputs: [
        { of: "policy:a", weight: 30 },
        { of: "detector:aws_access_key", weight: 40 },
      ],
    });
    const much = policies(weigh("a", "true", 90), weigh("b", "true", 90));
    expect(judge(much).policies?.risk.score).toBe(RISK_MAX);
  });

  test("is higher in a run that has read what is not trusted, and says from where", () => {
    const risk = (history: History | null) =>
      judge(policies(MISSED), { history }, { door: "tool" }).policies?.risk;
    expect(risk(null)).toEqual({ score: 0, inputs: [] });
    expect(risk(HISTORY)).toEqual({ score: 0, inputs: [] });
    expect(risk({ ...HISTORY, taintedBy: "web/fetch" })).toEqual({
      score: TAINT_RISK,
      inputs: [{ of: "taint:web/fetch", weight: TAINT_RISK }],
    });
  });
});

describe("a tainted run", () => {
  const text = policies(
    policy("t", "run.tainted", 'effect: block, reason: "It has read {run.tainted_by}."'),
  );
  const after = (history: Partial<History>) => {
    const verdict = judge(text, { history: { ...HISTORY, ...history } }, { door: "tool" });
    return verdict.kind === "block" ? verdict.message : verdict.kind;
  };

  test("is one whose first untrusted tool is known", () => {
    expect(after({})).toBe("ask");
    expect(after({ taintedBy: "web/fetch" })).toMatch(/It has read web\/fetch\.$/u);
  });

  test("is any of which more was done than is looked at", () => {
    expect(after({ runAttempts: HISTORY_ATTEMPTS_MAX - 1 })).toBe("ask");
    expect(after({ runAttempts: HISTORY_ATTEMPTS_MAX })).toMatch(/^Policy `t` blocks this/u);
  });
});

describe("what went before is looked at", () => {
  const at = (door: string) => `effect: block, applies_to: { doors: [${door}] }`;
  const quoting = 'effect: block, reason: "After {run.spend}."';
  test.each<[what: string, text: string, doors: readonly string[]]>([
    ["for every act that a policy is about, for its risk", policies(MISSED), ["tool", "step"]],
    ["for none that none is about", policies(policy("a", "false", at("model"))), []],
    [
      "for acts of the door that one is about",
      policies(policy("a", "false", at("tool"))),
      ["tool"],
    ],
    [
      "for model calls where a policy about these reads it",
      policies(policy("a", "run.tainted", at("model"))),
      ["model"],
    ],
    [
      "and not where one about others does",
      policies(policy("a", "run.tainted", at("'tool', step")), policy("b", "false", at("model"))),
      ["tool", "step"],
    ],
    ["or quotes it", policies(policy("a", "false", quoting)), ["model", "tool", "step"]],
    [
      "and in shadow as well",
      policies(policy("a", "run.tainted", `${at("model")}, mode: shadow`)),
      ["model"],
    ],
  ])("%s", (_what, source, doors) => {
    const bundle = bundleOf(source);
    const all = ["model", "tool", "step"] as const;
    expect(all.filter((door) => needsHistory(bundle, intentOf({ door })))).toEqual(doors);
    expect(needsHistory(null, intentOf({ door: "tool" }))).toBe(false);
  });
});

describe("evaluating takes its time and no more", () => {
  test("a pattern that is exponential elsewhere is linear here", () => {
    const text = policies(policy("a", 'client.user_agent.matches("^(a+)+$")'));
    const client = {
      userAgent: `${"a".repeat(255)}!`,
      sdk: null,
      sdkRetryCount: 0,
      isCodex: false,
    };
    const bundle = bundleOf(text);
    const ms = cpuMsOf(() => {
      for (let i = 0; i < 100; i += 1) decide(factsOf({ bundle }), intentOf({ client }));
    });
    // The first 27 characters alone take a JavaScript RegExp ten seconds.
    expect(ms).toBeLessThan(1_000);
  });

  test("the dearest bundle that is let in is judged in less than 100 ms", () => {
    const when = "arguments.a.all(i, i.x.contains('b') || i.y.contains('c'))";
    const text = policies(...Array.from({ length: 40 }, (_, i) => policy(`p${i}`, when)));
    const bundle = bundleOf(text);
    const a = Array.from({ length: 100 }, () => ({ x: "a".repeat(100), y: "cb" }));
    const intent = intentOf({ door: "step", arguments: { a } });
    const facts = factsOf({ bundle });
    decide(facts, intent);
    const ms = cpuMsOf(() => expect(decide(facts, intent).kind).toBe("block"));
    expect(ms).toBeLessThan(100);
  });
});

test("the same facts and the same bundle give the same verdict", () => {
  const whens = [
    "request.stream",
    "run.attempts > 2",
    "estimate.cost > usd('0.00000001') && resource.name.startsWith('m')",
    "labels.team == 'red'",
    "key.labels.team == 'red'",
    "time.hour < 12 || time.weekday > 5",
    "request.input_bytes > 1000 && 'file' in request.unbounded",
    "retry.prior_status == 'failed'",
  ];
  const mores = [
    "effect: block",
    "effect: require_approval",
    "effect: allow, obligations: { max_output_tokens: 20 }",
    "effect: block, mode: shadow",
    "effect: block, on_error: skip",
    "effect: allow, risk: 10",
  ];
  const some = fc.array(fc.tuple(fc.constantFrom(...whens), fc.constantFrom(...mores)), {
    minLength: 1,
    maxLength: 12,
  });
  const asked = fc.record({
    stream: fc.boolean(),
    inputBytes: fc.nat(5_000),
    hour: fc.nat(23),
    label: fc.constantFrom("red", "blue", null),
    attempts: fc.option(fc.nat(5)),
  });
  fc.assert(
    fc.property(some, asked, (chosen, { stream, inputBytes, hour, label, attempts }) => {
      const text = policies(...chosen.map(([when, more], at) => policy(`p${at}`, when, more)));
      const verdict = () =>
        judge(
          text,
          {
            now: new Date(Date.UTC(2026, 0, 1, hour)),
            keyLabels: label === null ? {} : { team: label },
            history: attempts === null ? null : { ...HISTORY, runAttempts: attempts },
          },
          { stream, demand: { inputBytes } },
        );
      expect(verdict()).toEqual(verdict());
    }),
    { numRuns: 200 },
  );
});

test("who exceeds the maximum that the call named is told what can be lowered there", () => {
  const context = { ...intentOf().context, costPicousdMax: 1n };
  const told = (intent: IntentTerms) => decide(factsOf(), intentOf({ context, ...intent }));
  expect(told({})).toMatchObject({ message: expect.stringMatching(/maximum output tokens/u) });
  const act = {
    door: "step",
    operation: "step",
    billing: "stated",
    costStatedPicousd: 2n,
  } as const;
  expect(told(act)).toMatchObject({
    message: expect.stringMatching(
      /than its own Tollgate-Max-Cost of \$0\.000000000001\. Ask with a lower `estimate_usd`/u,
    ),
  });
});
