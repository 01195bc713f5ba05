/** What a Worker does not have, and the sentence that says so. */
import { isConsolePath } from "../../console/visit.ts";
import { InputError } from "../../core/errors.ts";

const METRICS =
  "There are no metrics here: they are counts of one process, and Workers have none that lasts. " +
  "Ask the ledger: GET /api/usage.";

const DOCS =
  "The page of the API is not part of the Worker: its description is GET /openapi.json, and a Tollgate " +
  "on Node shows it at /docs.";

const CONSOLE =
  "The console is not part of the Worker, whose size it would raise by a tenth. A Tollgate on Node with the " +
  "same database shows it at /console.";

/** Throws InputError for a path that is served on Node and not here. */
export function refuseAbsent(pathname: string): void {
  if (pathname === "/metrics") throw new InputError("not_found", null, METRICS);
  if (isConsolePath(pathname)) throw new InputError("not_found", null, CONSOLE);
  if (pathname === "/docs" || pathname.startsWith("/docs/")) {
    throw new InputError("not_found", null, DOCS);
  }
}
