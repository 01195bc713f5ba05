/**
 * A process that serves begins here: `start.js serve` is `npm start`, and `start.js supervised` what a supervisor
 * starts, so that a rolling restart runs what stands here by then.
 */
import { findProgram } from "./bundle.js";

const [, , name = ""] = process.argv;
if (name !== "serve" && name !== "supervised") throw new Error("start.js serve | supervised");
const { url, isBundled } = findProgram(name);
if (!isBundled && name === "serve") {
  process.stderr.write(
    "there is no bundle of these sources, so they start as they are, a second slower: npm run build\n",
  );
}
const { main } = await import(url);
await main();
