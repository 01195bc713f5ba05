import { describe, expect, test } from "vitest";
import { replacementsIn } from "../../src/core/redact.ts";
import { INJECTIONS, letters, of, PERSONAL, type Sample, SECRETS } from "../support/findings.ts";

function redacted(text: string, names: readonly string[]): string {
  let out = text;
  for (const { start, end, text: instead } of replacementsIn(text, names).toReversed()) {
    out = out.slice(0, start) + instead + out.slice(end);
  }
  return out;
}

function whole([kind, text, hidden = text]: Sample): [kind: string, text: string, hidden: string] {
  return [kind, text, hidden];
}

describe("what is replaced is what was found, and no character more", () => {
  test.each([...SECRETS, ...PERSONAL, ...INJECTIONS].map(whole))(
    "%s in %j",
    (kind, text, hidden) => {
      const placeholder = `[${kind}]`.length <= hidden.length ? `[${kind}]` : expect.any(String);
      for (const [before, after] of [
        ["", ""],
        ["é🏴 ", " ü🏴"],
        ["\n", "\n"],
      ] as const) {
        const around = before + text + after;
        const start = before.length + text.indexOf(hidden);
        expect(replacementsIn(around, [kind])).toEqual([
          { start, end: start + hidden.length, text: placeholder },
        ]);
        expect(replacementsIn(around, ["all"])).toHaveLength(1);
      }
    },
  );

  test.each<[what: string, text: string, names: readonly string[], expected: string]>([
    ["a group", "jane@acme.io +49 30 901820123", ["pii"], "[email] [phone_number]"],
    ["one kind of it", "jane@acme.io +49 30 901820123", ["email"], "[email] +49 30 901820123"],
    ["another group", "jane@acme.io", ["secrets", "injection"], "jane@acme.io"],
    ["several of one kind", "a@b.co, jane@acme.io", ["all"], "[emai], [email]"],
    ["what is next to each other", "jane@acme.io/jane@acme.io", ["all"], "[email]/[email]"],
    ["what is found twice in the same place", "jane@acme.io@acme.io.", ["all"], "[email]."],
    [
      "a secret in place of a password: both are one",
      of("https://me:gh", "p_", letters(36), "@host"),
      ["all"],
      "https://me:[github_token]@host",
    ],
    [
      "more of a kind than is counted",
      "jane@acme.io ".repeat(1_500),
      ["email"],
      "[email] ".repeat(1_500),
    ],
    [
      "the letter of an escape is kept",
      String.raw`{"a":"x\njane@acme.io"}`,
      ["email"],
      String.raw`{"a":"x\n[email]"}`,
    ],
    [
      "and a character's number",
      String.raw`{"a":"\u00e9jane@acme.io"}`,
      ["email"],
      String.raw`{"a":"\u00e9[email]"}`,
    ],
    [
      "and behind one in JSON in a text of JSON",
      String.raw`\\njane@acme.io`,
      ["email"],
      String.raw`\\n[email]`,
    ],
    [
      "of a key that was cut, with its headers, all that is a key",
      `${of("-----BEGIN RSA PRIVATE", " KEY-----")}\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00FF\n\n${letters(64)}\n${letters(64)}\nand then words`,
      ["secrets"],
      "[private_key]\nand then words",
    ],
  ])("%s", (_what, text, names, expected) => {
    expect(redacted(text, names)).toBe(expected);
  });
});
