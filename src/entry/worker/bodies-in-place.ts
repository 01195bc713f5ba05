/** Large request bodies on Workers, which have no threads: read where they are, for they are bounded. */
import { edit } from "../../dialects/openai/edit.ts";
import { askedOf, type LargeBodies } from "../../http/request-body.ts";
import { sha256Hex } from "../../lib/hash.ts";

export function inPlaceBodies(): LargeBodies {
  return {
    read: async ({ route, contentType, bytes }) => ({
      asked: askedOf(route, contentType, bytes),
      digest: sha256Hex(bytes),
      bytes,
    }),
    edit: async ({ bytes, edits }) => edit(bytes, edits),
  };
}
