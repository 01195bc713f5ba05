import { readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

import type { ReadAsset } from "../http/docs.ts";

/** Reads a file of the API page. `name` is one of the page's own closed list, never a path from outside. */
export const readAsset: ReadAsset = async (name) => {
  const folder = dirname(fileURLToPath(import.meta.resolve("swagger-ui-dist/package.json")));
  const file = await readFile(join(folder, name));
  return new Uint8Array(file);
};
