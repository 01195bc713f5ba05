/** Where a match stands in its text. */
export type Span = { readonly start: number; readonly end: number };

/** How one kind of finding is looked for: by a mark that is rare, and a bounded look around it. */
export type Detector = {
  readonly kind: string;
  /**
   * What every match holds: it is searched for first. Texts in small letters where `ignoresCase`; patterns
   * are global, without quantifiers, and read in one pass where there would be many texts.
   */
  readonly marks: readonly (string | RegExp)[];
  readonly ignoresCase: boolean;
  /**
   * What is to be hidden of the match around a mark at this place, or null. Reads a bounded piece of the text.
   * It has ASCII at both its ends, or whole characters.
   */
  readonly spanOf: (text: string, at: number) => Span | null;
};

/** A match that begins at the mark itself. `pattern` is sticky; see `isWithinWord` for what may stand before it. */
export function wordDetector(
  kind: string,
  marks: readonly string[],
  pattern: RegExp,
  isReal: (match: string) => boolean = () => true,
): Detector {
  return {
    kind,
    marks,
    ignoresCase: false,
    spanOf: (text, at) => {
      if (isWithinWord(text, at)) return null;
      const match = matchAt(pattern, text, at);
      return match !== null && isReal(match) ? spanFrom(at, match) : null;
    },
  };
}

/**
 * Whether a letter, digit or underscore stands before a place. Of `\\n` in JSON within a text (arguments of
 * a tool call, an answer that is passed on) the letter ends an escape, and belongs to no word.
 */
export function isWithinWord(text: string, at: number): boolean {
  if (!/\w/.test(text.charAt(at - 1))) return false;
  return !(text[at - 2] === "\\" && /[bfnrt]/.test(text.charAt(at - 1)));
}

/** What a sticky pattern matches at a place; its own place is set before each use, so it remembers nothing. */
export function matchAt(pattern: RegExp, text: string, at: number): string | null {
  pattern.lastIndex = at;
  return pattern.exec(text)?.[0] ?? null;
}

export function spanFrom(start: number, match: string | null): Span | null {
  return match === null ? null : { start, end: start + match.length };
}
