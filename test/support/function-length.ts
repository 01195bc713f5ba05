import { lineAt, split, type Source } from "./source-text.ts";

type Span = { readonly start: number; readonly end: number };

/**
 * Functions that do not fit a screen. A function's own lines count, without blank lines, comments and
 * the functions within it: a factory is as long as what it does itself, not as all that it makes.
 */
export function longFunctions(sources: readonly Source[], linesMax: number): string[] {
  return sources
    .filter(({ path }) => path.startsWith("src/") && path.endsWith(".ts"))
    .flatMap((source) => {
      const { code, strings } = split(source.text);
      const spans = functionsIn(code);
      return spans
        .map((span) => ({ span, lines: ownLines(span, spans, { code, strings }) }))
        .filter(({ lines }) => lines > linesMax)
        .map(({ span, lines }) => `${source.path}:${lineAt(code, span.start)}: ${lines} lines`);
    });
}

/** The bodies of functions and arrow functions, from the brace that opens to the one that closes. */
function functionsIn(code: string): readonly Span[] {
  const spans: Span[] = [];
  for (const match of code.matchAll(/\bfunction\b[^(]*\(|=>\s*\{/gu)) {
    const isArrow = match[0].startsWith("=>");
    const from = isArrow ? match.index : closing(code, match.index + match[0].length - 1, "(", ")");
    // After parameters and type, the body is the brace that ends its line.
    const body = isArrow ? match.index + match[0].length - 1 : bodyAfter(code, from);
    if (body >= 0) spans.push({ start: body, end: closing(code, body, "{", "}") });
  }
  return spans;
}

function bodyAfter(code: string, from: number): number {
  const rest = code.slice(from);
  const body = /\{[ ]*\n/u.exec(rest);
  const ends = rest.search(/;/u);
  // An overload or a function type ends before any body.
  return body === null || (ends >= 0 && ends < body.index) ? -1 : from + body.index;
}

function closing(code: string, open: number, left: string, right: string): number {
  let depth = 0;
  for (let index = open; index < code.length; index++) {
    if (code[index] === left) depth += 1;
    if (code[index] === right) depth -= 1;
    if (depth === 0) return index;
  }
  return code.length;
}

function ownLines(
  span: Span,
  spans: readonly Span[],
  { code, strings }: { code: string; strings: string },
): number {
  const inner = spans.filter(({ start, end }) => start > span.start && end < span.end);
  let lines = 0;
  let at = span.start;
  for (const line of code.slice(span.start, span.end).split("\n")) {
    const from = at;
    at += line.length + 1;
    const isBlank = line.trim() === "" && strings.slice(from, at).trim() === "";
    const isInner = inner.some(({ start, end }) => from > start && from <= end);
    if (!isBlank && !isInner) lines += 1;
  }
  return lines;
}
