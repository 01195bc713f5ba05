/**
 * What is stored sealed, and with which key.
 *
 * One data key of the installation seals everything; it stands in the database, itself sealed by a secret of
 * the environment, which is not there: who steals the database reads nothing of it. The secret is
 * TOLLGATE_SEALING_KEY, else the administration key. Whoever holds the data key keeps it in memory, so
 * the secret can be changed while replicas run, as long as a new one is told the old secret too.
 */
import { randomBytes } from "node:crypto";

import { Fault } from "../lib/assert.ts";
import { keyFromSecret, openSealed, SEAL_KEY_BYTES, sealBytes } from "../lib/seal.ts";
import type { Queryable } from "../store/events.ts";
import { holdsSealed, readSealedDataKey, replaceSealedDataKey } from "../store/installation.ts";

/** Where sealed bytes stand: they open there and nowhere else. */
export type SealedPlace = {
  readonly purpose: "answer" | "approval_call" | "webhook_secret";
  readonly tenantId: string;
  /** The id in the row's key: of the attempt, the approval, the webhook. */
  readonly rowId: string;
};

export type Seal = {
  readonly seal: (place: SealedPlace, plain: Uint8Array) => Uint8Array<ArrayBuffer>;
  /** Null for what was not sealed with this installation's data key at this place. */
  readonly open: (place: SealedPlace, sealed: Uint8Array) => Uint8Array | null;
};

export function createSeal(dataKey: Uint8Array): Seal {
  const placeOf = ({ purpose, tenantId, rowId }: SealedPlace) => [purpose, tenantId, rowId];
  return {
    seal: (place, plain) => sealBytes(dataKey, placeOf(place), plain),
    open: (place, sealed) => openSealed(dataKey, placeOf(place), sealed),
  };
}

/** Secrets of the environment, the one in force first: what an older one sealed is sealed anew by it. */
export type SealingSecrets = readonly [string, ...(readonly string[])];

const DATA_KEY_PLACE = ["data_key"];

/**
 * The installation's data key; made by the first start. Replicas that start together agree on one, for only
 * the first of them finds that there is none. Throws a Fault when no secret opens the one that is there.
 */
export async function establishDataKey(
  sql: Queryable,
  pepper: string,
  secrets: SealingSecrets,
): Promise<Uint8Array> {
  const [inForce] = secrets;
  const keyOf = (secret: string) => keyFromSecret(secret, pepper, "tollgate data key");
  const sealedBy = (secret: string, dataKey: Uint8Array) =>
    Buffer.from(sealBytes(keyOf(secret), DATA_KEY_PLACE, dataKey)).toString("base64");
  if ((await readSealedDataKey(sql)) === null) {
    await replaceSealedDataKey(sql, null, sealedBy(inForce, randomBytes(SEAL_KEY_BYTES)));
  }
  const sealed = await readSealedDataKey(sql);
  const bytes = Buffer.from(sealed ?? "", "base64");
  for (const secret of secrets) {
    const dataKey = openSealed(keyOf(secret), DATA_KEY_PLACE, bytes);
    if (dataKey === null) continue;
    // Another replica may have done the same meanwhile: both hold the same data key.
    if (secret !== inForce) await replaceSealedDataKey(sql, sealed, sealedBy(inForce, dataKey));
    return dataKey;
  }
  // A key that seals nothing is no loss: whoever uses none of this may change the administration key.
  if (!(await holdsSealed(sql))) {
    await replaceSealedDataKey(sql, sealed, null);
    return establishDataKey(sql, pepper, secrets);
  }
  throw new Fault(CANNOT_OPEN);
}

const CANNOT_OPEN =
  "the key that seals stored content cannot be opened with the secrets of this start: TOLLGATE_SEALING_KEY, " +
  "or without it the administration key, is not the one that the last start had. Set TOLLGATE_SEALING_KEY " +
  "to the old value (to change it, to the new value, a space, and the old one). If the old value is lost: " +
  "`npx tollgate sealing reset` makes a new key, and what is sealed (calls that wait for approval, stored " +
  "answers, webhooks' secrets) can never be read again";
