/**
 * What makes two asks attempts of one step. A caller may name its steps; where it does not, the step is
 * derived: from the idempotency key where there is one, else from the content, so that the retries of a
 * client that says nothing are seen as what they are.
 */
import { sha256Hex } from "../lib/hash.ts";

export type StepAsked = {
  readonly keyId: string;
  readonly runId: string;
  readonly isRunNamed: boolean;
  readonly step: string | null;
  /** HMAC of the idempotency key, or null. */
  readonly idempotencyDigest: string | null;
  readonly door: string;
  /** What is asked to happen: the operation, and the tool, path, or model as it is routed: an alias names no other one. */
  readonly operation: string;
  readonly resource: string;
  /** SHA-256 of what the input says, however it is written. */
  readonly inputDigest: string;
};

export type StepIdentity = {
  readonly stepDigest: string;
  /** Of a step in a named run that its caller or a key names: the same content under another step is a loop. */
  readonly contentDigest: string | null;
};

/** JSON keeps the parts apart: no name can be made to look like another's parts. */
function digest(...parts: readonly (string | null)[]): string {
  return sha256Hex(JSON.stringify(parts));
}

export function identifyStep(asked: StepAsked): StepIdentity {
  const { keyId, runId, isRunNamed, step, door, operation, resource, inputDigest } = asked;
  const run = isRunNamed ? runId : null;
  const content = () =>
    isRunNamed ? digest("content", runId, door, operation, resource, inputDigest) : null;
  // A step is a part of a run: named without one it is found in no other call, and its content must tell.
  if (step !== null && isRunNamed) {
    return { stepDigest: digest("named", runId, step), contentDigest: content() };
  }
  // A key for each try makes each a step of its own, and a loop of all of them.
  if (asked.idempotencyDigest !== null) {
    return { stepDigest: digest("key", door, asked.idempotencyDigest), contentDigest: content() };
  }
  return {
    stepDigest: digest("derived", keyId, run, door, operation, resource, inputDigest),
    contentDigest: null,
  };
}
