/** What a door may do with MCP servers. */
import { NOTHING } from "../core/charge.ts";
import type { ToolPermit } from "./admit.ts";
import { callServer, type Called, type CallParts, type ServerCall } from "./call-server.ts";
import type { Place } from "./ask-server.ts";
import { createCatalogue, type Catalogue, type CatalogueParts } from "./catalogue.ts";
import type { Ending } from "./ending.ts";
import type { Connections } from "./servers.ts";
import type { UnderWay } from "./under-way.ts";

export type ServerCalls = {
  readonly catalogue: Catalogue;
  /** What a server says of itself. */
  readonly about: (place: Place) => ReturnType<Connections["reach"]>;
  /** Asks what a permit allows, and ends it. `settled` resolves when its ending has committed. */
  readonly call: (
    permit: ToolPermit,
    call: ServerCall,
  ) => Promise<{ readonly called: Called; readonly settled: Promise<unknown> }>;
};

export type ServerCallsParts = Omit<CallParts & CatalogueParts, "connections"> & {
  readonly underWay: UnderWay;
};

/** Null where this runtime connects to no server. */
export function createServerCalls(
  of: ServerCallsParts,
  connections: Connections | undefined,
): ServerCalls | null {
  if (connections === undefined) return null;
  const parts = { ...of, connections };
  return {
    catalogue: createCatalogue(parts),
    about: ({ tenantId, server }) => parts.connections.reach(tenantId, server),
    call: async (permit, call) => {
      parts.underWay.begin(permit);
      const startedMs = parts.monotonicMs();
      try {
        return await callServer(parts, permit, call);
      } catch (error) {
        // A fault of ours, and nobody knows how far it came: the permit ends all the same.
        const durationMs = parts.monotonicMs() - startedMs;
        void parts.settle(permit, endedByFault(durationMs), NOTHING, null);
        throw error;
      }
    },
  };
}

function endedByFault(durationMs: number): Ending {
  return {
    kind: "unknown",
    durationMs,
    firstByteMs: null,
    status: null,
    error: "the gateway failed",
    upstreamRequestId: null,
    clientLeft: false,
  };
}
