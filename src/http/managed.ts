/** All below `/api`, and what describes it: one app, which is made when it is first asked for. */
import { Hono, type ErrorHandler } from "hono";

import { InputError } from "../core/errors.ts";
import { createDocs, createManagement, type ReadAsset } from "./docs.ts";
import type { Env } from "./env.ts";

export type ManagedParts = {
  readonly newId: () => string;
  readonly readAsset: ReadAsset;
  readonly onError: ErrorHandler<Env>;
};

export function createManaged({ newId, readAsset, onError }: ManagedParts): Hono<Env>["fetch"] {
  const app = new Hono<Env>();
  app.onError(onError);
  const management = createManagement();
  app.use("/api/*", async (c, next) => {
    const requestId = `req_${newId()}`;
    c.set("requestId", requestId);
    await next();
    c.header("x-request-id", requestId);
  });
  app.route("/", createDocs(management.document, readAsset));
  app.route("/api", management.api);
  app.all("/api/*", (c) => {
    throw new InputError(
      "unknown_url",
      null,
      `Unknown request URL: ${c.req.method} ${c.req.path}.`,
    );
  });
  return app.fetch;
}
