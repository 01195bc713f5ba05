import type { Scope } from "../core/caller.ts";
import { InputError } from "../core/errors.ts";
import { withPrefix } from "../core/ids.ts";
import { matchesGlob } from "../core/route.ts";
import { formatKey, KEY_SECRET_BYTES, parseKey } from "../core/key.ts";
import { assert } from "../lib/assert.ts";
import { hmacSha256Hex } from "../lib/hash.ts";
import { insertEvent, type Queryable } from "../store/events.ts";
import {
  findKey,
  findSuccessor,
  insertKey,
  type KeyTools,
  readPepper,
  revokeKey as revoke,
} from "../store/keys.ts";
import {
  type Actor,
  type AdministrationPorts,
  type IssuedKey,
  nameOf,
  type NewKeyTerms,
  notFound,
  requireScope,
  changeAndRefresh,
} from "./acts.ts";

/** What a key of ours says of where it belongs. */
const KEY_ENVIRONMENT = "live";

export async function createKey(
  ports: AdministrationPorts,
  actor: Actor,
  terms: NewKeyTerms,
): Promise<IssuedKey> {
  requireScope(actor, terms.tenantId, ["admin"]);
  refuseWiderScopes(actor, terms.scopes);
  refusePastExpiry(ports, terms.expiresAt);
  const issued = await changeAndRefresh(ports, async (tx) => {
    await refuseWiderTools(tx, actor, terms.tools);
    return issueKey(ports, tx, { ...terms, actor, rotatedFrom: null });
  });
  return issued;
}

export async function revokeKey(
  ports: AdministrationPorts,
  actor: Actor,
  key: { readonly tenantId: string; readonly keyId: string },
): Promise<void> {
  requireScope(actor, key.tenantId, ["admin"]);
  await changeAndRefresh(ports, async (tx) => {
    if ((await findKey(tx, key.tenantId, key.keyId)) === null) throw notFound("key", "key");
    if (!(await revoke(tx, key.tenantId, key.keyId))) return;
    await insertEvent(tx, {
      tenantId: key.tenantId,
      eventId: withPrefix("event", ports.newId()),
      kind: "key.revoked",
      actor: nameOf(actor),
      subject: key.keyId,
      body: {},
    });
  });
}

export async function rotateKey(
  ports: AdministrationPorts,
  actor: Actor,
  key: { readonly tenantId: string; readonly keyId: string; readonly expiresAt: Date | null },
): Promise<IssuedKey> {
  requireScope(actor, key.tenantId, ["admin"]);
  refusePastExpiry(ports, key.expiresAt);
  const issued = await changeAndRefresh(ports, async (tx) => {
    const old = await findKey(tx, key.tenantId, key.keyId);
    if (old === null) throw notFound("key", "key");
    if (!old.active) {
      throw new InputError("conflict", "key", "This key is revoked or expired: create a new one.");
    }
    // Otherwise rotating a wider key would hand its scopes and tools to a narrower one.
    refuseWiderScopes(actor, old.scopes);
    await refuseWiderTools(tx, actor, old.tools);
    const successor = await findSuccessor(tx, key.tenantId, key.keyId);
    if (successor !== null) {
      const message = `Key ${successor} replaces this one already: revoke one of them first.`;
      throw new InputError("conflict", "key", message);
    }
    return issueKey(ports, tx, {
      tenantId: key.tenantId,
      name: old.name,
      scopes: old.scopes,
      labels: old.labels,
      tools: old.tools,
      expiresAt: key.expiresAt ?? old.expiresAt,
      actor,
      rotatedFrom: key.keyId,
    });
  });
  return issued;
}

async function issueKey(
  ports: AdministrationPorts,
  tx: Queryable,
  key: NewKeyTerms & { readonly actor: Actor; readonly rotatedFrom: string | null },
): Promise<IssuedKey> {
  const keyId = withPrefix("key", ports.newId());
  const secretBytes = crypto.getRandomValues(new Uint8Array(KEY_SECRET_BYTES));
  const text = formatKey(KEY_ENVIRONMENT, keyId, secretBytes);
  const parts = parseKey(text);
  const pepper = await readPepper(tx);
  assert(parts !== null && pepper !== null, "an installation with its row makes a key it can read");
  const { tenantId, name, scopes, labels, tools, expiresAt, rotatedFrom } = key;
  await insertKey(tx, {
    tenantId,
    keyId,
    name,
    digest: hmacSha256Hex(pepper, parts.secret),
    scopes,
    labels,
    tools,
    createdBy: nameOf(key.actor),
    expiresAt,
    rotatedFrom,
  });
  await insertEvent(tx, {
    tenantId,
    eventId: withPrefix("event", ports.newId()),
    kind: rotatedFrom === null ? "key.created" : "key.rotated",
    actor: nameOf(key.actor),
    subject: keyId,
    body: {
      name,
      scopes,
      labels,
      tools,
      expires_at: expiresAt?.toISOString() ?? null,
      rotated_from: rotatedFrom,
    },
  });
  return { keyId, text };
}

/** No key makes one that may do more than itself. */
function refuseWiderScopes(actor: Actor, scopes: readonly Scope[]): void {
  if ("installation" in actor) return;
  const wider = scopes.filter((scope) => !actor.scopes.includes(scope));
  if (wider.length === 0) return;
  const message = `A key gives no scope that it lacks itself: ${wider.join(", ")}.`;
  throw new InputError("forbidden", "scopes", message);
}

/** The same of tools: each glob stands within one of the maker's own. */
async function refuseWiderTools(tx: Queryable, actor: Actor, tools: KeyTools): Promise<void> {
  if ("installation" in actor) return;
  const own = (await findKey(tx, actor.tenantId, actor.keyId))?.tools ?? null;
  if (own === null) return;
  // The stars of a glob are matched like letters, and only a star takes them: so all that it matches is matched.
  const wider = tools?.filter((tool) => !own.some((glob) => matchesGlob(glob, tool))) ?? ["*"];
  if (wider.length === 0) return;
  const message = `A key gives no tool that it may not call itself: ${wider.join(", ")}. It may call ${own.join(", ") || "none"}.`;
  throw new InputError("forbidden", "tools", message);
}

function refusePastExpiry(ports: AdministrationPorts, expiresAt: Date | null): void {
  if (expiresAt !== null && expiresAt.getTime() <= ports.now().getTime()) {
    throw new InputError("invalid_value", "expires_at", "This moment has passed already.");
  }
}
