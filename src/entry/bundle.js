/**
 * Where the program's code is: in the bundle that `npm run build` made, if that was made of exactly what
 * stands here now, else in the sources. Told by the content of every file that went into the bundle, because the
 * times of files say nothing after a copy: reading them takes 15 ms, and the bundle saves a second.
 *
 * Plain JavaScript, like the two files that begin with it: before its first line of TypeScript Node loads
 * the compiler that strips types, which takes 75 ms.
 */
import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import module from "node:module";
import { basename, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

/** The checkout: as far above this folder as above a bundle. */
export const ROOT = fileURLToPath(new URL("../../", import.meta.url));

/**
 * What `dist/program.json` says: the folder of the bundle in `dist`, the files that it was made of, below
 * the root, and the digest of their content.
 *
 * @typedef {{ readonly folder: string, readonly inputs: readonly string[], readonly digest: string }} Made
 */

/**
 * @param {string} root
 * @returns {Made | null} Null where nothing was built.
 */
export function builtIn(root) {
  const text = readIfThere(join(root, "dist", "program.json"));
  return text === null ? null : JSON.parse(text.toString());
}

/**
 * Of the names and contents of files, in this order; null where one of them is gone.
 *
 * @param {readonly string[]} inputs
 * @param {(input: string) => Uint8Array | null} contentOf
 * @returns {string | null}
 */
export function digestOf(inputs, contentOf) {
  const digest = createHash("sha256");
  for (const input of inputs) {
    const content = contentOf(input);
    if (content === null) return null;
    digest.update(`${input}\n${content.byteLength}\n`).update(content);
  }
  return digest.digest("hex");
}

/**
 * The folder of the bundle that was made of what stands below the root now; null where there is none.
 *
 * @param {string} root
 * @returns {string | null}
 */
export function soundBundleIn(root) {
  const made = builtIn(root);
  if (made === null) return null;
  const found = digestOf(made.inputs, (input) => readIfThere(join(root, input)));
  const folder = join(root, "dist", made.folder);
  return found === made.digest && existsSync(folder) ? folder : null;
}

/**
 * Finds a program of this folder, such as `cli/main`, and has Node keep what it compiles of a bundle. That is
 * kept in the bundle's own folder: who can write there can write the bundle, too. Where this process
 * cannot, Node keeps nothing and says nothing.
 *
 * @param {string} name
 * @returns {{ readonly url: string, readonly isBundled: boolean }}
 */
export function findProgram(name) {
  const flaw = flawOfNode(process.versions.node);
  if (flaw !== null) {
    process.stderr.write(`${flaw}\n`);
    process.exit(1);
  }
  const bundle = soundBundleIn(ROOT);
  if (bundle === null) {
    return { url: new URL(`./${name}.ts`, import.meta.url).href, isBundled: false };
  }
  // By its module: an import by name would end an older Node before it could be told which one is needed.
  module.enableCompileCache(join(bundle, COMPILED));
  return { url: pathToFileURL(join(bundle, `${basename(name)}.js`)).href, isBundled: true };
}

/** TypeScript runs without a build from here on, and bundles are made for what `npm ci` brings. */
const NODE_MAJOR_MIN = 24;

/**
 * @param {string} version
 * @returns {string | null} Null for one that is new enough.
 */
function flawOfNode(version) {
  if (Number(version.split(".")[0]) >= NODE_MAJOR_MIN) return null;
  return (
    `Node ${version} is too old: Tollgate needs ${NODE_MAJOR_MIN} or later. npm start and npx tollgate use ` +
    "the one that npm ci brings"
  );
}

/** In the folder of a bundle: what Node compiled of it. */
export const COMPILED = "compiled";

/**
 * @param {string} path
 * @returns {Buffer | null}
 */
function readIfThere(path) {
  try {
    return readFileSync(path);
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return null;
    throw error;
  }
}
