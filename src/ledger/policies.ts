/** Policy bundles as the API shows them: every version that was ever stored, in the words it was written in. */
import { InputError } from "../core/errors.ts";
import { type Bundle, type Policy, policyVersion } from "../core/policy.ts";
import { type CompiledBundle, compileBundle } from "../core/policy-bundle.ts";
import { loadBundle, readBundle, type SourceProblem } from "../core/policy-source.ts";
import { isList, isRecord } from "../lib/json.ts";
import type { Database } from "../store/database.ts";
import { type BundleRecord, findActive, findBundles, listBundles } from "../store/policies.ts";
import { type Page, pageOf, type Paged } from "./paged.ts";

export type BundleSummary = {
  readonly version: string;
  readonly active: boolean;
  readonly description: string;
  /** The ids of its policies. */
  readonly policies: readonly string[];
  readonly created_by: string;
  readonly created_at: string;
};

export type PolicyView = {
  readonly id: string;
  readonly name: string;
  readonly version: string;
  readonly effect: string;
  readonly mode: string;
  readonly when: string;
};

export type BundleView = Omit<BundleSummary, "policies"> & {
  readonly policies: readonly PolicyView[];
  /** As it was written, comments and all. */
  readonly source: string;
  /** What judges. */
  readonly content: unknown;
};

export type CheckView = {
  readonly valid: boolean;
  /** Of the content; null where it is broken. */
  readonly version: string | null;
  readonly policies: readonly PolicyView[];
  readonly problems: readonly SourceProblem[];
};

export type DiffView = {
  readonly from: string;
  readonly to: string;
  readonly changes: readonly {
    readonly id: string;
    readonly change: "added" | "removed" | "changed" | "moved";
    /** The members that differ. */
    readonly members: readonly string[];
    readonly before: unknown;
    readonly after: unknown;
  }[];
};

export async function bundlesOf(
  db: Database,
  tenantId: string,
  page: Page,
): Promise<Paged<BundleSummary>> {
  const rows = await listBundles(db.admin, tenantId, { after: page.after, rows: page.rows + 1 });
  return pageOf(
    rows.map((row) => {
      const { policies, ...summary } = summaryOf(row);
      return { ...summary, policies: policies.map(({ id }) => id) };
    }),
    page,
    ({ version }) => version,
  );
}

/** By its version, or the beginning of it where that begins no other; `active` is the one that judges now. */
export async function bundleOf(
  db: Database,
  tenantId: string,
  version: string,
): Promise<BundleView | null> {
  const row = await findRow(db, tenantId, version);
  if (row === null) return null;
  const { policies, ...summary } = summaryOf(row);
  const content: unknown = JSON.parse(row.content);
  return { ...summary, policies: policies.map(policyView), source: row.source, content };
}

async function findRow(
  db: Database,
  tenantId: string,
  version: string,
): Promise<BundleRecord | null> {
  const start = version === "active" ? await findActive(db.admin, tenantId) : version;
  if (start === null) return null;
  const [row, ...more] = await findBundles(db.admin, tenantId, start);
  return row === undefined || more.length > 0 ? null : row;
}

/**
 * The bundle that is to judge instead: a text, or a stored version. Throws InputError for a text that is
 * none, or a version that is not stored.
 */
export async function candidateOf(
  db: Database,
  tenantId: string,
  { source, version }: { readonly source: string | null; readonly version: string | null },
): Promise<CompiledBundle> {
  if ((source === null) === (version === null)) {
    const message = "Name a stored bundle by its version, or send the text of one: one of the two.";
    throw new InputError("invalid_value", "version", message);
  }
  if (source !== null) {
    const reading = readBundle(source);
    if (reading.kind === "sound") return compileBundle(reading.version, reading.bundle);
    const [first] = reading.problems;
    const message = `line ${first?.line}, column ${first?.column}: ${first?.message}`;
    throw new InputError("invalid_value", "source", message);
  }
  const row = await findRow(db, tenantId, version ?? "");
  if (row === null) throw new InputError("not_found", "version", "There is no such bundle.");
  return loadBundle(row.version, row.content);
}

/** Whether a text is a bundle, and each mistake in it; nothing is stored. */
export function checkOf(source: string): CheckView {
  const reading = readBundle(source);
  if (reading.kind === "broken") {
    return { valid: false, version: null, policies: [], problems: reading.problems };
  }
  const policies = reading.bundle.policies.map(policyView);
  return { valid: true, version: reading.version, policies, problems: [] };
}

/** Null where either is not stored. */
export async function diffOf(
  db: Database,
  tenantId: string,
  { from, to }: { readonly from: string; readonly to: string },
): Promise<DiffView | null> {
  const [before, after] = await Promise.all([
    findRow(db, tenantId, from),
    findRow(db, tenantId, to),
  ]);
  if (before === null || after === null) return null;
  const [old, now] = [policiesIn(before.content), policiesIn(after.content)];
  const ids = [...new Set([...old.keys(), ...now.keys()])];
  const changes = ids.flatMap((id) => changeOf(id, old.get(id), now.get(id)));
  return { from: before.version, to: after.version, changes };
}

type Placed = { readonly at: number; readonly members: Readonly<Record<string, unknown>> };

function changeOf(
  id: string,
  before: Placed | undefined,
  after: Placed | undefined,
): DiffView["changes"] {
  const base = { id, members: [], before: before?.members ?? null, after: after?.members ?? null };
  if (before === undefined) return [{ ...base, change: "added" }];
  if (after === undefined) return [{ ...base, change: "removed" }];
  const names = [...new Set([...Object.keys(before.members), ...Object.keys(after.members)])];
  const members = names.filter(
    (name) => JSON.stringify(before.members[name]) !== JSON.stringify(after.members[name]),
  );
  if (members.length > 0) return [{ ...base, change: "changed", members }];
  // Of two that block, the first names the reason: their order is part of what they do.
  return before.at === after.at ? [] : [{ ...base, change: "moved" }];
}

function policiesIn(content: string): ReadonlyMap<string, Placed> {
  const bundle = soundBundle(content);
  const parsed: unknown = JSON.parse(content);
  const entries = isRecord(parsed) && isList(parsed["policies"]) ? parsed["policies"] : [];
  return new Map(
    bundle.policies.map(({ id }, at) => {
      const entry = entries[at];
      return [id, { at, members: isRecord(entry) ? entry : {} }];
    }),
  );
}

function summaryOf(row: BundleRecord): Omit<BundleSummary, "policies"> & Bundle {
  const { description, policies } = soundBundle(row.content);
  return {
    version: row.version,
    active: row.active,
    description,
    policies,
    created_by: row.createdBy,
    created_at: row.createdAt.toISOString(),
  };
}

/** A stored content that this program cannot read any more is shown as what it is: text, without policies. */
function soundBundle(content: string): Bundle {
  const reading = readBundle(content);
  return reading.kind === "sound" ? reading.bundle : { description: "", policies: [] };
}

function policyView(policy: Policy): PolicyView {
  const { id, name, effect, mode, when } = policy;
  return { id, name, version: policyVersion(policy), effect: effect.kind, mode, when };
}
