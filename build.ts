/**
 * `npm run build`, which `npm ci` runs, too. It bundles the program into `dist/program-…`, because to load a bundle
 * takes a fifth of what it takes to load 900 modules. `src/entry/bundle.js` says when it is used.
 *
 * All files of a bundle lie in one folder, as far below the root as the rooms of `src`: so a URL
 * that is relative to a source (`../../drizzle`, the worker beside it) names the same from any of them.
 * Names are kept and lines are not minified, so that a stack trace can be read; a comment above each module
 * says which source it was. Source maps would do that better, and Node reads all of them at each start.
 */
import { execFileSync } from "node:child_process";
import { randomUUID } from "node:crypto";
import { mkdir, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join, relative, sep } from "node:path";
import { pathToFileURL } from "node:url";

import { build, type Plugin } from "esbuild";

import { builtIn, COMPILED, digestOf, ROOT } from "./src/entry/bundle.js";

/** What is started by the name of its file. All else becomes a part of these, or a chunk that several share. */
const PROGRAMS = [
  "serve",
  "supervised",
  "cli/main",
  "tokens-worker",
  "large-bodies-worker",
  "pglite-worker",
];

/** Both load WebAssembly from files beside their own. */
const NOT_BUNDLED = ["@electric-sql/pglite", "tiktoken"];

/** CommonJS inside of the bundle asks for the modules of Node by this name, which a module has not. */
const REQUIRE =
  'import { createRequire as requireFrom } from "node:module"; const require = requireFrom(import.meta.url);';

/** What shapes the bundle without being in it. */
const TOOLS = ["build.ts", "package.json", "tsconfig.json", "node_modules/esbuild/package.json"];

const DIST = join(ROOT, "dist");

async function main(): Promise<void> {
  const before = builtIn(ROOT)?.folder;
  // Not by mkdtemp, whose folders nobody else may read: who installs is not always who starts.
  const making = join(DIST, `making-${randomUUID()}`);
  await mkdir(making, { recursive: true });
  try {
    const contents = await bundleInto(making);
    const inputs = [...contents.keys()].toSorted();
    const digest = digestOf(inputs, (input) => contents.get(input) ?? null);
    if (digest === null) throw new Error("every input was read");
    const folder = `program-${digest.slice(0, 16)}`;
    await putInPlace(making, join(DIST, folder));
    compile(join(DIST, folder));
    const manifest = join(making, "program.json");
    await writeFile(manifest, JSON.stringify({ folder, inputs, digest }));
    await rename(manifest, join(DIST, "program.json"));
    // A gateway that runs from the one before may still load a part of it, however often this is built.
    if (before !== folder) await removeAllBut([folder, before]);
  } finally {
    await rm(making, { recursive: true, force: true });
  }
}

/**
 * What was made of equal sources is the same bundle. File by file, so that one that is there already is mended
 * where it is broken, and a gateway that runs from it finds each file whole at any moment.
 */
async function putInPlace(from: string, to: string): Promise<void> {
  await mkdir(to, { recursive: true });
  for (const name of await readdir(from)) await rename(join(from, name), join(to, name));
}

/** Answers what went into it, by names below the root: a source as it was read, a package by its description. */
async function bundleInto(outdir: string): Promise<ReadonlyMap<string, Uint8Array>> {
  const contents = new Map<string, Uint8Array>();
  const { metafile, warnings } = await build({
    absWorkingDir: ROOT,
    entryPoints: PROGRAMS.map((name) => `src/entry/${name}.ts`),
    entryNames: "[name]",
    outdir,
    bundle: true,
    splitting: true,
    format: "esm",
    platform: "node",
    target: `node${process.versions.node}`,
    external: NOT_BUNDLED,
    banner: { js: REQUIRE },
    plugins: [keepRead(contents)],
    metafile: true,
    logLevel: "warning",
  });
  if (warnings.length > 0) throw new Error("esbuild has warned of something: see above");
  const packages = Object.keys(metafile.inputs).flatMap((input) => packageOf(input) ?? []);
  for (const name of [...TOOLS, ...new Set(packages)]) {
    contents.set(name, await readFile(join(ROOT, name)));
  }
  return contents;
}

/** Sources are read here and not by esbuild: then the digest is of what was bundled, whatever is written meanwhile. */
function keepRead(contents: Map<string, Uint8Array>): Plugin {
  return {
    name: "keep what was read",
    setup: (esbuild) => {
      esbuild.onLoad({ filter: /\.(?:ts|json)$/ }, async ({ path }) => {
        const name = relative(ROOT, path);
        if (!name.startsWith(`src${sep}`)) return null;
        const read = await readFile(path);
        contents.set(name, read);
        return { contents: read, loader: path.endsWith(".json") ? "json" : "ts" };
      });
    },
  };
}

/** `node_modules/zod/v4/core/api.js` → `node_modules/zod/package.json`, which changes with its version. */
function packageOf(input: string): string | null {
  const folder = /^(?:.*\/)?node_modules\/(?:@[^/]+\/)?[^/]+/.exec(input)?.[0];
  return folder === undefined ? null : `${folder}/package.json`;
}

/** So that the first start is as fast as all others, also of an image in which nobody may write. */
function compile(bundle: string): void {
  const programs = ["serve.js", "supervised.js", "main.js"].map((name) => join(bundle, name));
  const imports = programs.map((file) => `await import(${JSON.stringify(pathToFileURL(file))});`);
  execFileSync(process.execPath, ["--input-type=module", "--eval", imports.join("\n")], {
    env: { NODE_COMPILE_CACHE: join(bundle, COMPILED) },
    stdio: ["ignore", "inherit", "inherit"],
  });
}

async function removeAllBut(kept: readonly (string | undefined)[]): Promise<void> {
  for (const name of await readdir(DIST)) {
    if (!name.startsWith("program-") || kept.includes(name)) continue;
    await rm(join(DIST, name), { recursive: true, force: true });
  }
}

await main();
