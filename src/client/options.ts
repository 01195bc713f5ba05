/** What a client is made with, looked at when it is made: its caller may be JavaScript, which no type stops. */
import { isRecord } from "./wire.ts";

const NAMES = ["baseURL", "apiKey", "fetch", "timeoutMs", "maxRetries"] as const;

const NEEDED = {
  baseURL: "where Tollgate answers, as http://127.0.0.1:8787",
  apiKey: "a key with the scope `invoke`, as `npx tollgate keys create` makes one",
} as const;

/** Throws TypeError that names the option which is unknown, missing or of another form. It repeats no key. */
export function checkOptions(options: unknown): void {
  if (!isRecord(options)) throw new TypeError("createClient takes an object: { baseURL, apiKey }.");
  for (const name of Object.keys(options)) {
    if (NAMES.some((known) => known === name)) continue;
    const plain = (text: string) => text.toLowerCase().replaceAll(/[^a-z]/g, "");
    const meant = NAMES.find((known) => plain(known) === plain(name));
    const guess = meant === undefined ? "" : ` Did you mean \`${meant}\`?`;
    throw new TypeError(
      `createClient knows no option \`${name}\`.${guess} Known: ${NAMES.join(", ")}.`,
    );
  }
  for (const [name, what] of Object.entries(NEEDED)) {
    const value = options[name];
    if (typeof value === "string" && value.trim() !== "") continue;
    const found = value === undefined ? "it is not given" : "it is no text, or an empty one";
    throw new TypeError(`createClient needs \`${name}\`, ${what}: ${found}.`);
  }
  if (!/^https?:\/\//i.test(String(options["baseURL"]))) {
    throw new TypeError("`baseURL` begins with http:// or https://, and this does not.");
  }
}
