/** Connections to MCP servers: one of each tenant to each server that it uses, made when it is first needed. */
import { InputError } from "../core/errors.ts";
import type { Handshake, Members } from "../dialects/mcp.ts";
import type { McpServer } from "./authority.ts";

export type Connection = {
  readonly handshake: Handshake;
  /** What the server can do, by the protocol's names. */
  readonly capabilities: Members;
  readonly about: { readonly name: string; readonly version: string };
};

/** A server that cannot be reached, or does not speak the protocol: it has run nothing. `message`: a sentence. */
export type Unreached = { readonly kind: "unreached"; readonly message: string };

/** The refusal of a name that the configuration has for no server of a tenant. */
export function noServer(name: string): InputError {
  const message = `There is no MCP server \`${name}\` here: tollgate.yaml names none for this tenant.`;
  return new InputError("not_found", "server", message);
}

export type Connections = {
  readonly reach: (
    tenantId: string,
    server: McpServer,
  ) => Promise<{ readonly kind: "reached"; readonly connection: Connection } | Unreached>;
  /** It has forgotten its session, or is no longer what it was: the next one connects anew. */
  readonly forget: (tenantId: string, server: McpServer, known: Connection) => void;
  /** Ends all sessions, as far as their servers take part in it. */
  readonly close: () => Promise<void>;
};
