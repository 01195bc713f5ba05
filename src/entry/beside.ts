/**
 * A program of this folder that is started by its file: as TypeScript beside the sources, as JavaScript
 * in the bundle, all of which lies in one folder.
 */
export function besideThis(name: string): URL {
  const extension = import.meta.url.endsWith(".ts") ? "ts" : "js";
  return new URL(`./${name}.${extension}`, import.meta.url);
}
