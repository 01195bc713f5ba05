/**
 * Comma-separated values as RFC 4180 has them: cells in quotes may hold commas, line breaks and doubled
 * quotes; a line ends with CRLF, LF or CR; a byte order mark and empty lines are left out. What readers
 * understand differently is not guessed at: a quote in the middle of a cell, or behind one.
 */
export type CsvRecord = {
  /** Where it begins: the first line of a text is 1. */
  readonly line: number;
  /** Its own text, without the end of its line. */
  readonly text: string;
  readonly cells: readonly string[];
};

export type Csv =
  | { readonly kind: "read"; readonly records: readonly CsvRecord[] }
  | { readonly kind: "broken"; readonly line: number; readonly why: string };

/** Where reading stops: who takes no more rows, or no more cells of one, need not read what follows. */
export type CsvBounds = { readonly recordsMax: number; readonly cellsMax: number };

const ALL: CsvBounds = { recordsMax: Infinity, cellsMax: Infinity };

/** With bounds: the first records, and none with more cells than that. */
export function readCsv(given: string, { recordsMax, cellsMax }: CsvBounds = ALL): Csv {
  const text = given.startsWith("\u{feff}") ? given.slice(1) : given;
  const records: CsvRecord[] = [];
  let at = 0;
  let line = 1;
  while (at < text.length && records.length < recordsMax) {
    const from = at;
    const cells: string[] = [];
    for (;;) {
      const cell = readCell(text, at);
      if (cell.kind === "broken") {
        return { kind: "broken", line: line + breaksIn(text.slice(from, at)), why: cell.why };
      }
      cells.push(cell.value);
      if (cells.length > cellsMax) {
        return { kind: "broken", line, why: `a row has more than ${cellsMax} cells` };
      }
      at = cell.end;
      if (text[at] !== ",") break;
      at += 1;
    }
    const record = text.slice(from, at);
    if (record !== "") {
      records.push({ line, text: record, cells });
      line += breaksIn(record);
    }
    line += 1;
    at += text.startsWith("\r\n", at) ? 2 : 1;
  }
  return { kind: "read", records };
}

/** A cell as it is written: in quotes where it has to be. */
export function csvCell(value: string): string {
  return /[",\r\n]|^\s|\s$/.test(value) ? `"${value.replaceAll('"', '""')}"` : value;
}

type Cell =
  | { readonly kind: "read"; readonly value: string; readonly end: number }
  | { readonly kind: "broken"; readonly why: string };

function readCell(text: string, from: number): Cell {
  if (text[from] === '"') return readQuoted(text, from);
  const plainEnd = /[",\r\n]/g;
  plainEnd.lastIndex = from;
  const end = plainEnd.exec(text)?.index ?? text.length;
  if (text[end] !== '"') return { kind: "read", value: text.slice(from, end), end };
  return { kind: "broken", why: "a quote stands in the middle of a cell" };
}

function readQuoted(text: string, from: number): Cell {
  let at = from + 1;
  while (at <= text.length) {
    const quote = text.indexOf('"', at);
    if (quote < 0) break;
    if (text[quote + 1] !== '"') {
      const end = quote + 1;
      if (end < text.length && !",\r\n".includes(text.charAt(end))) {
        return { kind: "broken", why: "text stands behind the closing quote of a cell" };
      }
      return { kind: "read", value: text.slice(from + 1, quote).replaceAll('""', '"'), end };
    }
    at = quote + 2;
  }
  return { kind: "broken", why: "a quote is opened and never closed" };
}

function breaksIn(text: string): number {
  return text.match(/\r\n|\r|\n/g)?.length ?? 0;
}
