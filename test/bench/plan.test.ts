import { expect, test } from "vitest";
import { HELP, planOf } from "./plan.ts";

test("a run measures everything, a quick one calls only, and --only says otherwise", () => {
  const all = ["calls", "scaling", "overload", "admissions", "chunks", "memory", "start", "tools"];
  expect(planOf([]).only).toEqual(all);
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

test("the help names every part and every option", () => {
  for (const part of planOf([]).only) expect(HELP).toMatch(new RegExp(`^ +${part} +`, "mu"));
  const options = [
    "only",
    "targets",
    "scenarios",
    "connections",
    "seconds",
    "rounds",
    "name",
    "out",
  ];
  for (const option of [...options, "quick", "help"]) expect(HELP).toContain(`  --${option} `);
});
