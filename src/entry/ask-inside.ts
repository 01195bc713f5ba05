/** The console asks the public API of its own process: an answer without a socket. */
import type { App } from "../http/app.ts";
import type { Env } from "../http/env.ts";
import { createBodyBudget } from "./body-node.ts";
import { TERMS } from "./exchange-node.ts";
import { createWebExchange } from "./worker/exchange-web.ts";

export async function askInside(
  fetch: App["fetch"],
  request: Request,
  bindings: Env["Bindings"],
): Promise<Response> {
  // Its body is in memory already and as small as a form: it waits for no share of anybody's.
  const { exchange, release } = createWebExchange(request, createBodyBudget(TERMS));
  try {
    return await fetch(request, { ...bindings, exchange });
  } finally {
    release();
  }
}
