/** The management API's own description: OpenAPI 3.1, and a page that shows it without the network. */
import { OpenAPIHono } from "@hono/zod-openapi";
import { Hono } from "hono";

import { InputError } from "../core/errors.ts";
import { adjustmentRoutes } from "./adjustments.ts";
import type { Api } from "./api.ts";
import { approvalRoutes } from "./approvals.ts";
import type { Env } from "./env.ts";
import { gateRoute } from "./gate.ts";
import { limitRoutes } from "./limits.ts";
import { manageRoutes } from "./manage.ts";
import { operationRoutes } from "./operations.ts";
import { outcomeRoutes } from "./outcomes.ts";
import { outcomeTypeRoutes } from "./outcome-types.ts";
import { policyRoutes } from "./policies.ts";
import { closingRoutes } from "./closings.ts";
import { reportScheduleRoutes } from "./report-schedules.ts";
import { reportRoutes } from "./reports.ts";
import { priceRoutes } from "./prices.ts";
import { reconciliationRoutes } from "./reconciliation.ts";
import { replayRoutes } from "./replays.ts";
import { runRoutes } from "./runs.ts";
import { webhookRoutes } from "./webhooks.ts";
import { mcpServerRoutes } from "./mcp-servers.ts";
import { toolRoutes } from "./tools.ts";

/** A file of the page, by its name; null when there is none. */
export type ReadAsset = (name: string) => Promise<Uint8Array<ArrayBuffer> | null>;

export type Management = {
  /** To be mounted at `/api`. */
  readonly api: Api;
  /** The OpenAPI document, as JSON: made when it is first asked for, which few gateways are, and then kept. */
  readonly document: () => string;
};

/** Files of the page that are served, and as what: nothing else of the package is reachable. */
const ASSETS: Readonly<Record<string, string>> = {
  "swagger-ui.css": "text/css; charset=utf-8",
  "swagger-ui-bundle.js": "text/javascript; charset=utf-8",
  "favicon-32x32.png": "image/png",
};

/** Everything comes from here, nothing is inline, nobody frames it. */
const CONTENT_SECURITY_POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self' data:",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join("; ");

const PAGE_HEADERS = {
  "content-security-policy": CONTENT_SECURITY_POLICY,
  "x-content-type-options": "nosniff",
  "referrer-policy": "no-referrer",
};

const PAGE = `<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8" />
    <title>Tollgate API</title>
    <link rel="stylesheet" href="/docs/swagger-ui.css" />
    <link rel="icon" type="image/png" href="/docs/favicon-32x32.png" />
  </head>
  <body>
    <div id="page"></div>
    <script src="/docs/swagger-ui-bundle.js"></script>
    <script src="/docs/start.js"></script>
  </body>
</html>
`;

/** No validator: it would send the document to a stranger. */
const START = `SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#page",
  deepLinking: true,
  validatorUrl: null,
});
`;

export function createManagement(): Management {
  const api = new OpenAPIHono<Env>();
  api.openAPIRegistry.registerComponent("securitySchemes", "key", {
    type: "http",
    scheme: "bearer",
    description: "The installation's administration key, or a key with the scope.",
  });
  manageRoutes(api);
  limitRoutes(api);
  runRoutes(api);
  priceRoutes(api);
  adjustmentRoutes(api);
  reportRoutes(api);
  reportScheduleRoutes(api);
  closingRoutes(api);
  approvalRoutes(api);
  webhookRoutes(api);
  toolRoutes(api);
  mcpServerRoutes(api);
  gateRoute(api);
  outcomeTypeRoutes(api);
  outcomeRoutes(api);
  operationRoutes(api);
  reconciliationRoutes(api);
  // Before the routes of one version, whose name would else be taken for a version.
  replayRoutes(api);
  policyRoutes(api);
  let document: string | null = null;
  return { api, document: () => (document ??= documentOf(api)) };
}

function documentOf(api: Api): string {
  const document = api.getOpenAPI31Document({
    openapi: "3.1.0",
    info: {
      title: "Tollgate management API",
      version: "0.1.0",
      description:
        "Money is an exact decimal string in USD, times are RFC 3339, lists are `{data, next}`. " +
        "Unknown members are refused; what a key may not see answers 404.",
    },
  });
  return JSON.stringify(document);
}

/** `/openapi.json`, `/docs` and its files: public, for they say nothing of any tenant. */
export function createDocs(document: Management["document"], readAsset: ReadAsset): Hono<Env> {
  const docs = new Hono<Env>();
  docs.get("/openapi.json", (c) =>
    c.body(document(), 200, { "content-type": "application/json; charset=utf-8" }),
  );
  docs.get("/docs", (c) => c.html(PAGE, 200, PAGE_HEADERS));
  docs.get("/docs/start.js", (c) =>
    c.body(START, 200, { ...PAGE_HEADERS, "content-type": "text/javascript; charset=utf-8" }),
  );
  docs.get("/docs/:file", async (c) => {
    const name = c.req.param("file");
    const type = Object.hasOwn(ASSETS, name) ? ASSETS[name] : undefined;
    const bytes = type === undefined ? null : await readAsset(name);
    if (type === undefined || bytes === null) {
      throw new InputError("unknown_url", null, `Unknown request URL: GET ${c.req.path}.`);
    }
    return c.body(bytes, 200, { ...PAGE_HEADERS, "content-type": type });
  });
  return docs;
}
