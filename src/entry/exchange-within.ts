/** The exchange of a request that another part of this process makes of the API: it came whole, and leaves as a Response. */
import { InputError } from "../core/errors.ts";
import type { Exchange } from "../http/exchange.ts";
import { Fault } from "../lib/assert.ts";

export function createExchangeWithin(request: Request): Exchange {
  const { pathname, search } = new URL(request.url);
  return {
    method: request.method,
    url: pathname + search,
    rawHeaders: [...request.headers].flat(),
    header: (name) => request.headers.get(name),
    readBody: async (bytesMax) => {
      const bytes = new Uint8Array(await request.arrayBuffer());
      if (bytes.byteLength <= bytesMax) return bytes;
      throw new InputError("body_too_large", null, `The body is longer than ${bytesMax} bytes.`);
    },
    streamBody: () => {
      throw new Fault("the management API streams no body");
    },
    isGone: () => false,
    reply: () => {
      throw new Fault("the management API answers by what it returns");
    },
    handled: new Response(null),
  };
}
