/** The fields of a form that was sent. */
import type { Context } from "hono";

import { ApiRefused } from "./api.ts";
import { FORM_BYTES_MAX } from "./limits.ts";
import type { ConsoleEnv } from "./visit.ts";

/** Throws ApiRefused for a body that cannot be read as a whole. */
export async function readFields(c: Context<ConsoleEnv>): Promise<URLSearchParams> {
  const read = await c.env.form(FORM_BYTES_MAX);
  if (read.kind === "read") return new URLSearchParams(read.text);
  // What still comes of it is no next request.
  c.header("connection", "close");
  throw new ApiRefused(read.status, "", read.message);
}
