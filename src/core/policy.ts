/** A tenant's own rules. A bundle is immutable, and its version is the hash of its content. */
import { sha256Hex } from "../lib/hash.ts";
import type { Intent } from "./intent.ts";

export const EFFECTS = ["block", "require_approval", "allow"] as const;

export type ApprovalTerms = {
  /** Approvals needed. */
  readonly quorum: number;
  /** The role that approvers must have; null: any key with the scope. */
  readonly role: string | null;
  readonly expiresInMs: number;
};

/** What becomes of a call that a policy matches. `allow` lets it pass on conditions; null imposes none. */
export type Effect =
  | { readonly kind: "block" }
  | ({ readonly kind: "require_approval" } & ApprovalTerms)
  | {
      readonly kind: "allow";
      /** Output tokens of one choice at most: lowers what is asked, never raises it. */
      readonly outputTokensMax: number | null;
      /** The model to call instead, as a caller would name it. */
      readonly model: string | null;
      /** Of FINDING_NAMES, in that order: what is replaced in the texts that are sent; empty for nothing. */
      readonly redact: readonly string[];
    };

export type Policy = {
  /** Stable over versions of the bundle. */
  readonly id: string;
  readonly name: string;
  readonly description: string;
  /** An empty list: all. */
  readonly doors: readonly Intent["door"][];
  /** Globs over the resource: as asked, as routed, and with its upstream. An empty list: all. */
  readonly resources: readonly string[];
  /** CEL over the facts of `policy-facts.ts`. */
  readonly when: string;
  readonly effect: Effect;
  /** What it adds to the risk score where it matches. */
  readonly risk: number;
  /** What the caller is told, with `{facts}` in it. */
  readonly reason: string;
  /** `shadow`: recorded, and without effect. */
  readonly mode: "enforce" | "shadow";
  /** What becomes of a call for which the expression has no value. */
  readonly onError: "block" | "skip";
};

/** What a reason quotes: the path of a fact, in braces. */
export const QUOTE = /\{([^}]*)\}/g;

export type Bundle = { readonly description: string; readonly policies: readonly Policy[] };

/** `pol_` and the hash of the content, hex. */
export function versionOf(content: string): string {
  return `pol_${sha256Hex(content)}`;
}

const VERSION = /^pol_[0-9a-f]{64}$/;
const VERSION_START = /^pol_[0-9a-f]{8,64}$/;

export function isVersion(text: string): boolean {
  return VERSION.test(text);
}

/** Whether a text may be the beginning of a version, long enough to be meant. */
export function isVersionStart(text: string): boolean {
  return VERSION_START.test(text);
}

/** As headers and sentences tell a version: enough of it to find it. */
export function shortVersion(version: string): string {
  return version.slice(0, 16);
}

/** The version of one policy: 32 hex digits over its content, wherever it stands. */
export function policyVersion(policy: Policy): string {
  return sha256Hex(JSON.stringify(policyContent(policy))).slice(0, 32);
}

/**
 * The canonical content: every member in one order, defaults written out. Two texts that judge alike
 * are one version, whatever their comments.
 */
export function contentOf(bundle: Bundle): string {
  const { description, policies } = bundle;
  return JSON.stringify({ description, policies: policies.map(policyContent) });
}

/** The same names as a person writes, so that the content can be read as a source. */
function policyContent(policy: Policy): object {
  const { effect } = policy;
  return {
    id: policy.id,
    name: policy.name,
    description: policy.description,
    applies_to: { doors: policy.doors, resources: policy.resources },
    when: policy.when,
    effect: effect.kind,
    ...(effect.kind === "require_approval"
      ? {
          approval: {
            quorum: effect.quorum,
            role: effect.role,
            expires_in: `${effect.expiresInMs / 1_000}s`,
          },
        }
      : {}),
    ...(effect.kind === "allow"
      ? {
          obligations: {
            max_output_tokens: effect.outputTokensMax,
            model: effect.model,
            // Only where it is set, so that bundles that were stored before keep their versions.
            ...(effect.redact.length === 0 ? {} : { redact: effect.redact }),
          },
        }
      : {}),
    risk: policy.risk,
    reason: policy.reason,
    mode: policy.mode,
    on_error: policy.onError,
  };
}
