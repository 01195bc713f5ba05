/** What changed between two texts, line by line: what an approver looks at before everything else. */
import { parseJson } from "../lib/json.ts";
import { DIFF_LINES_MAX } from "./limits.ts";

export type DiffLine = {
  readonly kind: "same" | "added" | "removed";
  readonly text: string;
};

/** By the longest common subsequence of lines. Null where the texts are longer than people compare. */
export function diffOf(before: string, after: string): readonly DiffLine[] | null {
  const [old, young] = [before.split("\n"), after.split("\n")];
  if (old.length > DIFF_LINES_MAX || young.length > DIFF_LINES_MAX) return null;
  const common = commonLengths(old, young);
  const lines: DiffLine[] = [];
  let [i, j] = [0, 0];
  while (i < old.length || j < young.length) {
    const [left, right] = [old[i], young[j]];
    if (left !== undefined && left === right) {
      lines.push({ kind: "same", text: left });
      i += 1;
      j += 1;
    } else if (
      left !== undefined &&
      (right === undefined || at(common, i + 1, j) >= at(common, i, j + 1))
    ) {
      lines.push({ kind: "removed", text: left });
      i += 1;
    } else {
      lines.push({ kind: "added", text: right ?? "" });
      j += 1;
    }
  }
  return lines;
}

/** Of each pair of ends of the two texts: how many lines they have in common, in order. */
function commonLengths(old: readonly string[], young: readonly string[]): readonly Uint16Array[] {
  const rows = Array.from({ length: old.length + 1 }, () => new Uint16Array(young.length + 1));
  for (let i = old.length - 1; i >= 0; i -= 1) {
    for (let j = young.length - 1; j >= 0; j -= 1) {
      const isSame = old[i] === young[j];
      const length = isSame
        ? at(rows, i + 1, j + 1) + 1
        : Math.max(at(rows, i + 1, j), at(rows, i, j + 1));
      rows[i]?.fill(length, j, j + 1);
    }
  }
  return rows;
}

function at(rows: readonly Uint16Array[], i: number, j: number): number {
  return rows[i]?.[j] ?? 0;
}

/** A call as it is read: JSON by its members, in the order in which they came; everything else as it is. */
export function prettyCall(call: string): string {
  return visible(indented(call) ?? call);
}

/** With what has no shape of its own written out: a mark that turns the direction of text would hide what follows it. */
export function visible(text: string): string {
  return text.replaceAll(/(?!\n)[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, (mark) => {
    const code = mark.codePointAt(0) ?? 0;
    return `⟨U+${code.toString(16).toUpperCase().padStart(4, "0")}⟩`;
  });
}

/**
 * Only white space is put between the tokens of the text: parsed and written anew, 1e2 would become 100 and
 * a name that is given twice would be there once, and the approver would see another call than is made.
 */
function indented(json: string): string | null {
  if (parseJson(json) === null) return null;
  const tokens = json.match(/"[^"\\]*(?:\\[\s\S][^"\\]*)*"|[{}[\],:]|[^\s{}[\],:"]+/g) ?? [];
  let depth = 0;
  let text = "";
  const line = () => `\n${"  ".repeat(depth)}`;
  for (const [index, token] of tokens.entries()) {
    const next = tokens[index + 1];
    if (token === "{" || token === "[") {
      depth += 1;
      text += next === "}" || next === "]" ? token : `${token}${line()}`;
    } else if (token === "}" || token === "]") {
      depth -= 1;
      const previous = tokens[index - 1];
      text += previous === "{" || previous === "[" ? token : `${line()}${token}`;
    } else if (token === ",") text += `,${line()}`;
    else if (token === ":") text += ": ";
    else text += token;
  }
  return text;
}
