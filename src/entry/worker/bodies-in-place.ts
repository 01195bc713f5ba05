/** Large request bodies on Workers, which have no threads: read where they are, for they are bounded. */
import { NOT_SEARCHED } from "../../core/detect.ts";
import { InputError } from "../../core/errors.ts";
import {
  askedOf,
  digestsOf,
  editedBy,
  findingsIn,
  type LargeBodies,
} from "../../http/request-body.ts";

/**
 * Opening brackets of one body. Each may be an object or an array, which takes 94 bytes of the isolate's
 * 128 MB when it is built: 4 MiB of nothing else took 131 MB, this many take 47. A megabyte of source
 * code in a prompt has some thirty thousand.
 */
export const WORKER_BRACKETS_MAX = 500_000;

export function inPlaceBodies(): LargeBodies {
  return {
    read: async ({ route, contentType, bytes, searches }) => {
      if (route.body === "json" && bracketsOf(bytes) > WORKER_BRACKETS_MAX) throw tooIntricate();
      const asked = askedOf(route, contentType, bytes);
      const findings = searches ? findingsIn(route, bytes) : NOT_SEARCHED;
      return {
        asked,
        ...digestsOf(route, bytes, { contentType, model: asked.model, named: null }),
        bytes,
        findings,
      };
    },
    edit: async ({ bytes, edits }) => editedBy(bytes, edits),
  };
}

/** Those in texts are counted too: looking closer would cost what it saves. */
function bracketsOf(bytes: Uint8Array): number {
  let count = 0;
  for (const byte of bytes) if (byte === 0x7b || byte === 0x5b) count += 1;
  return count;
}

function tooIntricate(): InputError {
  const message =
    `The request body has more than ${WORKER_BRACKETS_MAX} brackets, the most that Tollgate reads on ` +
    "Workers, where 128 MB of memory serve all requests. Tollgate on Node takes more.";
  return new InputError("body_too_large", null, message);
}
