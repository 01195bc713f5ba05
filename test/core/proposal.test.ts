import { describe, expect, test } from "vitest";

import { matchProposals, type RunCall } from "../../src/core/proposal.ts";

/**
 * `m1: call read_file A` is a proposal of the model's attempt m1, `t1: files/read_file A` a tool's attempt; `t2<t1` tries
 * t1 again, `!` was refused.
 */
function run(lines: readonly string[]): readonly RunCall[] {
  return lines.map((line): RunCall => {
    const [, attemptId = "", retryOf = null, refused, asked, resource = "", digest = ""] =
      /^(\w+)(?:<(\w+))?(!?): (?:(call\w*) )?(\S+) (\S+)$/.exec(line) ?? [];
    const argumentsSha256 = digest === "-" ? null : digest;
    return asked === undefined
      ? {
          kind: "tool",
          attemptId,
          resource,
          inputDigest: digest,
          isAdmitted: refused === "",
          retryOf,
        }
      : { kind: "proposal", attemptId, proposal: { id: asked, name: resource, argumentsSha256 } };
  });
}

/** `m1.call > t1`: who carried out what, the proposals in their order. */
function check(lines: readonly string[], expected: readonly string[]): void {
  const { proposals, proposedBy } = matchProposals(run(lines));
  const told = [...proposals].flatMap(([by, asked]) =>
    asked.map(({ id, attempt }) => `${by}.${id} > ${attempt ?? "nobody"}`),
  );
  expect(told).toEqual(expected);
  for (const [attempt, { attempt: by, call }] of proposedBy) {
    const says = proposals.get(by)?.some((each) => each.id === call);
    expect(says, `${attempt} is proposed by a proposal`).toBe(true);
  }
}

type Row = readonly [string, readonly string[], readonly string[]];

describe("a tool call is matched to the proposal that it carries out", () => {
  const rows: readonly Row[] = [
    ["by its name", ["m1: call f A", "t1: f A"], ["m1.call > t1"]],
    ["by the whole resource", ["m1: call s/f A", "t1: s/f A"], ["m1.call > t1"]],
    ["by the part behind the last slash", ["m1: call f A", "t1: s/f A"], ["m1.call > t1"]],
    ["behind two underscores", ["m1: call mcp__s__f A", "t1: s/f A"], ["m1.call > t1"]],
    ["behind one underscore", ["m1: call s_f A", "t1: s/f A"], ["m1.call > t1"]],
    ["not by the end of a word", ["m1: call elf A", "t1: s/f A"], ["m1.call > nobody"]],
    ["not by another name", ["m1: call g A", "t1: s/f A"], ["m1.call > nobody"]],
    ["not by the server's name", ["m1: call s A", "t1: s/f A"], ["m1.call > nobody"]],
    ["not by an empty tool", ["m1: call f_ A", "t1: s/ A"], ["m1.call > nobody"]],
    ["not with other arguments", ["m1: call f A", "t1: f B"], ["m1.call > nobody"]],
    ["not without arguments that were read", ["m1: call f -", "t1: f -"], ["m1.call > nobody"]],
    ["not where it was decided before", ["t1: f A", "m1: call f A"], ["m1.call > nobody"]],
    [
      "once: two proposals alike are carried out in their order",
      ["m1: call1 f A", "m1: call2 f A", "t1: f A", "t2: f A", "t3: f A"],
      ["m1.call1 > t1", "m1.call2 > t2"],
    ],
    [
      "once: what is done twice was proposed once",
      ["m1: call f A", "t1: f A", "t2: f A"],
      ["m1.call > t1"],
    ],
    [
      "in whatever order parallel calls are carried out",
      ["m1: call1 f A", "m1: call2 g B", "t1: g B", "t2: f A"],
      ["m1.call1 > t2", "m1.call2 > t1"],
    ],
    [
      "by its very name before one that ends with it",
      ["m1: call1 s_f A", "m1: call2 f A", "t1: s/f A"],
      ["m1.call1 > nobody", "m1.call2 > t1"],
    ],
    ["again by a retry", ["m1: call f A", "t1: f A", "t2<t1: f A"], ["m1.call > t2"]],
    [
      "not by a retry with other arguments",
      ["m1: call f A", "t1: f A", "t2<t1: f B"],
      ["m1.call > t1"],
    ],
    [
      "not by a retry where the model has asked anew",
      ["m1: call1 f A", "t1: f A", "m2: call2 f A", "t2<t1: f A"],
      ["m1.call1 > t1", "m2.call2 > t2"],
    ],
    [
      "again where the first one was refused",
      ["m1: call f A", "t1!: f A", "t2: f A", "t3: f A"],
      ["m1.call > t2"],
    ],
    [
      "by the newer proposal where the older one was refused",
      ["m1: call1 f A", "t1!: f A", "m2: call2 f A", "t2: f A"],
      ["m1.call1 > t1", "m2.call2 > t2"],
    ],
  ];
  test.each(rows)("%s", (_how, lines, expected) => {
    check(lines, expected);
  });

  test("and says of each attempt who proposed it, of a refused one as well", () => {
    const { proposedBy } = matchProposals(
      run(["m1: call1 f A", "t1!: f A", "t2: f A", "t3: f A", "t4: g A"]),
    );
    expect([...proposedBy]).toEqual([
      ["t1", { attempt: "m1", call: "call1" }],
      ["t2", { attempt: "m1", call: "call1" }],
    ]);
  });
});
