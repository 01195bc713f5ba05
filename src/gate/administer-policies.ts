import { InputError } from "../core/errors.ts";
import { withPrefix } from "../core/ids.ts";
import { isVersionStart } from "../core/policy.ts";
import { readBundle, type SourceProblem } from "../core/policy-source.ts";
import { insertEvent, type Queryable } from "../store/events.ts";
import { findActive, findBundles, insertBundle, setActive } from "../store/policies.ts";
import {
  type Actor,
  type AdministrationPorts,
  nameOf,
  notFound,
  requireScope,
  changeAndRefresh,
} from "./acts.ts";

export type BundleTerms = { readonly tenantId: string; readonly source: string };

/** `created`: false for a bundle that was stored already. */
export type Applied = { readonly version: string; readonly created: boolean };

export type Activation = {
  /** What judged before; null: nothing did. */
  readonly before: string | null;
  readonly after: string | null;
};

/** Stores a bundle, which judges nothing until it is activated. Throws InputError for the first mistake in it. */
export async function applyPolicies(
  ports: AdministrationPorts,
  actor: Actor,
  { tenantId, source }: BundleTerms,
): Promise<Applied> {
  requireScope(actor, tenantId, ["admin"]);
  const reading = readBundle(source);
  if (reading.kind === "broken") throw broken(reading.problems);
  const { version, content, bundle } = reading;
  const created = await changeAndRefresh(ports, async (tx) => {
    const createdBy = nameOf(actor);
    if (!(await insertBundle(tx, { tenantId, version, content, source, createdBy }))) return false;
    await insertEvent(tx, {
      tenantId,
      eventId: withPrefix("event", ports.newId()),
      kind: "policies.applied",
      actor: createdBy,
      subject: version,
      body: { policies: bundle.policies.map(({ id }) => id) },
    });
    return true;
  });
  return { version, created };
}

/** From now on this bundle judges, here at once and on every replica within two seconds. */
export async function activatePolicies(
  ports: AdministrationPorts,
  actor: Actor,
  { tenantId, version: start }: { readonly tenantId: string; readonly version: string },
): Promise<Activation> {
  requireScope(actor, tenantId, ["admin"]);
  const activation = await changeAndRefresh(ports, async (tx) => {
    const { version } = await findOne(tx, tenantId, start);
    return change(ports, tx, { actor, tenantId, after: version });
  });
  return activation;
}

/** From now on no policy judges. Doing it twice is once. */
export async function deactivatePolicies(
  ports: AdministrationPorts,
  actor: Actor,
  tenantId: string,
): Promise<Activation> {
  requireScope(actor, tenantId, ["admin"]);
  const activation = await changeAndRefresh(ports, (tx) =>
    change(ports, tx, { actor, tenantId, after: null }),
  );
  return activation;
}

type Change = {
  readonly actor: Actor;
  readonly tenantId: string;
  readonly after: string | null;
};

async function change(
  ports: AdministrationPorts,
  tx: Queryable,
  { actor, tenantId, after }: Change,
): Promise<Activation> {
  const before = await findActive(tx, tenantId);
  if (before === after) return { before, after };
  await setActive(tx, tenantId, after);
  await insertEvent(tx, {
    tenantId,
    eventId: withPrefix("event", ports.newId()),
    kind: after === null ? "policies.deactivated" : "policies.activated",
    actor: nameOf(actor),
    subject: after ?? before ?? tenantId,
    body: { before: { version: before }, after: { version: after } },
  });
  return { before, after };
}

async function findOne(tx: Queryable, tenantId: string, start: string) {
  const [found, ...more] = isVersionStart(start) ? await findBundles(tx, tenantId, start) : [];
  if (found === undefined) throw notFound("bundle", "version");
  if (more.length === 0) return found;
  const message = `More than one version begins with ${start}: write more of it.`;
  throw new InputError("invalid_value", "version", message);
}

function broken(problems: readonly SourceProblem[]): InputError {
  const [first] = problems;
  const where = first === undefined ? "" : `line ${first.line}, column ${first.column}: `;
  const more = problems.length > 1 ? ` (and ${problems.length - 1} more)` : "";
  return new InputError("invalid_value", "source", `${where}${first?.message ?? ""}${more}`);
}
