/**
 * What of a tool's result passes to its caller, by the tool's declaration: pure, and before the caller has a byte of it.
 *
 * A result passes whole, with what was found in its texts replaced, or not at all. What the declaration asks for and
 * cannot be known (a picture that nobody reads, too much text) keeps it from passing. No sentence and no record here
 * holds a text that was found.
 */
import { rawNumberOf } from "../lib/exact-json.ts";
import { isList, isRecord } from "../lib/json.ts";
import { stringAt } from "../lib/json-scan.ts";
import { detect, type Findings, isNamed } from "./detect.ts";
import { DETECT_CHARS_MAX, RESULT_POINTER_CHARS_MAX } from "./limits-policy.ts";
import { findingsMembers } from "./record.ts";
import { replacementsIn } from "./redact.ts";
import { jsonIn, readResult, type Rows, searchedOf } from "./result-texts.ts";
import type { ToolOutput } from "./tool.ts";

export type CheckedResult =
  | {
      readonly kind: "pass";
      /** The same object where nothing was replaced. */
      readonly result: unknown;
      /** Null: the declaration has nothing searched. */
      readonly findings: Findings | null;
      /** The kinds that were replaced. */
      readonly redacted: readonly string[];
    }
  | {
      readonly kind: "withheld";
      /** A sentence for the caller. */
      readonly why: string;
      /** Null: nothing was searched, or it was withheld before. */
      readonly findings: Findings | null;
    };

/** `bytes`: of the result as it came. A result that is an error is checked like any other: it may hold a secret, too. */
export function checkResult(result: unknown, output: ToolOutput, bytes: number): CheckedResult {
  const { bytesMax, rowsMax, block, redact } = output;
  if (bytesMax !== null && bytes > bytesMax) {
    return withheld(`The result has ${bytes} bytes, and at most ${bytesMax} may pass.`);
  }
  const names = [...new Set([...block, ...redact])];
  if (rowsMax === null && names.length === 0) {
    return { kind: "pass", result, findings: null, redacted: [] };
  }
  const read = readResult(result);
  if (read.kind === "unreadable") return withheld(read.why);
  if (rowsMax !== null && read.longest.items > rowsMax) {
    return withheld(rowsSentence(read.longest, rowsMax));
  }
  if (names.length === 0) return { kind: "pass", result, findings: null, redacted: [] };
  const findings = detect(read.texts);
  const why = whyNotPassed(findings, read.unsearched, { block, redact });
  if (why !== null) return withheld(why, findings);
  const redacted = kindsOf(findings, redact);
  if (redacted.length === 0) return { kind: "pass", result, findings, redacted };
  return { kind: "pass", result: redactResult(result, redact), findings, redacted };
}

/** What the settlement's record holds of it: figures and kinds, no content. */
export function resultRecord(checked: CheckedResult, bytes: number): object {
  const { findings } = checked;
  return {
    bytes,
    ...(findings === null ? {} : { findings: findingsMembers(findings) }),
    ...(checked.kind === "withheld" ? { withheld: checked.why } : {}),
    ...(checked.kind === "pass" && checked.redacted.length > 0
      ? { redacted: checked.redacted }
      : {}),
  };
}

function withheld(why: string, findings: Findings | null = null): CheckedResult {
  return { kind: "withheld", why, findings };
}

function whyNotPassed(
  findings: Findings,
  unsearched: readonly string[],
  { block, redact }: Pick<ToolOutput, "block" | "redact">,
): string | null {
  const blocked = kindsOf(findings, block);
  if (blocked.length > 0) return `The result holds ${blocked.join(", ")}, which may not pass.`;
  const asked = [...new Set([...block, ...redact])].join(", ");
  if (unsearched.length > 0) {
    return `The result holds ${unsearched.join(", ")}, which cannot be searched for ${asked}, so that it does not pass.`;
  }
  if (!findings.complete) {
    return `The result has more than ${DETECT_CHARS_MAX} characters, which cannot all be searched for ${asked}, so that it does not pass.`;
  }
  const fixed = kindsOf(findings, redact).filter((kind) => findings.outside.includes(kind));
  if (fixed.length === 0) return null;
  return `The result holds ${fixed.join(", ")} in a number, an address, the name of a member or the like, where it cannot be replaced, so that it does not pass.`;
}

function kindsOf({ found }: Findings, names: readonly string[]): readonly string[] {
  return found.filter((each) => isNamed(names, each)).map(({ kind }) => kind);
}

function rowsSentence({ items, path }: Rows, rowsMax: number): string {
  return `The result has a list of ${items} items (\`${pointerOf(path)}\`), and at most ${rowsMax} may pass.`;
}

/** RFC 6901, in one line and of bounded length. Names are the server's to choose: what is found in them is not told. */
function pointerOf(path: readonly string[]): string {
  const tokens = path.map((token) =>
    redactString(token, null, ["all"]).replaceAll("~", "~0").replaceAll("/", "~1"),
  );
  const line = `/${tokens.join("/")}`.replaceAll(/[\p{C}`]+/gu, " ");
  const cut = `${line.slice(0, RESULT_POINTER_CHARS_MAX - 1)}…`;
  return (line.length <= RESULT_POINTER_CHARS_MAX ? line : cut).toWellFormed();
}

/** By the same places that `readResult` calls content. */
function redactResult(result: unknown, names: readonly string[]): unknown {
  if (!isRecord(result)) return result;
  const { content, structuredContent } = result;
  return {
    ...result,
    ...(isList(content) ? { content: content.map((block) => redactBlock(block, names)) } : {}),
    ...(structuredContent === undefined
      ? {}
      : { structuredContent: redactValue(structuredContent, null, names) }),
  };
}

function redactBlock(block: unknown, names: readonly string[]): unknown {
  if (!isRecord(block)) return block;
  const { type, resource } = block;
  if (type === "text") return withText(block, names);
  if (type !== "resource" || !isRecord(resource)) return block;
  return { ...block, resource: withText(resource, names) };
}

function withText(holder: Readonly<Record<string, unknown>>, names: readonly string[]): object {
  const { text } = holder;
  return typeof text === "string" ? { ...holder, text: redactText(text, names) } : holder;
}

/** Bounded in depth by `readResult`, which comes first. */
function redactValue(value: unknown, name: string | null, names: readonly string[]): unknown {
  if (typeof value === "string") return redactString(value, name, names);
  if (isList(value)) return value.map((item) => redactValue(item, null, names));
  if (!isRecord(value) || rawNumberOf(value) !== null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([member, each]) => [member, redactValue(each, member, names)]),
  );
}

/** Of a text that is JSON each string by itself, so that it stays JSON; all else of it stays as it was written. */
function redactText(text: string, names: readonly string[]): string {
  const scan = jsonIn(text);
  if (scan?.kind !== "scanned") return redactString(text, null, names);
  let out = "";
  let kept = 0;
  for (const { kind, start, end, name } of scan.places) {
    if (kind !== "string") continue;
    const string = stringAt(text, start, end);
    const redacted = redactString(string, name, names);
    if (redacted === string) continue;
    out += text.slice(kept, start) + JSON.stringify(redacted);
    kept = end;
  }
  return out + text.slice(kept);
}

/** What is replaced may uncover what it touched. */
const PASSES_MAX = 8;

/** Of a text in which every replacement uncovered another. */
const NOTHING_LEFT = "[redacted]";

function redactString(given: string, name: string | null, names: readonly string[]): string {
  let string = given;
  for (let pass = 0; pass < PASSES_MAX; pass += 1) {
    const { text, from } = searchedOf(string, name);
    const replacements = replacementsIn(text, names);
    if (replacements.length === 0) return string;
    // A name in which anything was found has kept the result from passing: it is in the string.
    let kept = from;
    let out = "";
    for (const { start, end, text: instead } of replacements) {
      out += text.slice(kept, Math.max(kept, start)) + instead;
      kept = end;
    }
    string = out + text.slice(kept);
  }
  return NOTHING_LEFT;
}
