/** A file to inspect, by its path from the root of the repository, with forward slashes. */
export type Source = { readonly path: string; readonly text: string };

/**
 * A file's text as its parts, each as long as the whole and blank where it is something else, so that
 * line numbers hold. Template expressions count as code.
 */
export type Parts = { readonly code: string; readonly strings: string; readonly comments: string };

/** What may stand before a `/` that begins a regular expression rather than divides. */
const BEFORE_REGEX =
  /(?:^|[([{,;=:!&|?+\-*%<>~^]|\b(?:return|typeof|case|in|of|do|else|yield|await))\s*$/u;

/**
 * Tells code, strings and comments apart without a syntax tree. Exact for the language that oxfmt
 * writes; regular expressions are recognised by what stands before them, and count as strings.
 */
export function split(text: string): Parts {
  const known = parts.get(text);
  if (known !== undefined) return known;
  const made = scan(text);
  parts.set(text, made);
  return made;
}

/** Many rules look at the same files. */
const parts = new Map<string, Parts>();

function scan(text: string): Parts {
  const code: string[] = [];
  const strings: string[] = [];
  const comments: string[] = [];
  const put = (piece: string, into: string[]): void => {
    const blank = piece.replaceAll(/[^\n]/gu, " ");
    for (const part of [code, strings, comments]) part.push(part === into ? piece : blank);
  };
  /** For each open template expression, how many braces are open within it. */
  const templates: number[] = [];
  let at = 0;
  let recent = "";
  const template = (from: number): void => {
    const match = /(?:[^`\\$]|\\[\s\S]|\$(?!\{))*(?:`|\$\{)/uy;
    match.lastIndex = from;
    const piece = match.exec(text)?.[0] ?? text.slice(from);
    put(piece, strings);
    at = from + piece.length;
    if (piece.endsWith("${")) templates.push(0);
    recent = piece.endsWith("${") ? "(" : "x";
  };
  while (at < text.length) {
    const rest = text.slice(at, at + 2);
    const found = rest === "//" || rest === "/*" || /["'/]/u.test(rest[0] ?? "");
    if (found) {
      const [piece, into] = token(text, at, recent, { code, strings, comments });
      put(piece, into);
      at += piece.length;
      if (into !== comments) recent = into === strings ? "x" : piece;
      continue;
    }
    const character = text[at] ?? "";
    if (character === "`") {
      put("`", strings);
      template(at + 1);
      continue;
    }
    const depth = templates.at(-1);
    if (depth !== undefined && character === "}" && depth === 0) {
      templates.pop();
      put("}", strings);
      template(at + 1);
      continue;
    }
    if (depth !== undefined && /[{}]/u.test(character)) {
      templates[templates.length - 1] = depth + (character === "{" ? 1 : -1);
    }
    put(character, code);
    recent = (recent + character).slice(-24);
    at += 1;
  }
  return { code: code.join(""), strings: strings.join(""), comments: comments.join("") };
}

type Lists = { code: string[]; strings: string[]; comments: string[] };

function token(text: string, at: number, recent: string, to: Lists): [string, string[]] {
  const kinds: [RegExp, string[]][] = [
    [/\/\/[^\n]*/uy, to.comments],
    [/\/\*[\s\S]*?\*\//uy, to.comments],
    [/"(?:[^"\\\n]|\\[\s\S])*"/uy, to.strings],
    [/'(?:[^'\\\n]|\\[\s\S])*'/uy, to.strings],
  ];
  if (BEFORE_REGEX.test(recent)) {
    kinds.push([/\/(?:[^/\\[\n]|\\.|\[(?:[^\]\\\n]|\\.)*\])+\/[a-z]*/uy, to.strings]);
  }
  for (const [pattern, into] of kinds) {
    pattern.lastIndex = at;
    const piece = pattern.exec(text)?.[0];
    if (piece !== undefined) return [piece, into];
  }
  return [text[at] ?? "", to.code];
}

/** The modules that a file imports or re-exports, with the line of each. */
export function importsOf(
  text: string,
): readonly { readonly from: string; readonly line: number }[] {
  const { code, strings } = split(text);
  const found: { from: string; line: number }[] = [];
  for (const match of strings.matchAll(/(["'])((?:(?!\1)[^\n])+)\1/gu)) {
    const before = code.slice(0, match.index).trimEnd();
    if (!/(?:\bfrom|\bimport|\bimport\s*\()$/u.test(before)) continue;
    found.push({ from: match[2] ?? "", line: lineAt(text, match.index) });
  }
  return found;
}

export function lineAt(text: string, index: number): number {
  return text.slice(0, index).split("\n").length;
}
