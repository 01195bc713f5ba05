/** What a file looks like, so that one of the wrong kind is told what it is and not only what it is not. */
import type { Provider } from "../../core/invoice.ts";
import { isList, isRecord } from "../../lib/json.ts";
import type { Members } from "./result.ts";

export type Kind = "usage" | "cost";

/** `provider` and `of` are null where a page has nothing in it that says. */
export type Looks =
  | {
      readonly kind: "page";
      readonly provider: Provider | null;
      readonly of: Kind | null;
      readonly says: string;
    }
  | { readonly kind: "other"; readonly says: string };

export type Bucket = { readonly members: Members; readonly results: readonly Members[] };

/** The objects that OpenAI's usage API counts in tokens. */
const OPENAI_USAGE: ReadonlySet<unknown> = new Set([
  "organization.usage.completions.result",
  "organization.usage.embeddings.result",
]);

/** Takes what was read, or the text of what is not JSON. */
export function looksLike(document: unknown): Looks {
  if (typeof document === "string") return other(textLooks(document));
  if (!isRecord(document)) return other("JSON of something else");
  if (isRecord(document["error"])) return other("an error answer of an API");
  const { data } = document;
  if (!isList(data)) return other("JSON of something else: it has no list `data`");
  if (data.some((row) => isRecord(row) && "aggregation_timestamp" in row)) {
    return other("an answer of OpenAI's former /v1/usage");
  }
  const buckets = bucketsOf(document);
  if (buckets.length < data.length) return other("a list of something else than time buckets");
  const provider = providerOf(buckets);
  const results = buckets.flatMap((bucket) => bucket.results);
  const kinds = new Set(results.map(provider === "anthropic" ? anthropicKind : openAiKind));
  const [of = null, ...more] = kinds;
  if (more.length > 0) return other("pages of several exports mixed in one");
  if (results.length > 0 && of === null) return other(unreadable(results));
  const says = provider === "anthropic" ? "an export of Anthropic's" : "an export of OpenAI's";
  return { kind: "page", provider, of, says: `${says} ${of === "cost" ? "cost" : "usage"} API` };
}

/** The time buckets of a page. */
export function bucketsOf(document: unknown): readonly Bucket[] {
  const data = isRecord(document) ? document["data"] : null;
  if (!isList(data)) return [];
  return data.flatMap((members) => {
    if (!isRecord(members)) return [];
    const results = members["results"];
    const hasStart = "start_time" in members || "starting_at" in members;
    if (!hasStart || !isList(results) || !results.every(isRecord)) return [];
    return [{ members, results: results.filter(isRecord) }];
  });
}

function providerOf([bucket]: readonly Bucket[]): Provider | null {
  if (bucket === undefined) return null;
  return "starting_at" in bucket.members ? "anthropic" : "openai";
}

function openAiKind({ object }: Members): Kind | null {
  if (OPENAI_USAGE.has(object)) return "usage";
  return object === "organization.costs.result" ? "cost" : null;
}

function anthropicKind(result: Members): Kind | null {
  if ("uncached_input_tokens" in result) return "usage";
  return "amount" in result && "currency" in result ? "cost" : null;
}

function unreadable([result]: readonly Members[]): string {
  const object = result?.["object"];
  if (typeof object !== "string") return "an export of something else";
  return `an export of \`${object.slice(0, 80)}\`, which is not counted in tokens`;
}

function textLooks(text: string): string {
  if (text.startsWith("PK")) return "a ZIP or XLSX file";
  const [head = ""] = text.trimStart().split("\n", 1);
  if (/^[\w"][\w" -]*(?:[,;\t][\w" ()-]+)+\r?$/.test(head.slice(0, 2_000))) {
    return "a CSV export of a dashboard, whose columns no provider documents";
  }
  return text.trim() === "" ? "an empty file" : "no JSON";
}

function other(says: string): Looks {
  return { kind: "other", says };
}
