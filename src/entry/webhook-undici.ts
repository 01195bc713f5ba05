/**
 * The port `webhook` on Node. Where a tenant may name a host, the host decides to what its name leads, at
 * each look-up anew: so the address is checked when the connection is made, and it is the checked one that is
 * connected to. Each message has a connection of its own, which no other tenant's bytes can travel on.
 */
import { lookup as systemLookup, type LookupAddress } from "node:dns";
import type { LookupFunction } from "node:net";

import { Agent, buildConnector } from "undici";

import { DELIVERY_MS_MAX } from "../core/limits.ts";
import type { Received, WebhookPort } from "../gate/ports.ts";
import { isAddress, isPublicAddress } from "../lib/addresses.ts";

/** A receiver that does not even take a connection for so long is away. */
const CONNECT_MS_MAX = 5_000;

/** What is read of an answer beyond its status, so that its sender can end it in peace. */
const ANSWER_BYTES_MAX = 64 * 1024;
const ANSWER_MS_MAX = 1_000;

const ANSWER_HEADER_BYTES_MAX = 16 * 1024;

/** Tells all addresses of a name. */
export type Lookup = (
  hostname: string,
  tell: (error: Error | null, addresses: readonly LookupAddress[]) => void,
) => void;

export type WebhookOptions = {
  readonly allowsPrivate: boolean;
  readonly lookup?: Lookup;
  /** How long a try may take, in ms. */
  readonly msMax?: number;
};

export type NodeWebhookPort = WebhookPort & { readonly close: () => Promise<void> };

export function createWebhookPort({
  allowsPrivate,
  lookup = lookupAll,
  msMax = DELIVERY_MS_MAX,
}: WebhookOptions): NodeWebhookPort {
  const agent = new Agent({
    connect: guardedConnector(allowsPrivate, lookup),
    // No connection is kept: the next message may be another tenant's, and the name lead elsewhere.
    pipelining: 0,
    maxHeaderSize: ANSWER_HEADER_BYTES_MAX,
    headersTimeout: msMax,
    bodyTimeout: msMax,
  });
  return {
    allowsPrivate,
    post: async ({ url, headers, body }): Promise<Received> => {
      const target = new URL(url);
      try {
        const answer = await agent.request({
          origin: target.origin,
          path: target.pathname + target.search,
          method: "POST",
          headers,
          body,
          signal: AbortSignal.timeout(msMax),
        });
        // The status has said it: how the rest of the answer ends changes nothing.
        const signal = AbortSignal.timeout(ANSWER_MS_MAX);
        await answer.body.dump({ limit: ANSWER_BYTES_MAX, signal }).catch(() => undefined);
        return { kind: "answered", status: answer.statusCode };
      } catch (error) {
        return { kind: "failed", message: whyNot(error, msMax) };
      }
    },
    close: () => agent.destroy(),
  };
}

/** Where a message must not go. Its text says no address: whoever named the host need not learn it. */
class NotPublic extends Error {
  override readonly name = "NotPublic";
}

const NOT_PUBLIC = "not sent: its host has no public address";

function guardedConnector(allowsPrivate: boolean, lookup: Lookup): buildConnector.connector {
  const guardedLookup: LookupFunction = (hostname, options, callback) => {
    lookup(hostname, (error, found) => {
      const usable = found.filter(({ address }) => allowsPrivate || isPublicAddress(address));
      const [first] = usable;
      if (error !== null) callback(error, "", 0);
      else if (first === undefined) callback(new NotPublic(NOT_PUBLIC), "", 0);
      else if (options.all === true) callback(null, [...usable]);
      else callback(null, first.address, first.family);
    });
  };
  const connect = buildConnector({ timeout: CONNECT_MS_MAX, lookup: guardedLookup });
  return (options, callback) => {
    // A host that is an address is connected to without any look-up.
    const host = options.hostname.replace(/^\[(.*)\]$/, "$1");
    if (!allowsPrivate && isAddress(host) && !isPublicAddress(host)) {
      callback(new NotPublic(NOT_PUBLIC), null);
      return;
    }
    connect(options, callback);
  };
}

function lookupAll(hostname: string, tell: Parameters<Lookup>[1]): void {
  systemLookup(hostname, { all: true }, (error, addresses) => {
    // On an error there are none, whatever the types say.
    tell(error, error === null ? addresses : []);
  });
}

/** In words that say nothing of this network: an error's own text may name addresses. */
function whyNot(error: unknown, msMax: number): string {
  if (error instanceof NotPublic) return error.message;
  if (!(error instanceof Error)) return "no answer";
  if (error.name === "TimeoutError") return `no answer within ${msMax / 1_000} s`;
  const code = "code" in error && typeof error.code === "string" ? error.code : error.name;
  return `no answer (${code})`;
}
