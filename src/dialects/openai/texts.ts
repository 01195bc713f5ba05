import { isList, isRecord } from "../../lib/json.ts";

/**
 * Every text in a parsed body, whatever its member is called: what detectors search. Data URLs of
 * images and sound are left out, for they are no text to anybody. Without recursion, at any depth.
 */
export function textsOf(body: unknown): readonly string[] {
  const texts: string[] = [];
  const stack: unknown[] = [body];
  while (stack.length > 0) {
    const value = stack.pop();
    if (typeof value === "string") {
      if (!isDataUrl(value)) texts.push(value);
    } else if (isList(value)) {
      for (const item of value)
        if (typeof item === "string" || typeof item === "object") stack.push(item);
    } else if (isRecord(value)) {
      for (const name in value) {
        const member = value[name];
        if (typeof member === "string" || typeof member === "object") stack.push(member);
      }
    }
  }
  return texts;
}

/** A type and encoding take less than a hundred characters. What has words behind them is a text. */
export function isDataUrl(text: string): boolean {
  const begins = text.startsWith("data:") && text.slice(0, 128).includes(";base64,");
  return begins && !text.includes(" ");
}
