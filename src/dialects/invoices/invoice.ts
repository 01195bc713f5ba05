/**
 * The exports in which providers tell what was used and what it cost: pages of their usage and cost APIs, as JSON.
 * The CSV files that their dashboards offer have no documented columns and are not read.
 *
 * Sources: OpenAI, https://platform.openai.com/docs/api-reference/usage (completions, embeddings, costs);
 * Anthropic, https://platform.claude.com/docs/en/api/admin/usage_report/retrieve_messages and
 * https://platform.claude.com/docs/en/api/admin/cost_report.
 */
import { InputError } from "../../core/errors.ts";
import {
  FIGURES,
  NO_FIGURES,
  sumOf,
  type Figure,
  type Invoice,
  type InvoiceLine,
  type Provider,
} from "../../core/invoice.ts";
import { JSON_DEPTH_MAX } from "../../core/limits.ts";
import { EXPORT_BYTES_MAX, EXPORT_FILES_MAX } from "../../core/limits-finance.ts";
import { canonicalJson, parseStrictJson } from "../../lib/canonical-json.ts";
import { isList, isRecord } from "../../lib/json.ts";
import { readAnthropicResult, spanOfAnthropic } from "./anthropic.ts";
import { bucketsOf, looksLike, type Kind, type Looks } from "./looks.ts";
import { readOpenAiResult, spanOfOpenAi } from "./openai.ts";
import type { ResultLine, Span } from "./result.ts";

export type ExportFile = { readonly name: string; readonly text: string };

/** The days to be compared; null: all that the files tell of. */
export type Days = { readonly from: string | null; readonly to: string | null };

const DAY_MS = 86_400_000;

const NAMES: Readonly<Record<Provider, string>> = { openai: "OpenAI", anthropic: "Anthropic" };

/** Reads the pages of one or more exports. Throws InputError, whose `param` is the file at fault. */
export function readInvoice(
  provider: Provider,
  files: readonly ExportFile[],
  days: Days = { from: null, to: null },
): Invoice {
  if (files.length > EXPORT_FILES_MAX) {
    const message = `At most ${EXPORT_FILES_MAX} files at once: reconcile a shorter period.`;
    throw new InputError("invalid_value", "files", message);
  }
  const pages = withKinds(files.flatMap((file) => pagesOf(provider, file)));
  refuseRepeated(pages);
  const kinds = (["usage", "cost"] as const).filter((kind) => pages.some((p) => p.kind === kind));
  for (const kind of kinds) refuseUnfinished(pages.filter((page) => page.kind === kind));
  const period = periodOf(pages, kinds, days);
  const read = pages.flatMap((page) =>
    page.results.map((result) => readResult(provider, page, result)),
  );
  return {
    ...period,
    states: FIGURES.filter((figure) => isStated(provider, kinds, figure)),
    lines: summed(read.filter(({ day }) => day >= period.from && day < period.to)),
  };
}

type Page = {
  readonly file: string;
  /** Null: nothing in it says. */
  readonly kind: Kind | null;
  readonly hasMore: boolean;
  readonly spans: readonly Span[];
  readonly results: readonly {
    readonly span: Span;
    readonly members: Readonly<Record<string, unknown>>;
  }[];
};

type KnownPage = Page & { readonly kind: Kind };

function pagesOf(provider: Provider, { name, text }: ExportFile): Page[] {
  if (text.length > EXPORT_BYTES_MAX) {
    const message = `${name} is longer than ${EXPORT_BYTES_MAX} bytes: fetch it in smaller pages.`;
    throw new InputError("body_too_large", name, message);
  }
  const read = parseStrictJson(text.replace(/^\uFEFF/, ""), JSON_DEPTH_MAX);
  const documents = read.kind === "value" ? (isList(read.value) ? read.value : [read.value]) : null;
  if (documents === null || documents.length === 0) throw wrong(name, provider, looksLike(text));
  return documents.map((document) => pageOf(provider, name, document));
}

function pageOf(provider: Provider, file: string, document: unknown): Page {
  const looks = looksLike(document);
  if (looks.kind !== "page" || (looks.provider !== null && looks.provider !== provider)) {
    throw wrong(file, provider, looks);
  }
  const spanOf = provider === "openai" ? spanOfOpenAi : spanOfAnthropic;
  const buckets = bucketsOf(document).map((bucket) => ({ span: spanOf(bucket, file), bucket }));
  return {
    file,
    kind: looks.of,
    hasMore: isRecord(document) && document["has_more"] === true,
    spans: buckets.map(({ span }) => span),
    results: buckets.flatMap(({ span, bucket }) =>
      bucket.results.map((members) => ({ span, members })),
    ),
  };
}

function wrong(file: string, provider: Provider, looks: Looks): InputError {
  const wanted =
    provider === "openai"
      ? "pages of /v1/organization/usage/completions (or embeddings) and /v1/organization/costs"
      : "pages of /v1/organizations/usage_report/messages and /v1/organizations/cost_report";
  const message = `${file} looks like ${looks.says}. Of ${NAMES[provider]} this reads ${wanted}, as JSON.`;
  return new InputError("invalid_value", file, message);
}

/** A page without any result is of the kind of the others, where they are of one. */
function withKinds(pages: readonly Page[]): readonly KnownPage[] {
  const [kind, ...more] = new Set(pages.flatMap((page) => page.kind ?? []));
  return pages.map((page) => {
    const known = page.kind ?? (more.length === 0 ? kind : undefined);
    if (known !== undefined) return { ...page, kind: known };
    const message = `${page.file} has no result in it, so nothing says whether it tells of usage or of cost: leave it out, and name the days with from and to.`;
    throw new InputError("invalid_value", page.file, message);
  });
}

/** The same result of the same bucket: a file that was given twice would be owed twice. */
function refuseRepeated(pages: readonly Page[]): void {
  const seen = new Map<string, string>();
  for (const { file, kind, results } of pages) {
    for (const { span, members } of results) {
      const content = canonicalJson([kind, span.startMs, span.endMs, members]);
      const before = seen.get(content);
      if (before !== undefined) {
        const message = `A result of ${new Date(span.startMs).toISOString()} stands in ${before} and again in ${file}: is a page given twice?`;
        throw new InputError("invalid_value", file, message);
      }
      seen.set(content, file);
    }
  }
}

function refuseUnfinished(pages: readonly KnownPage[]): void {
  const [page] = pages;
  if (page === undefined || pages.some(({ hasMore }) => !hasMore)) return;
  const message = `The ${page.kind} export goes on behind ${page.file} (has_more): fetch its next pages too.`;
  throw new InputError("invalid_value", page.file, message);
}

/** The days that are stated on all sides; throws where they are not those asked for, or not whole. */
function periodOf(pages: readonly KnownPage[], kinds: readonly Kind[], days: Days) {
  const covered = kinds.map((kind) => {
    const spans = pages.filter((page) => page.kind === kind).flatMap((page) => page.spans);
    const from = new Date(Math.min(...spans.map(({ startMs }) => startMs)));
    const to = new Date(Math.max(...spans.map(({ endMs }) => endMs)));
    return { kind, from, to };
  });
  const [first] = covered;
  if (first === undefined) {
    throw new InputError("missing_required_parameter", "files", "No export is given.");
  }
  const period = { from: days.from ?? dayOf(first.from), to: days.to ?? dayOf(first.to) };
  for (const { kind, from, to } of covered) {
    if (
      from.getTime() <= Date.parse(period.from) &&
      to.getTime() >= Date.parse(period.to) &&
      (days.from !== null || from.getTime() === Date.parse(period.from)) &&
      (days.to !== null || to.getTime() === Date.parse(period.to))
    )
      continue;
    const message = `The ${kind} export tells of ${from.toISOString()} to ${to.toISOString()}, and not of just the UTC days from ${period.from} to before ${period.to}: name days that all exports tell of with from and to.`;
    throw new InputError("invalid_value", days.from === null ? "to" : "from", message);
  }
  return period;
}

function isStated(provider: Provider, kinds: readonly Kind[], figure: Figure): boolean {
  if (figure === "cost") return kinds.includes("cost");
  // Anthropic counts no requests.
  return kinds.includes("usage") && !(figure === "requests" && provider === "anthropic");
}

function readResult(
  provider: Provider,
  { kind, file }: KnownPage,
  { span, members }: KnownPage["results"][number],
): InvoiceLine {
  const day = dayOf(new Date(span.startMs));
  if (span.endMs > Date.parse(day) + DAY_MS) {
    const message = `A bucket of ${file} is longer than a day of UTC: fetch it with bucket_width=1d.`;
    throw new InputError("invalid_value", file, message);
  }
  const read = provider === "openai" ? readOpenAiResult : readAnthropicResult;
  const { tier, ...line }: ResultLine = read(kind, members, file);
  return { ...line, day, tiers: tier === null ? [] : [tier], amounts: kind === "cost" ? 1 : 0 };
}

/** One line for each day and name. */
function summed(lines: readonly InvoiceLine[]): readonly InvoiceLine[] {
  const sums = new Map<string, InvoiceLine>();
  for (const line of lines) {
    const name = `${line.day} ${line.model}`;
    const sum = sums.get(name) ?? { ...line, tiers: [], amounts: 0, figures: NO_FIGURES };
    sums.set(name, {
      ...sum,
      tiers: [...new Set([...sum.tiers, ...line.tiers])].toSorted(),
      amounts: sum.amounts + line.amounts,
      figures: sumOf(sum.figures, line.figures),
    });
  }
  return [...sums.values()];
}

function dayOf(at: Date): string {
  return at.toISOString().slice(0, 10);
}
