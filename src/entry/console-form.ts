/**
 * The forms of the console, read as all other bodies are: within the memory that bodies may have, and no
 * longer than a client goes on sending. They come before anybody has signed in.
 */
import type { FormRead } from "../console/visit.ts";
import { InputError } from "../core/errors.ts";
import { isUnavailable } from "../gate/unavailable.ts";
import { phraseThrown } from "../http/errors.ts";
import type { Exchange } from "../http/exchange.ts";
import { decodeUtf8 } from "../lib/json.ts";

export async function readForm(
  exchange: Pick<Exchange, "readBody">,
  bytesMax: number,
): Promise<FormRead> {
  try {
    const text = decodeUtf8(await exchange.readBody(bytesMax));
    return text === null
      ? { kind: "refused", status: 400, message: "The form is not UTF-8." }
      : { kind: "read", text };
  } catch (error) {
    if (error instanceof InputError) {
      return { kind: "refused", status: phraseThrown(error, "").status, message: error.message };
    }
    if (!isUnavailable(error)) throw error;
    return { kind: "refused", status: 503, message: "There is no room for this now: try again." };
  }
}
