/** What a Worker does not have, and the sentence that says so. */
import { InputError } from "../../core/errors.ts";

const METRICS =
  "There are no metrics here: they are counts of one process, and Workers have none that lasts. " +
  "Ask the ledger: GET /api/usage.";

const DOCS =
  "The page of the API is not part of the Worker: its description is GET /openapi.json, and a Tollgate " +
  "on Node shows it at /docs.";

/** Throws InputError for a path that is served on Node and not here. */
export function refuseAbsent(pathname: string): void {
  if (pathname === "/metrics") throw new InputError("not_found", null, METRICS);
  if (pathname === "/docs" || pathname.startsWith("/docs/")) {
    throw new InputError("not_found", null, DOCS);
  }
}
