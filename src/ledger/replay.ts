/**
 * Judging past facts again: a decision's record against the policies and the price that it names must
 * give its verdict; against other policies it shows what they would have decided. Nothing is dispatched,
 * reserved or recorded here.
 *
 * What is judged again is the judgement. Meters and the state of a run were arbitrated by the posting, at
 * its moment, and are not: a call that they refused stays refused where the judgement lets it pass.
 */
import { decide, type Verdict } from "../core/decide.ts";
import type { CompiledBundle } from "../core/policy-bundle.ts";
import { loadBundle } from "../core/policy-source.ts";
import type { Price } from "../core/price.ts";
import { redactionOf } from "../core/redact.ts";
import { factsWith, readRecord, type Recorded } from "../core/recorded.ts";
import { isList, isRecord } from "../lib/json.ts";
import type { Queryable } from "../store/events.ts";
import { findPrices, type JudgedRow } from "../store/judged.ts";
import { findBundles } from "../store/policies.ts";

/** What a judgement came to, in the words of the record. */
export type Judgement = {
  readonly verdict: "pass" | "block";
  readonly reason: string | null;
  readonly estimate_picousd: string | null;
  readonly output_tokens_sent: number | null;
  /** The model that policies had it go to. */
  readonly model: string | null;
  readonly needs_approval: boolean;
  /** What policies had replaced in its texts, where any of it was found. */
  readonly redact: readonly string[];
  readonly risk: number | null;
  readonly policies: readonly { readonly id: string; readonly result: string }[];
};

export type Rejudged =
  | {
      readonly kind: "rejudged";
      readonly recorded: Judgement;
      readonly now: Judgement;
      /** The members in which the two differ. */
      readonly differs: readonly string[];
    }
  /** Why it cannot be known what would be decided. */
  | { readonly kind: "unknowable"; readonly why: string };

/** Bundles and prices by version, read once each. */
export type Versions = {
  readonly bundle: (version: string) => CompiledBundle | null;
  readonly price: (version: string) => Price | null;
};

/** A candidate judges instead of what was recorded; null: what was recorded judges. */
export type Candidate = CompiledBundle | null;

export function rejudge(
  tenantId: string,
  row: JudgedRow,
  { versions, candidate }: { readonly versions: Versions; readonly candidate: Candidate },
): Rejudged {
  const recorded = readRecord({ ...row, tenantId }, row.record);
  if (recorded === null) return unknowable("its record does not hold what was judged");
  const price = row.priceVersion === null ? null : versions.price(row.priceVersion);
  if (row.priceVersion !== null && price === null) {
    return unknowable(`its price ${row.priceVersion} is not stored`);
  }
  const bundle = bundleFor(recorded, versions, candidate);
  if (bundle === "missing") {
    return unknowable(`its policies ${recorded.bundleVersion} are not stored`);
  }
  if (candidate !== null && recorded.facts.rerouted !== null) {
    return unknowable("a policy had it go to another model than the one that it asked for");
  }
  const verdict = decide(factsWith(recorded, { bundle, price }), recorded.intent);
  const unseen = candidate === null ? null : unseenIn(verdict);
  if (unseen !== null) return unknowable(unseen);
  const [before, now] = [recordedJudgement(row, recorded), judgementOf(verdict)];
  return { kind: "rejudged", recorded: before, now, differs: differencesOf(before, now) };
}

/** Reads what these rows name and `known` lacks. */
export async function versionsFor(
  sql: Queryable,
  {
    tenantId,
    rows,
    known,
  }: {
    readonly tenantId: string;
    readonly rows: readonly JudgedRow[];
    readonly known: Known;
  },
): Promise<Versions> {
  const prices = new Set(rows.flatMap(({ priceVersion }) => priceVersion ?? []));
  const found = await findPrices(
    sql,
    [...prices].filter((version) => !known.prices.has(version)),
  );
  for (const version of prices)
    known.prices.set(version, known.prices.get(version) ?? found.get(version) ?? null);
  for (const row of rows) {
    const { policy_version: version } = membersOf(row.record);
    if (typeof version !== "string" || known.bundles.has(version)) continue;
    const [bundle] = await findBundles(sql, tenantId, version);
    known.bundles.set(version, bundle === undefined ? null : loadBundle(version, bundle.content));
  }
  return {
    bundle: (version) => known.bundles.get(version) ?? null,
    price: (version) => known.prices.get(version) ?? null,
  };
}

export type Known = {
  readonly prices: Map<string, Price | null>;
  readonly bundles: Map<string, CompiledBundle | null>;
};

function bundleFor(
  { bundleVersion }: Recorded,
  versions: Versions,
  candidate: Candidate,
): CompiledBundle | null | "missing" {
  if (candidate !== null) return candidate;
  return bundleVersion === null ? null : (versions.bundle(bundleVersion) ?? "missing");
}

/** A fact that a candidate reads and nobody looked at then is not known now; a shadow decides nothing by it. */
function unseenIn({ policies }: Verdict): string | null {
  const missing = policies?.results.find(
    ({ unseen, mode }) => unseen !== null && mode !== "shadow",
  );
  return missing === undefined ? null : `policy ${missing.id}: ${missing.why}`;
}

function judgementOf(verdict: Verdict): Judgement {
  const { policies } = verdict;
  const estimate = verdict.kind === "ask" ? verdict.estimate : null;
  return {
    verdict: verdict.kind === "block" ? "block" : "pass",
    reason: verdict.kind === "block" ? verdict.reason : null,
    estimate_picousd:
      estimate === null || estimate.costPicousd === null ? null : String(estimate.costPicousd),
    output_tokens_sent: estimate?.outputTokensMax ?? null,
    model: verdict.kind === "reroute" ? verdict.model : null,
    needs_approval: verdict.kind === "ask" && verdict.approval !== null,
    redact: verdict.kind === "ask" ? verdict.redact : [],
    risk: policies?.risk.score ?? null,
    policies: (policies?.results ?? []).map(({ id, result }) => ({ id, result })),
  };
}

/** The members of the record that the judgement wrote. */
function recordedJudgement(row: JudgedRow, { judged, facts }: Recorded): Judgement {
  const record = membersOf(row.record);
  const estimate = membersOf(record["estimate"]);
  const { score } = membersOf(record["risk"]);
  const policies = listOf(record["policies"]).map(membersOf);
  const { redact } = membersOf(record["obligations"]);
  const names = listOf(redact).map(String);
  const isBlock = judged !== null;
  return {
    verdict: isBlock ? "block" : "pass",
    reason: isBlock ? judged : null,
    estimate_picousd: isBlock ? null : row.estimatePicousd,
    output_tokens_sent: numberOrNull(estimate["output_tokens_sent"]),
    model: null,
    // Terms are recorded though a meter or another rung said no: what blocks asks for nothing more.
    needs_approval: !isBlock && record["approval"] !== undefined,
    redact: isBlock ? [] : redactionOf(names, facts.findings),
    risk: numberOrNull(score),
    policies: policies.map(({ id, result }) => ({ id: String(id), result: String(result) })),
  };
}

function differencesOf(before: Judgement, now: Judgement): readonly string[] {
  const differs = [];
  for (const member of MEMBERS) {
    if (JSON.stringify(before[member]) !== JSON.stringify(now[member])) differs.push(member);
  }
  return differs;
}

const MEMBERS = [
  "verdict",
  "reason",
  "estimate_picousd",
  "output_tokens_sent",
  "model",
  "needs_approval",
  "redact",
  "risk",
  "policies",
] as const satisfies readonly (keyof Judgement)[];

function unknowable(why: string): Rejudged {
  return { kind: "unknowable", why };
}

function membersOf(value: unknown): Readonly<Record<string, unknown>> {
  return isRecord(value) ? value : {};
}

function listOf(value: unknown): readonly unknown[] {
  return isList(value) ? value : [];
}

function numberOrNull(value: unknown): number | null {
  return typeof value === "number" ? value : null;
}
