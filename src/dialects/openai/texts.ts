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

/**
 * Nothing but a type and base64: whatever has another sign is a text, of however few words, and one that only
 * begins like an image would hide what follows.
 */
const DATA_URL = /^data:[a-z]+\/[\w.+-]{1,100};base64,[A-Za-z0-9+/]*={0,2}$/i;

export function isDataUrl(text: string): boolean {
  return text.startsWith("data:") && DATA_URL.test(text);
}
