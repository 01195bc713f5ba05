/**
 * The names by which a call says where it belongs and what it may cost. What begins as ours and is none of them is
 * refused: behind a mistyped `Tollgate-Max-Cost` that is passed over, a caller believes in a guard that is off.
 */
import { InputError } from "../core/errors.ts";
import { nearest } from "../lib/nearest.ts";

/** The fields of the context, and their headers: written out, for a name that is put together is looked up slowly. */
export const FIELDS = {
  run: "tollgate-run",
  step: "tollgate-step",
  "parent-step": "tollgate-parent-step",
  operation: "tollgate-operation",
  tool: "tollgate-tool",
  customer: "tollgate-customer",
  labels: "tollgate-labels",
  "max-cost": "tollgate-max-cost",
  "dry-run": "tollgate-dry-run",
  outcome: "tollgate-outcome",
} as const;

/** What only answers say: clients that send an answer's headers along with the next request ask nothing by them. */
const ANSWERED: readonly string[] = [
  "tollgate-decision",
  "tollgate-verdict",
  "tollgate-attempt",
  "tollgate-prior-attempt",
  "tollgate-policy-version",
  "tollgate-price-version",
  "tollgate-upstream",
  "tollgate-model",
  "tollgate-cost",
  "tollgate-reserved",
  "tollgate-budget-remaining",
  "tollgate-overhead-ms",
  "tollgate-output-clamped",
  "tollgate-redacted",
];

const ASKED: readonly string[] = [...Object.values(FIELDS), "tollgate-retry-unknown"];
const HEADERS: ReadonlySet<string> = new Set([...ASKED, ...ANSWERED]);
/** Labels are a list, which may stand in several headers. */
const SINGLE: ReadonlySet<string> = new Set(ASKED.filter((name) => name !== FIELDS.labels));
const FIELD_NAMES: readonly string[] = Object.keys(FIELDS);

/** A kind of carrier: what names of ours begin with there, and how they go on. */
type Carrier = {
  readonly code: "invalid_header" | "unknown_parameter";
  readonly prefix: string;
  readonly known: readonly string[];
};

const HEADER: Carrier = {
  code: "invalid_header",
  prefix: "Tollgate-",
  known: ASKED.map((name) => headerName(name).slice("Tollgate-".length)),
};

export const BAGGAGE: Carrier = {
  code: "invalid_header",
  prefix: "baggage tollgate.",
  known: FIELD_NAMES,
};

export const METADATA: Carrier = {
  code: "unknown_parameter",
  prefix: "metadata.tollgate_",
  known: FIELD_NAMES.map((name) => name.replaceAll("-", "_")),
};

/** `_meta` of a request of MCP. */
export const META: Carrier = {
  code: "unknown_parameter",
  prefix: "_meta.tollgate/",
  known: [...METADATA.known, "idempotency_key", "repeats", "wait"],
};

/** Longer names are no typing errors, and a refusal is read at a glance. */
const SHOWN_CHARS_MAX = 64;

/**
 * Of name, value, name, value, as they were sent. Throws InputError for a name that begins as ours and is not, and for
 * one that stands there twice: servers join the values, and `a, b` is a run whose budget nobody has set.
 */
export function refuseUnknownHeaders(raw: readonly string[]): void {
  const seen: string[] = [];
  for (let i = 0; i < raw.length; i += 2) {
    const sent = raw[i] ?? "";
    // Nearly every header of every call is passed over here.
    if ((sent.charCodeAt(0) | LOWER) !== T || sent.length < HEADER.prefix.length) continue;
    const name = sent.toLowerCase();
    // A name with underscores is what some servers make of it, and ours are not read from it.
    if (!/^tollgate[-_]/.test(name)) continue;
    if (!HEADERS.has(name))
      throw unknown(headerName(name), name.slice(HEADER.prefix.length), HEADER);
    if (!SINGLE.has(name)) continue;
    if (seen.includes(name)) throw doubled(headerName(name));
    seen.push(name);
  }
}

function doubled(name: string): InputError {
  const message = `The header ${name} was sent twice, and only one can count: send it once.`;
  return new InputError("invalid_header", name, message);
}

const LOWER = 0x20;
const T = "t".charCodeAt(0);

/** Of names without the prefix. Throws InputError for one that the carrier does not know. */
export function refuseUnknown(names: Iterable<string>, carrier: Carrier): void {
  for (const name of names) {
    if (!carrier.known.includes(name)) throw unknown(`${carrier.prefix}${name}`, name, carrier);
  }
}

/** As the documents write it: `Tollgate-Parent-Step`. */
export function headerName(name: string): string {
  return name.replaceAll(/(?:^|-)[a-z]/g, (start) => start.toUpperCase());
}

function unknown(whole: string, name: string, { code, prefix, known }: Carrier): InputError {
  const sent = whole.slice(0, SHOWN_CHARS_MAX);
  const meant = meantBy(name, known);
  const guess = meant === null ? "" : ` Did you mean \`${prefix}${meant}\`?`;
  const all = known.map((each) => `\`${prefix}${each}\``).join(", ");
  const message = `There is no \`${sent}\`, and what it should do would not be done.${guess} Known: ${all}.`;
  return new InputError(code, sent, message);
}

/** A near name, or one that goes on behind it or stops before: `Run-Id`, `Parent`. */
function meantBy(name: string, known: readonly string[]): string | null {
  const parts = (text: string) => `${text.toLowerCase().replaceAll("_", "-")}-`;
  const isPart = (other: string) =>
    parts(name).startsWith(parts(other)) || parts(other).startsWith(parts(name));
  return nearest(name, known) ?? known.find(isPart) ?? null;
}
