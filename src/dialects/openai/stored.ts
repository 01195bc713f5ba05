import type { FoundRoute } from "./routes.ts";

/** Routes that touch nothing which a caller stored: the list of models, and what only computes. */
const STATELESS: ReadonlySet<string> = new Set([
  "/responses/input_tokens",
  "/fine_tuning/alpha/graders/validate",
]);

/**
 * Whether a route reads, changes or deletes objects stored at the provider (files, responses, batches …), also where
 * that is not free at every one. They belong to the provider's account, so whoever shares it can reach them.
 */
export function reachesStored(method: string, route: FoundRoute): boolean {
  if (route.freeAt === null || STATELESS.has(route.path)) return false;
  const isModels = route.path === "/models" || route.path.startsWith("/models/");
  return !(isModels && method === "GET");
}
