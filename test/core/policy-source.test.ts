import { describe, expect, test } from "vitest";
import { BUNDLE_BYTES_MAX, EXPRESSION_COST_MAX } from "../../src/core/limits-policy.ts";
import { isVersion } from "../../src/core/policy.ts";
import { loadBundle, readBundle } from "../../src/core/policy-source.ts";
import { STARTER_POLICIES } from "../../src/entry/cli/starter-policies.ts";
import { policies, policy } from "../support/judging.ts";

const SOUND = `
# A comment, which is not part of what judges.
policies:
  - id: dear
    when: estimate.cost > usd("5")
    effect: require_approval
    approval: { quorum: 2, role: finance, expires_in: 2h }
    reason: "It could cost {estimate.cost}."
`;

function problemsOf(text: string): readonly string[] {
  const reading = readBundle(text);
  if (reading.kind === "sound") throw new Error("it is sound");
  return reading.problems.map(({ line, column, message }) => `${line}:${column} ${message}`);
}

function versionOf(text: string): string {
  const reading = readBundle(text);
  if (reading.kind === "broken") throw new Error(JSON.stringify(reading.problems));
  return reading.version;
}

describe("a bundle's version", () => {
  test("is the hash of what judges, whatever its comments, order of members and defaults", () => {
    const other = `{"policies": [{"effect": "require_approval", "id": "dear", "name": "dear", "mode": "enforce",
      "approval": {"expires_in": "120m", "role": "finance", "quorum": 2}, "risk": 0,
      "when": "estimate.cost > usd(\\"5\\")", "reason": "It could cost {estimate.cost}."}]}`;
    expect(isVersion(versionOf(SOUND))).toBe(true);
    expect(versionOf(other)).toBe(versionOf(SOUND));
  });

  test.each([
    ["a weight", "effect: block, risk: 1"],
    ["a mode", "effect: block, mode: shadow"],
    ["a name", "effect: block, name: x"],
    ["an effect", "effect: allow"],
  ])("changes with %s", (_what, more) => {
    const plain = versionOf(policies(policy("a", "request.stream")));
    expect(versionOf(policies(policy("a", "request.stream", more)))).not.toBe(plain);
  });

  test("stays what it was before obligations could redact", () => {
    // The policies that there were then.
    const starter = STARTER_POLICIES.slice(0, STARTER_POLICIES.indexOf("  # What a tool answers"));
    expect(versionOf(starter)).toBe(
      "pol_5e74af09bbe3687e8da1ffdebcc0d4cdef13592b59f8c0122a5c84cac28e265a",
    );
  });

  test("is the same for what is redacted in another order", () => {
    const redacting = (names: string) =>
      versionOf(
        policies(policy("a", "true", `effect: allow, obligations: { redact: [${names}] }`)),
      );
    expect(redacting("email, secrets, email")).toBe(redacting("secrets, email"));
    expect(redacting("secrets")).not.toBe(redacting("secrets, email"));
  });

  test.each([
    ["terms of an approval", SOUND],
    ["a redaction", policies(policy("a", "true", "effect: allow, obligations: { redact: [all] }"))],
  ])("is that of its content, read back, with %s", (_what, text) => {
    const reading = readBundle(text);
    if (reading.kind === "broken") throw new Error("broken");
    expect(versionOf(reading.content)).toBe(reading.version);
    expect(loadBundle(reading.version, reading.content).unreadable).toBeNull();
  });

  test("that its content does not have lets nothing be judged", () => {
    const { version } = loadBundle(versionOf(SOUND), "{}");
    expect(loadBundle(version, "{}").unreadable).toMatch(/not what the version was made of/u);
  });
});

describe("a mistake in a bundle is told with its line and column", () => {
  test.each<[what: string, text: string, told: RegExp]>([
    ["no list", "policies: 3", /^1:11 policies must be a list of policies/u],
    ["nothing", "", /^1:1 policies is missing/u],
    ["YAML that is none", "policies: [", /^1:\d+ .*(bracket|missing|indentation)/u],
    [
      "a mistyped member",
      policies('  - id: a\n    when: "true"\n    effect: block\n    mod: shadow\n'),
      /^5:5 unknown key mod\. Did you mean mode\?/u,
    ],
    [
      "a fact that is none",
      policies(policy("a", "run.attemps > 1")),
      /^2:\d+ when: No such key: attemps \(at character 5\)/u,
    ],
    ["a root that is none", policies(policy("a", "runs.attempts > 1")), /Unknown variable: runs/u],
    [
      "two types compared",
      policies(policy("a", 'run.attempts > "1"')),
      /no such overload: int > string/u,
    ],
    [
      "no truth value",
      policies(policy("a", "run.attempts")),
      /true or false; this one is of type int/u,
    ],
    ["half an expression", policies(policy("a", "run.attempts >")), /when: Unexpected token: EOF/u],
    [
      "an amount that is none",
      policies(policy("a", 'estimate.cost > usd("x")')),
      /when: .*\(at character 21\)/u,
    ],
    [
      "a pattern that is none",
      policies(policy("a", 'run.id.matches("(")')),
      /when: error parsing regexp: missing closing \)/u,
    ],
    [
      "a pattern that is not written out",
      policies(policy("a", "run.id.matches(customer)")),
      /pattern that is written out/u,
    ],
    [
      "an unknown function",
      policies(policy("a", 'run.id.split(",") == []')),
      /split cannot be used here/u,
    ],
    [
      "a reason that quotes no fact",
      policies(policy("a", "true", 'effect: block, reason: "{run.x}"')),
      /quotes \{run\.x\}, which is no fact/u,
    ],
    [
      "a reason that quotes arguments",
      policies(policy("a", "true", 'effect: block, reason: "{arguments}"')),
      /which is no single value/u,
    ],
    [
      "an id twice",
      policies(policy("a", "true"), policy("a", "false")),
      /^3:\d+ the id a stands twice/u,
    ],
    [
      "a redaction that names nothing",
      policies(policy("a", "true", "effect: allow, obligations: { redact: [] }")),
      /redact must be a list such as \[secrets, email\]/u,
    ],
    [
      "a redaction of what nobody looks for",
      policies(policy("a", "true", "effect: allow, obligations: { redact: [emails] }")),
      /must be a kind of finding, a group of them, or all/u,
    ],
    [
      "approval terms of a block",
      policies(policy("a", "true", "effect: block, approval: { quorum: 1 }")),
      /approval belongs to the effect require_approval/u,
    ],
    [
      "obligations of a block",
      policies(policy("a", "true", "effect: block, obligations: { model: m }")),
      /obligations belong to the effect allow/u,
    ],
    [
      "a quorum of none",
      policies(policy("a", "true", "effect: require_approval, approval: { quorum: 0 }")),
      /quorum must be a whole number from 1/u,
    ],
    [
      "a wait without an end",
      policies(policy("a", "true", "effect: require_approval, approval: { expires_in: 99d }")),
      /expires_in must be a while such as/u,
    ],
    ["a text beyond its limit", `# ${"x".repeat(BUNDLE_BYTES_MAX)}`, /at most \d+ bytes/u],
    [
      "too many policies",
      policies(...Array.from({ length: 101 }, (_, i) => policy(`p${i}`, "true"))),
      /at most 100 policies/u,
    ],
  ])("%s", (_what, text, told) => {
    expect(problemsOf(text)[0]).toMatch(told);
  });

  test("a door that is none: a policy about it would match nothing", () => {
    const text = policies(policy("a", "true", "effect: block, applies_to: { doors: [tools] }"));
    expect(problemsOf(text)[0]).toMatch(
      /one of model, tool, step; tools that callers run come through step/u,
    );
  });

  test("all of them at once", () => {
    const text = policies(policy("a", "nothing"), policy("b", "run.attempts"), policy("c", "true"));
    expect(problemsOf(text)).toHaveLength(2);
  });

  test("all of one policy and of those beside it", () => {
    const told = problemsOf(`policies:
  - { id: a, when: estimte.cost > 1, effect: blok, reason: "{estimte.cost}" }
  - { id: b, when: run.attemps > 1, effect: block, mod: shadow }
  - { id: a, when: 5, effect: block }
`);
    expect(told.map((each) => each.replace(/^(\d+):\d+ /, "$1 "))).toEqual([
      expect.stringMatching(/^2 when: Unknown variable: estimte/),
      expect.stringMatching(/^2 policies\[0\]\.effect must be one of/),
      expect.stringMatching(/^2 reason quotes \{estimte\.cost\}/),
      expect.stringMatching(/^3 when: No such key: attemps/),
      expect.stringMatching(/^3 unknown key mod\. Did you mean mode\?/),
      expect.stringMatching(/^4 the id a stands twice/),
      expect.stringMatching(/^4 policies\[2\]\.when must be a CEL expression/),
    ]);
  });

  test("a NUL in an expression, which the database could not store", () => {
    const text = "policies:\n  - { id: a, when: \"customer == '\\0'\", effect: block }\n";
    expect(problemsOf(text)[0]).toMatch(/none of them NUL/u);
  });

  test("a hundred at most, whatever there is", () => {
    const keys = Array.from({ length: 70 }, (_, i) => `k${i}: 1`).join(", ");
    const text = policies(...Array.from({ length: 90 }, () => `  - { id: x, ${keys} }`));
    expect(problemsOf(text)).toHaveLength(100);
  });

  test("thousands of policies are told once, before each is looked at", () => {
    const told = problemsOf(`policies:\n${"- id: x\n".repeat(12_000)}`);
    expect(told).toEqual(["1:1 at most 100 policies and 10000 values in a bundle"]);
  });

  test("and `${…}` reads no environment", () => {
    const text = policies(policy("a", 'customer == "${HOME}"'));
    const reading = readBundle(text);
    expect(reading.kind === "sound" && reading.content).toContain("${HOME}");
  });
});

describe("what evaluating could cost is bounded before it is stored", () => {
  test.each<[what: string, when: string, told: RegExp]>([
    [
      "a comprehension over arguments inside another",
      "arguments.a.all(i, arguments.b.all(j, i.x.contains(j.y)))",
      new RegExp(`steps, and ${EXPRESSION_COST_MAX} are allowed`, "u"),
    ],
    [
      // It took 103 ms, and was counted as 62,507 steps.
      "comparing lists of lists of arguments",
      "arguments.c.map(x, arguments.c.map(y, arguments.a)) == arguments.c.map(x, arguments.c.map(y, arguments.b))",
      /steps, and/u,
    ],
    [
      // 217 ms, and counted as 8,000.
      "looking for one argument in another, again and again",
      "arguments.c.exists(x, arguments.a.contains(arguments.b))",
      /steps, and/u,
    ],
    [
      "three comprehensions inside each other",
      "key.scopes.all(a, key.scopes.all(b, key.scopes.all(c, a == b || b == c)))",
      /at most 2 deep/u,
    ],
    [
      "a tree of too many nodes",
      Array.from({ length: 120 }, () => "request.stream").join(" || "),
      /nodes/iu,
    ],
    [
      "a tree that is too deep",
      `${"!(".repeat(60)}request.stream${")".repeat(60)}`,
      /depth|nest/iu,
    ],
    ["a text that is too long", `customer == "${"x".repeat(5_000)}"`, /1 to 4096 characters/u],
  ])("%s is refused", (_what, when, told) => {
    expect(problemsOf(policies(policy("a", when)))[0]).toMatch(told);
  });

  test.each([
    "arguments.a.contains(arguments.b)",
    "arguments.lines.exists(line, line.contains('DROP TABLE') || line.contains('DELETE FROM'))",
    "arguments.a == arguments.b && 'x' in arguments.c",
    "arguments.a.map(x, x.y) == arguments.b",
  ])("%s is not", (when) => {
    expect(readBundle(policies(policy("a", when))).kind).toBe("sound");
  });

  test.each<[what: string, pattern: string, told: RegExp]>([
    // It took 697 ms for a text of 4,090 characters, and was counted as 4,099 steps.
    ["a long repetition", "(?:a.{0,300}b)(?:.{0,300})[^a-z0-9 ]", /at most 200 instructions/u],
    ["repetitions inside each other", "(((abc){10}){10}){9}", /at most 200 instructions/u],
    ["many alternatives", "(a.?b|c.?d){0,40}", /at most 200 instructions/u],
    ["a pattern that is dear for a long text", "a.{40}b", /steps, and/u],
  ])("%s of a pattern is refused", (_what, pattern, told) => {
    const when = `has(arguments.x) && string(arguments.x).matches('${pattern}')`;
    expect(problemsOf(policies(policy("a", when)))[0]).toMatch(told);
  });

  test.each([
    "(?i)^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$",
    "^(\\\\d{1,3}\\\\.){3}\\\\d{1,3}$",
    "^[^@ ]{1,64}@[a-z0-9.-]+$",
  ])("the pattern %s is not", (pattern) => {
    expect(readBundle(policies(policy("a", `customer.matches('${pattern}')`))).kind).toBe("sound");
  });

  test("all policies together count, too", () => {
    const when = "arguments.a.all(i, i.x.matches('a+'))";
    const text = policies(
      ...Array.from({ length: 90 }, (_, i) =>
        policy(`p${i}`, `${when} && ${when.replaceAll("x", `y${i}`)}`),
      ),
    );
    expect(problemsOf(text).join()).toMatch(/allowed/u);
  });
});
