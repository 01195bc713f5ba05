/** A JSON text once read: its value, or null where the text is not JSON. `{ value: null }` is the JSON null. */
export type Parsed = { readonly value: unknown } | null;

/**
 * Reads JSON that strangers wrote. Bad JSON is an answer here and not an exception, so that nothing
 * else need catch one: a broken event of a stream is passed on unread, a broken body is a mistake to name.
 * The depth of the text must be bounded before: `JSON.parse` builds whatever it is given.
 */
export function parseJson(text: string): Parsed {
  try {
    return { value: JSON.parse(text) };
  } catch {
    return null;
  }
}

/** One for all: it keeps nothing between two whole texts, and making one costs more than most texts do. */
const UTF8 = new TextDecoder("utf-8", { fatal: true });

/** Decodes UTF-8, or answers null where the bytes are not UTF-8. A leading byte order mark is dropped. */
export function decodeUtf8(bytes: Uint8Array): string | null {
  try {
    return UTF8.decode(bytes);
  } catch {
    return null;
  }
}

/** Decodes the percent-encoding of one path segment, or answers null where it is malformed. */
export function decodePercent(text: string): string | null {
  try {
    return decodeURIComponent(text);
  } catch {
    return null;
  }
}

/** The text that base64url writes (RFC 4648 §5), or null where it is none. */
export function decodeBase64Url(text: string): string | null {
  try {
    const bytes = Uint8Array.from(
      atob(text.replaceAll("-", "+").replaceAll("_", "/")),
      (character) => character.charCodeAt(0),
    );
    return decodeUtf8(bytes);
  } catch {
    return null;
  }
}

/** A JSON object: not null, not an array. */
export function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** A JSON array, its elements still unknown. */
export function isList(value: unknown): value is readonly unknown[] {
  return Array.isArray(value);
}

/**
 * The beginning of a text of strangers, so that a JSON text that holds it can be read by PostgreSQL: that refuses a
 * document with a NUL or half a character in it, whatever member of it is asked for, and a cut may leave a half.
 */
export function clipped(text: string, charsMax: number): string {
  return text.slice(0, charsMax).toWellFormed().replaceAll("\0", "\uFFFD");
}

export function textOrNull(value: unknown): string | null {
  return typeof value === "string" ? value : null;
}

/** A member of what is to be written: left out where there is none. */
export function ifAny<Value>(value: Value | null): Value | undefined {
  return value ?? undefined;
}
