import { get_encoding, type Tiktoken } from "tiktoken";
import { splitRuns, type Encoding } from "../core/token-runs.ts";

/** What a counter in this thread or another is asked. */
export type CountTask = { readonly texts: readonly string[]; readonly encoding: Encoding };

/** Encoders by name; loading one takes 40 to 170 ms, so each is loaded once per thread. */
export type Encoders = Map<Encoding, Tiktoken>;

/** Special tokens in a text (`<|endoftext|>`) are counted as the plain text they are. */
export function countTokens(loaded: Encoders, { texts, encoding }: CountTask): number {
  const encoder = encoderOf(loaded, encoding);
  let tokens = 0;
  for (const text of texts) {
    for (const piece of splitRuns(text)) tokens += encoder.encode_ordinary(piece).length;
  }
  return tokens;
}

export function encoderOf(loaded: Encoders, encoding: Encoding): Tiktoken {
  const known = loaded.get(encoding);
  if (known !== undefined) return known;
  const encoder = get_encoding(encoding);
  loaded.set(encoding, encoder);
  return encoder;
}
