import { styleText } from "node:util";

/** Tells a story on a terminal: sentences, and figures of which each is checked as it is shown. */
export type Narrator = {
  readonly title: (text: string) => void;
  readonly part: (text: string) => void;
  /** A paragraph, broken into lines. */
  readonly say: (text: string) => void;
  /** Somebody's own words, as they came. */
  readonly quote: (text: string) => void;
  /** Shows what is so; one that is not as claimed is marked, and counted. */
  readonly figure: (label: string, actual: string | number, claimed: Claim) => void;
  /** Figures that were not as claimed. */
  readonly failures: () => number;
};

/** What a figure must be, or the most or the least that it may be. */
export type Claim = string | number | { readonly most: number } | { readonly least: number };

export type Terminal = {
  readonly out: (text: string) => void;
  readonly hasColours: boolean;
};

const COLUMNS = 96;
const LABEL_COLUMNS = 58;

export function createNarrator({ out, hasColours }: Terminal): Narrator {
  let failures = 0;
  const style = (format: Parameters<typeof styleText>[0], text: string): string =>
    hasColours ? styleText(format, text, { validateStream: false }) : text;
  const paragraph = (text: string, indent: string) => {
    for (const line of linesOf(text, COLUMNS - indent.length)) out(`${indent}${line}\n`);
  };
  return {
    title: (text) => out(`\n${style(["bold"], text)}\n${"─".repeat(text.length)}\n`),
    part: (text) => out(`\n  ${style(["bold", "cyan"], text)}\n`),
    say: (text) => paragraph(text, "  "),
    quote: (text) => {
      for (const line of linesOf(text, COLUMNS - 6)) out(style("dim", `    │ ${line}`) + "\n");
    },
    figure: (label, actual, claimed) => {
      const isSo = holds(claimed, actual);
      if (!isSo) failures += 1;
      const mark = isSo
        ? style("green", claimed === actual ? "as claimed" : `as claimed: ${textOf(claimed)}`)
        : style("red", `NOT AS CLAIMED: ${textOf(claimed)}`);
      out(`    ${label.padEnd(LABEL_COLUMNS)}${style("bold", String(actual))}  ${mark}\n`);
    },
    failures: () => failures,
  };
}

function holds(claimed: Claim, actual: string | number): boolean {
  if (typeof claimed !== "object") return claimed === actual;
  return "most" in claimed ? Number(actual) <= claimed.most : Number(actual) >= claimed.least;
}

function textOf(claimed: Claim): string {
  if (typeof claimed !== "object") return String(claimed);
  return "most" in claimed ? `at most ${claimed.most}` : `at least ${claimed.least}`;
}

function linesOf(text: string, columns: number): readonly string[] {
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(" ")) {
    if (line !== "" && line.length + 1 + word.length > columns) {
      lines.push(line);
      line = word;
    } else {
      line = line === "" ? word : `${line} ${word}`;
    }
  }
  return [...lines, line];
}
