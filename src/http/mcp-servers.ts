/** MCP servers as operators meet them: which there are, and what they list. */
import { z } from "@hono/zod-openapi";

import { InputError } from "../core/errors.ts";
import { stateOf } from "../gate/catalogue.ts";
import { noServer } from "../gate/servers.ts";
import { define, type Api } from "./api.ts";
import { Tenanted, TenantOnly } from "./schemas.ts";
import { ToolStates } from "./tools.ts";

const ServerParams = z.strictObject({ server: z.string().min(1).max(63) });

const Discovered = z
  .object({
    server: z.string(),
    tools: z
      .array(
        z.object({
          name: z.string().openapi({ example: "files/read_file" }),
          sha256: z.string(),
          state: ToolStates,
        }),
      )
      .readonly(),
  })
  .openapi("DiscoveredTools");

export function mcpServerRoutes(api: Api): void {
  define(
    api,
    {
      method: "post",
      path: "/mcp-servers/{server}/discover",
      summary: "List the tools of an MCP server now, and remember their definitions",
      description:
        "What a server lists is not callable until its definition is approved: `PUT /api/tools/{tool}` with `definition`.",
      scopes: ["admin"],
      tenancy: "one",
      params: ServerParams,
      query: TenantOnly,
      body: z.strictObject(Tenanted),
      status: 200,
      answer: Discovered,
    },
    async ({ bindings: { gateway }, tenantId, params }) => {
      const server = gateway.authority.server(tenantId, params.server);
      if (server === null || gateway.servers === null) throw noServer(params.server);
      const found = await gateway.servers.catalogue.discover({ tenantId, server });
      if (found.kind === "unreached") {
        const message = `${found.message} Start it, or correct its \`url\` and \`headers\` in tollgate.yaml.`;
        throw new InputError("conflict", "server", message);
      }
      return {
        server: server.name,
        tools: [...found.tools.values()].map((tool) => ({
          name: `${server.name}/${tool.tool}`,
          sha256: tool.sha256,
          state: stateOf(gateway.authority, tenantId, { server, listed: tool }),
        })),
      };
    },
  );
}
