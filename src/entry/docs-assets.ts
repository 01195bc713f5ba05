/** The files of the API's page, from the installed package: the page works without the network. */
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";

/** `name` is one of a fixed list in `http/docs.ts`, never a path of a request. */
export function createDocsAssets(): (name: string) => Promise<Uint8Array<ArrayBuffer> | null> {
  const manifest = createRequire(import.meta.url).resolve("swagger-ui-dist/package.json");
  const folder = dirname(manifest);
  return async (name) => new Uint8Array(await readFile(join(folder, name)));
}
