import { expect, test } from "vitest";
import { planOf } from "./plan.ts";

test("a run measures everything, a quick one calls only, and --only says otherwise", () => {
  expect(planOf([]).only).toEqual(["calls", "admissions", "memory"]);
  expect(planOf(["--quick"]).only).toEqual(["calls"]);
  expect(planOf(["--quick", "--only", "memory,admissions"]).only).toEqual(["memory", "admissions"]);
});

test("an option that means nothing is refused", () => {
  const wrong = [
    ["--only", "everything"],
    ["--only", ""],
    ["--targets", "direct,nginx"],
    ["--scenarios", "xml"],
    ["--connections", "0"],
    ["--connections", "1.5"],
    ["--seconds", "forever"],
    ["--rounds", "101"],
    ["--name", "../x"],
    ["--unknown"],
  ];
  for (const args of wrong) expect(() => planOf(args), args.join(" ")).toThrow();
});
