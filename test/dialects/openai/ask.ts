import type { Asked, Route } from "../../../src/dialects/dialect.ts";
import { classify } from "../../../src/dialects/openai/classify.ts";
import { findRoute } from "../../../src/dialects/openai/routes.ts";

/** The route of a POST. */
export function route(path: string): Route {
  const found = findRoute("POST", path);
  if (found === null) throw new Error(path);
  return found;
}

/** Classifies a body, given as text or as a value to write. */
export function ask(path: string, body: unknown): Asked {
  const text = typeof body === "string" ? body : JSON.stringify(body);
  return classify(route(path), new TextEncoder().encode(text));
}
