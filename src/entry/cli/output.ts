/** Answers for people: bordered tables on a terminal, aligned plain text in a pipe. */
import { styleText } from "node:util";

import Table from "cli-table3";

import { isList, isRecord } from "../../lib/json.ts";
import type { Terminal } from "./terminal.ts";

/** One column: its title, and the member it shows (`budget.remaining`) or how to make its text. */
export type Column = {
  readonly title: string;
  readonly value: string | ((row: unknown) => string);
  readonly align?: "right";
};

type Colour = "green" | "yellow" | "red" | "dim" | "bold";

const COLOURS: Readonly<Record<string, Colour>> = {
  succeeded: "green",
  open: "green",
  ok: "green",
  allow: "green",
  applied: "green",
  blocked: "red",
  block: "red",
  failed: "red",
  fail: "red",
  unknown: "yellow",
  uncertain: "yellow",
  callable: "green",
  quarantined: "red",
  undeclared: "yellow",
  not_listed: "yellow",
  warn: "yellow",
  stopping: "yellow",
  shadow: "yellow",
};

const NOTHING = "-";

export function writeTable(
  terminal: Terminal,
  columns: readonly Column[],
  rows: readonly unknown[],
): void {
  const cells = rows.map((row) => columns.map((column) => cellText(row, column)));
  const titles = columns.map(({ title }) => title);
  terminal.out(
    terminal.isTerminal
      ? bordered(terminal, columns, cells)
      : aligned([titles.map((title) => title.toUpperCase()), ...cells], columns),
  );
}

/** Names and values, one per line; what is absent is left out. */
export function writeFields(terminal: Terminal, columns: readonly Column[], value: unknown): void {
  const shown = columns
    .map((column) => [column.title, cellText(value, column)] as const)
    .filter(([, text]) => text !== NOTHING);
  const width = Math.max(0, ...shown.map(([title]) => title.length));
  for (const [title, text] of shown) {
    const name = paint(terminal, "dim", title.padEnd(width));
    terminal.out(`${name}  ${coloured(terminal, text)}\n`);
  }
}

/** For people only, and never among the data. */
export function writeHint(terminal: Terminal, text: string): void {
  terminal.err(`${paint(terminal, "dim", text)}\n`);
}

export function paint(terminal: Terminal, colour: Colour, text: string): string {
  return terminal.hasColours ? styleText(colour, text, { validateStream: false }) : text;
}

/** The member at a dotted path, or undefined. */
export function member(value: unknown, path: string): unknown {
  let at = value;
  for (const name of path.split(".")) {
    if (!isRecord(at) || !Object.hasOwn(at, name)) return undefined;
    at = at[name];
  }
  return at;
}

/**
 * A value as one line of visible text. Names of runs, models and labels come from callers, and one with
 * an escape sequence in it could repaint the terminal of whoever looks at it.
 */
export function textOf(value: unknown): string {
  if (value === undefined || value === null || value === "") return NOTHING;
  if (isList(value)) return value.length === 0 ? NOTHING : value.map(textOf).join(", ");
  if (isRecord(value)) {
    const pairs = Object.entries(value).map(([name, item]) => `${name}=${textOf(item)}`);
    return pairs.length === 0 ? NOTHING : visible(pairs.join(" "));
  }
  return visible(typeof value === "string" ? value : JSON.stringify(value));
}

function visible(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, (character) => {
    const code = character.codePointAt(0) ?? 0;
    return `\\u{${code.toString(16)}}`;
  });
}

function cellText(row: unknown, { value }: Column): string {
  return typeof value === "string" ? textOf(member(row, value)) : textOf(value(row));
}

function coloured(terminal: Terminal, text: string): string {
  const colour = Object.hasOwn(COLOURS, text) ? COLOURS[text] : undefined;
  return colour === undefined ? text : paint(terminal, colour, text);
}

function bordered(
  terminal: Terminal,
  columns: readonly Column[],
  cells: readonly (readonly string[])[],
): string {
  const table = new Table({
    head: columns.map(({ title }) => paint(terminal, "bold", title)),
    colAligns: columns.map(({ align }) => align ?? "left"),
    style: { head: [], border: [], compact: true },
  });
  for (const row of cells) table.push(row.map((text) => coloured(terminal, text)));
  return `${table.toString()}\n`;
}

function aligned(lines: readonly (readonly string[])[], columns: readonly Column[]): string {
  const widths = columns.map((_, at) => Math.max(...lines.map((line) => line[at]?.length ?? 0)));
  const text = lines.map((line) => {
    const padded = line.map((cell, at) => {
      const width = widths[at] ?? 0;
      return columns[at]?.align === "right" ? cell.padStart(width) : cell.padEnd(width);
    });
    return padded.join("  ").trimEnd();
  });
  return `${text.join("\n")}\n`;
}
