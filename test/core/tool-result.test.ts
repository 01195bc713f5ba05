import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { detect, FINDING_NAMES, findIn } from "../../src/core/detect.ts";
import { JSON_DEPTH_MAX } from "../../src/core/limits.ts";
import {
  DETECT_CHARS_MAX,
  RESULT_POINTER_CHARS_MAX,
  RESULT_VALUES_MAX,
} from "../../src/core/limits-policy.ts";
import { ANY_OUTPUT, type ToolOutput } from "../../src/core/tool.ts";
import { checkResult, resultRecord, type CheckedResult } from "../../src/core/tool-result.ts";
import { rawNumberOf } from "../../src/lib/exact-json.ts";
import { isList, isRecord } from "../../src/lib/json.ts";
import { INJECTIONS, letters, of, PERSONAL, SECRETS } from "../support/findings.ts";

const MAIL = "jane@acme.io";
const CARD = 4_111_111_111_111_111;
const AWS_SECRET = letters(40);
const PNG = { type: "image", data: "iVBORw0KGgo=", mimeType: "image/png" };

const text = (of_: unknown) => ({
  type: "text",
  text: typeof of_ === "string" ? of_ : JSON.stringify(of_),
});
const content = (...blocks: readonly unknown[]) => ({ content: blocks });
const check = (result: unknown, output: Partial<ToolOutput>, bytes = 1) =>
  checkResult(result, { ...ANY_OUTPUT, ...output }, bytes);

function passed(checked: CheckedResult) {
  if (checked.kind === "withheld") throw new Error(checked.why);
  return checked;
}

function why(checked: CheckedResult): string {
  if (checked.kind === "pass") throw new Error("it passed");
  return checked.why;
}

describe("a result is withheld", () => {
  const ten = Array.from({ length: 10 }, (_, at) => at);
  const redact = ["email", "card_number", "aws_secret_key"];
  test.each<[what: string, result: unknown, output: Partial<ToolOutput>, told: RegExp]>([
    [
      "for a list in structured content, wherever it stands",
      { content: [], structuredContent: { a: [{ "b/c~": ten }] } },
      { rowsMax: 9 },
      /a list of 10 items \(`\/structuredContent\/a\/0\/b~1c~0`\), and at most 9 may pass\./u,
    ],
    [
      "for a list in a text that is JSON",
      content(text("x"), text(` ${JSON.stringify({ rows: ten })}\n`)),
      { rowsMax: 9 },
      /a list of 10 items \(`\/content\/1\/text\/rows`\)/u,
    ],
    [
      "in that of a resource, too",
      content({ type: "resource", resource: { uri: "file:///a", text: JSON.stringify(ten) } }),
      { rowsMax: 9 },
      /`\/content\/0\/resource\/text`/u,
    ],
    ["for its blocks", content(...ten.map(text)), { rowsMax: 9 }, /10 items \(`\/content`\)/u],
    [
      "for JSON that two readers read differently",
      content(text('{"rows":[1,2,3],"rows":[]}')),
      { rowsMax: 2 },
      /a member stands twice/u,
    ],
    [
      "for JSON that nests too deep to be looked at",
      content(text("[".repeat(JSON_DEPTH_MAX + 1) + "]".repeat(JSON_DEPTH_MAX + 1))),
      { rowsMax: 2 },
      /nests deeper than 128/u,
    ],
    [
      "also in structured content",
      { structuredContent: JSON.parse("[".repeat(50_000) + "]".repeat(50_000)) },
      { redact },
      /nests deeper than 128/u,
    ],
    [
      "for more values than are looked at",
      { structuredContent: { a: Array.from({ length: RESULT_VALUES_MAX + 1 }, () => 0) } },
      { redact },
      /more than 100000 values/u,
    ],
    [
      "in a text, too",
      content(text(Array.from({ length: RESULT_VALUES_MAX + 1 }, () => 0))),
      { redact },
      /more than 100000 values/u,
    ],
    [
      "for what may not pass",
      content(text(`to ${MAIL}`)),
      { block: ["pii"] },
      /holds email, which/u,
    ],
    [
      "whether it is an error or not",
      { ...content(text(MAIL)), isError: true },
      { block: ["pii"] },
      /holds email, which/u,
    ],
    [
      "before anything is replaced",
      content(text(MAIL)),
      { block: ["email"], redact },
      /holds email, which may not pass/u,
    ],
    [
      "for a name of a member",
      { structuredContent: { [MAIL]: 1 } },
      { block: ["email"] },
      /holds email, which may not pass/u,
    ],
    [
      "or where a name would have to be replaced",
      { structuredContent: { [MAIL]: 1 } },
      { redact },
      /email in a number, an address, the name of a member/u,
    ],
    ["in a text of JSON as well", content(text({ [MAIL]: 1 })), { redact }, /email in a number/u],
    [
      "for a number, however it is written",
      { structuredContent: { card: CARD } },
      { redact },
      /card_number in a number/u,
    ],
    [
      "with all its digits",
      { structuredContent: { card: JSON.rawJSON(String(CARD)) } },
      { redact },
      /card_number in a number/u,
    ],
    ["in a text of JSON", content(text({ card: CARD })), { redact }, /card_number in a number/u],
    [
      "for an address",
      content({ type: "resource_link", uri: `mailto:${MAIL}`, name: "a" }),
      { redact },
      /email in a number, an address/u,
    ],
    [
      "for what stands beside the content",
      { ...content(), _meta: { by: MAIL } },
      { redact },
      /email in a number/u,
    ],
    [
      "for a secret that only its name tells",
      { structuredContent: { SecretAccessKey: AWS_SECRET } },
      { block: ["secrets"] },
      /holds aws_secret_key/u,
    ],
    [
      "for a picture",
      content(text("a"), PNG),
      { redact },
      /holds images, which cannot be searched/u,
    ],
    [
      "for sound",
      content({ ...PNG, type: "audio" }),
      { block: ["pii"] },
      /holds sound, which cannot be searched for pii/u,
    ],
    [
      "for a file",
      content({ type: "resource", resource: { uri: "file:///a", blob: "AAAA" } }),
      { redact },
      /holds files, which/u,
    ],
    [
      "for a picture in a string",
      { structuredContent: { icon: "data:image/png;base64,AAAA" } },
      { redact },
      /holds data URLs, which/u,
    ],
    ["for what nobody knows", content({ type: "video" }), { redact }, /blocks of a kind/u],
    [
      "for more text than is searched",
      content(text(" ".repeat(DETECT_CHARS_MAX + 1))),
      { redact },
      /more than 4194304 characters/u,
    ],
    ["for what is no result", [MAIL], { redact }, /email in a number/u],
  ])("%s", (_what, result, output, told) => {
    expect(why(check(result, output))).toMatch(told);
  });

  test("for its bytes, with both figures", () => {
    expect(why(check(content(), { bytesMax: 10 }, 11))).toBe(
      "The result has 11 bytes, and at most 10 may pass.",
    );
    expect(check(content(), { bytesMax: 10 }, 10).kind).toBe("pass");
  });
});

describe("a result passes as it is", () => {
  test("where nothing is asked, whatever it holds", () => {
    const result = { ...content(PNG, text(MAIL), { type: "video" }), structuredContent: { MAIL } };
    expect(check(result, {})).toEqual({ kind: "pass", result, findings: null, redacted: [] });
    expect(passed(check(result, {})).result).toBe(result);
  });

  test("where nothing was found, or nothing of what is asked", () => {
    for (const result of [content(text("hello")), content(text(MAIL)), content(), {}, null, 1]) {
      const checked = passed(check(result, { rowsMax: 1, block: ["secrets"], redact: ["iban"] }));
      expect(checked.result).toBe(result);
      expect(checked.redacted).toEqual([]);
    }
  });

  test("a picture, where only rows are counted", () => {
    expect(check(content(PNG), { rowsMax: 1 }).kind).toBe("pass");
  });
});

describe("what is found is replaced", () => {
  test("in texts, resources and structured content, and nowhere else", () => {
    const result = {
      content: [
        text(`to ${MAIL}.`),
        { type: "text", text: `{ "to": "${MAIL}",\t"n": 1.50, "e": "\\u00e9" }`, annotations: {} },
        { type: "resource", resource: { uri: "file:///a", text: MAIL, mimeType: "text/plain" } },
        { type: "resource_link", uri: "file:///b", name: "b" },
      ],
      structuredContent: {
        to: [MAIL],
        n: JSON.rawJSON("1.50"),
        credentials: { SecretAccessKey: AWS_SECRET },
      },
      isError: false,
      _meta: { a: 1 },
    };
    const before = JSON.stringify(result);
    const checked = passed(check(result, { redact: ["pii", "secrets"] }));
    expect(checked.redacted).toEqual(["aws_secret_key", "email"]);
    expect(JSON.stringify(checked.result)).toBe(
      JSON.stringify({
        content: [
          text("to [email]."),
          {
            type: "text",
            text: '{ "to": "[email]",\t"n": 1.50, "e": "\\u00e9" }',
            annotations: {},
          },
          {
            type: "resource",
            resource: { uri: "file:///a", text: "[email]", mimeType: "text/plain" },
          },
          { type: "resource_link", uri: "file:///b", name: "b" },
        ],
        structuredContent: {
          to: ["[email]"],
          n: JSON.rawJSON("1.50"),
          credentials: { SecretAccessKey: "[aws_secret_key]" },
        },
        isError: false,
        _meta: { a: 1 },
      }),
    );
    expect(JSON.stringify(result)).toBe(before);
  });

  test("behind escapes of JSON, where a reader would find it", () => {
    const escaped = `{"to":"${Array.from(MAIL, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`).join("")}"}`;
    const { result } = passed(check(content(text(escaped)), { redact: ["email"] }));
    expect(result).toEqual(content(text({ to: "[email]" })));
  });

  test("also in the same JSON twice, as text and as structured content", () => {
    const rows = { rows: [{ to: MAIL, aws_secret_access_key: AWS_SECRET }] };
    const result = { ...content(text(rows)), structuredContent: rows };
    const clean = { rows: [{ to: "[email]", aws_secret_access_key: "[aws_secret_key]" }] };
    expect(passed(check(result, { redact: ["all"] })).result).toEqual({
      ...content(text(clean)),
      structuredContent: clean,
    });
  });
});

describe("a pointer to a list", () => {
  test("tells no secret that its server put into a name, and is of one short line", () => {
    const told = (...names: readonly string[]) =>
      why(
        check(
          {
            structuredContent: names.reduceRight<unknown>(
              (inner, name) => ({ [name]: inner }),
              [1, 2],
            ),
          },
          { rowsMax: 1 },
        ),
      );
    expect(told(MAIL)).toContain("`/structuredContent/[email]`");
    expect(told(of("https://me:", "hunter22@host"))).not.toContain("hunter22");
    expect(told("secret_access_key:", AWS_SECRET)).toContain(
      "`/structuredContent/secret_access_key:/",
    );
    expect(told("a\nb`c")).toContain("`/structuredContent/a b c`");
    expect(told("x".repeat(5_000)).length).toBeLessThan(RESULT_POINTER_CHARS_MAX + 100);
  });
});

describe("the record of a result", () => {
  test("holds figures and kinds, and nothing of the result", () => {
    const output = { redact: ["email"] };
    expect(resultRecord(check(content(text("a")), {}), 7)).toEqual({ bytes: 7 });
    expect(resultRecord(check(content(text(`${MAIL} ${MAIL}`)), output), 7)).toEqual({
      bytes: 7,
      findings: { found: [{ kind: "email", group: "pii", count: 2 }], complete: true },
      redacted: ["email"],
    });
    expect(resultRecord(check({ structuredContent: { [MAIL]: 1 } }, output), 7)).toEqual({
      bytes: 7,
      findings: {
        found: [{ kind: "email", group: "pii", count: 1 }],
        complete: true,
        outside: ["email"],
      },
      withheld: expect.stringContaining("email in a number"),
    });
  });
});

const SAMPLES = [...SECRETS, ...PERSONAL, ...INJECTIONS];
const NAMES = fc.constantFrom("a", "b c", "", "__proto__", "é🏴", "secret_access_key", MAIL);
const TEXTS = fc.oneof(
  fc.string({ unit: "grapheme" }),
  fc
    .array(
      fc.oneof(
        fc.constantFrom(...SAMPLES.map(([, sample]) => sample)),
        fc.constantFrom(" ", "\n", "x", '"', "\\"),
      ),
      {
        maxLength: 4,
      },
    )
    .map((parts) => parts.join("")),
  fc.constant(AWS_SECRET),
);
const NUMBERS = fc.oneof(
  fc.double({ noNaN: true, noDefaultInfinity: true }),
  fc
    .constantFrom("1.50", "12345678901234567890", "-0", "1e400")
    .map((digits) => JSON.rawJSON(digits)),
  fc.constant(CARD),
);
const { json: JSON_VALUES } = fc.letrec<{ json: unknown }>((tie) => ({
  json: fc.oneof(
    { maxDepth: 4, withCrossShrink: true },
    TEXTS,
    NUMBERS,
    fc.constantFrom(null, true),
    fc.array(tie("json"), { maxLength: 3 }),
    fc
      .array(fc.tuple(NAMES, tie("json")), { maxLength: 3 })
      .map((members) => Object.fromEntries(members)),
  ),
}));
const BLOCKS = fc.oneof(
  fc.record({
    type: fc.constant("text"),
    text: fc.oneof(
      TEXTS,
      JSON_VALUES.map((json) => JSON.stringify(json, null, 1)),
    ),
  }),
  fc.record({ type: fc.constant("resource"), resource: fc.record({ uri: TEXTS, text: TEXTS }) }),
  fc.record({ type: fc.constant("resource_link"), uri: TEXTS, name: NAMES }),
  fc.constant(PNG),
);
const RESULTS = fc.oneof(
  fc.record(
    {
      content: fc.array(BLOCKS, { maxLength: 3 }),
      structuredContent: JSON_VALUES,
      isError: fc.boolean(),
    },
    { requiredKeys: ["content"] },
  ),
  JSON_VALUES,
);
const ASKED = fc.uniqueArray(fc.constantFrom(...FINDING_NAMES), { maxLength: 4 });
const OUTPUTS = fc.record({
  bytesMax: fc.constantFrom(null, 5),
  rowsMax: fc.constantFrom(null, 0, 1),
  block: ASKED,
  redact: ASKED,
});

/** What is to be replaced in results in which it can be, mostly. */
const REWRITABLE = fc.record({
  content: fc.array(
    fc.record({
      type: fc.constant("text"),
      text: fc.oneof(
        TEXTS,
        fc
          .dictionary(fc.constantFrom("a", "b", "secret_access_key"), TEXTS)
          .map((members) => JSON.stringify(members, null, 1)),
      ),
    }),
    { maxLength: 3 },
  ),
  structuredContent: fc.dictionary(
    fc.constantFrom("a", "b", "secret_access_key"),
    fc.oneof(TEXTS, fc.array(TEXTS), NUMBERS),
  ),
});
const REDACTING = ASKED.map((redact) => ({ ...ANY_OUTPUT, redact }));

/** Every string, name and number that a reader of a result may find in it, texts of JSON read as such. */
function* textsIn(value: unknown): Generator<string> {
  const number = rawNumberOf(value);
  if (number !== null) yield number;
  else if (typeof value === "number") yield String(value);
  else if (typeof value === "string") {
    yield value;
    if (/^\s*[[{]/u.test(value)) {
      let inner: unknown = null;
      try {
        inner = JSON.parse(value);
      } catch {
        return;
      }
      yield* textsIn(inner);
    }
  } else if (isList(value)) for (const item of value) yield* textsIn(item);
  else if (isRecord(value)) {
    for (const [name, member] of Object.entries(value)) {
      yield name;
      yield* textsIn(member);
      if (typeof member === "string") yield `${name}: ${member}`;
    }
  }
}

/** What a value is but for its strings. */
function shapeOf(value: unknown): unknown {
  if (typeof value === "string") return "";
  const number = rawNumberOf(value);
  if (number !== null) return { number };
  if (isList(value)) return value.map(shapeOf);
  if (!isRecord(value)) return value;
  return Object.entries(value).map(([name, member]) => [name, shapeOf(member)]);
}

describe("of any result and any declaration", () => {
  test("nothing survives that is to be replaced or may not pass, and all else stays", () => {
    let rewritten = 0;
    const asked = fc.oneof(fc.tuple(RESULTS, OUTPUTS), fc.tuple(REWRITABLE, REDACTING));
    const property = fc.property(asked, ([result, output]) => {
      const before = JSON.stringify(result);
      const checked = check(result, output, 1);
      expect(JSON.stringify(result)).toBe(before);
      if (checked.kind === "withheld") return;
      if (checked.redacted.length > 0) rewritten += 1;
      const names = [...output.block, ...output.redact];
      for (const each of textsIn(checked.result)) expect(findIn(each, names)).toEqual([]);
      expect(shapeOf(checked.result)).toEqual(shapeOf(result));
      if (checked.redacted.length === 0) expect(checked.result).toBe(result);
    });
    fc.assert(property, { numRuns: 2_000 });
    expect(rewritten).toBeGreaterThan(50);
  });

  test("no sentence and no record tells what was found", () => {
    let told = 0;
    const property = fc.property(RESULTS, OUTPUTS, (result, output) => {
      const checked = check(result, output, 6);
      if (checked.kind === "pass") return;
      told += 1;
      const sentence = JSON.stringify(resultRecord(checked, 6));
      expect(detect([{ text: checked.why, isContent: true }]).found).toEqual([]);
      for (const each of textsIn(result)) {
        for (const { start, end } of findIn(each, ["all"])) {
          // The shortest could stand in a word of the sentence.
          const found = each.slice(start, end);
          if (found.length > 5) expect(sentence).not.toContain(found);
        }
      }
    });
    fc.assert(property, { numRuns: 1_000 });
    expect(told).toBeGreaterThan(100);
  });
});
