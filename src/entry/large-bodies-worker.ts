/** Runs in a worker thread: the same pure readers and editors as on the loop, for bodies that would block it. */
import { kTransferable, kValue, Tinypool } from "tinypool";

import { InputError } from "../core/errors.ts";
import type { InputCode } from "../core/errors.ts";
import type { Asked, Edits, Route } from "../dialects/dialect.ts";
import { edit } from "../dialects/openai/edit.ts";
import { askedOf } from "../http/request-body.ts";
import { sha256Hex } from "../lib/hash.ts";

export type ReadTask = {
  readonly route: Route;
  readonly contentType: string;
  readonly bytes: Uint8Array;
};
export type EditTask = { readonly bytes: Uint8Array; readonly edits: Edits };

/** An InputError does not survive the way between threads as one, so it is told as a value. */
export type ReadAnswer =
  | {
      readonly kind: "read";
      readonly asked: Asked;
      readonly digest: string;
      readonly bytes: Uint8Array;
    }
  | {
      readonly kind: "mistake";
      readonly code: InputCode;
      readonly param: string | null;
      readonly message: string;
    };

export function readLarge({ route, contentType, bytes }: ReadTask): unknown {
  try {
    const asked = askedOf(route, contentType, bytes);
    return moved({ kind: "read", asked, digest: sha256Hex(bytes), bytes }, bytes);
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    const { code, param, message } = error;
    return { kind: "mistake", code, param, message } satisfies ReadAnswer;
  }
}

export function editLarge({ bytes, edits }: EditTask): unknown {
  const edited = edit(bytes, edits);
  return moved(edited, edited);
}

/** Hands the bytes over instead of copying them. */
function moved(value: ReadAnswer | Uint8Array, bytes: Uint8Array): unknown {
  return Tinypool.move({ [kTransferable]: bytes.buffer, [kValue]: value });
}
