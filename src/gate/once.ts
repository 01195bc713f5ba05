/**
 * An act of administration that is done once, however often it is asked for under one idempotency key. The
 * key is claimed before the act and its answer stored after it; an act that was refused gives the key back.
 * What was claimed and has no answer is at work, and later nobody knows: it is not done again.
 */
import { InputError } from "../core/errors.ts";
import { ACT_MS_MAX, MODEL_KEY_KEPT_MS } from "../core/limits.ts";
import { hmacSha256Hex } from "../lib/hash.ts";
import { claimAct, releaseAct } from "../store/acts.ts";
import type { Answers } from "./answers.ts";
import type { Ports } from "./ports.ts";

export type AskedAct = {
  /** Empty for an act of the installation. */
  readonly tenantId: string;
  readonly key: string;
  /** Who asks and for what: SHA-256, hex. */
  readonly content: string;
};

export type ActAnswer = { readonly status: number; readonly body: string };

export type Once = (
  asked: AskedAct,
  act: () => Promise<ActAnswer>,
) => Promise<ActAnswer & { readonly isRepeat: boolean }>;

/** Under this the acts of the installation stand, which are of no tenant. */
const INSTALLATION = "installation";

/** Throws InputError where the key is another act's, or the act is at work or unknown. */
export function createOnce(ports: Ports, answers: Answers, pepper: string): Once {
  return async ({ tenantId: named, key, content }, act) => {
    const tenantId = named === "" ? INSTALLATION : named;
    const keyDigest = hmacSha256Hex(pepper, `${tenantId} ${key}`);
    const actId = `act_${ports.newId()}`;
    const keptMs = MODEL_KEY_KEPT_MS;
    const claim = { tenantId, keyDigest, contentDigest: content, actId, keptMs };
    const holder = await claimAct(ports.db.admin, claim);
    if (holder !== null) {
      if (!holder.isSame) throw reused();
      const kept = await answers.find(tenantId, holder.actId);
      if (kept === null) throw holder.ageMs > ACT_MS_MAX ? unknown() : atWork();
      return { status: kept.status, body: new TextDecoder().decode(kept.body), isRepeat: true };
    }
    let done: ActAnswer;
    try {
      done = await act();
    } catch (error) {
      if (error instanceof InputError) await releaseAct(ports.db.admin, claim);
      throw error;
    }
    const body = new TextEncoder().encode(done.body);
    await answers.keep(
      { tenantId, attemptId: actId, keptMs },
      { status: done.status, headers: [], body },
    );
    return { ...done, isRepeat: false };
  };
}

function reused(): InputError {
  const message =
    "This Idempotency-Key belongs to a request with other content, or of another key.";
  return new InputError("idempotency_key_reused", "Idempotency-Key", message);
}

function atWork(): InputError {
  const message = "The same request, with this Idempotency-Key, is still at work. Ask again.";
  return new InputError("idempotency_in_progress", "Idempotency-Key", message);
}

function unknown(): InputError {
  const message =
    "The same request, with this Idempotency-Key, was begun, and nobody knows whether it was done. Look, and " +
    "use another key where it was not.";
  return new InputError("outcome_unknown", "Idempotency-Key", message);
}
