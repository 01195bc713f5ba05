import type { Findings } from "./detect.ts";
import type { EffectClass } from "./operation.ts";
import type { ToolApproval } from "./tool.ts";
import type { Usage } from "./usage.ts";

/** What the model door can be asked to do, by OpenTelemetry's `gen_ai.operation.name` where it has one. */
export const OPERATIONS = [
  "chat",
  "responses",
  "text_completion",
  "embeddings",
  "image_generation",
  "speech",
  "transcription",
  "moderation",
  "pass_through",
] as const;
export type Operation = (typeof OPERATIONS)[number];

/**
 * Whether a request can cost money here. `metered`: its answer says what was used. `free`: reading,
 * listing, deleting. `deferred`: it starts work whose cost appears elsewhere (batches, fine-tuning,
 * video, realtime). `unknown`: a path we do not know. `stated`: a tool or step, whose cost is declared.
 */
export const BILLINGS = ["metered", "free", "deferred", "unknown", "stated"] as const;
export type Billing = (typeof BILLINGS)[number];

/**
 * What a request could use, as far as its body bounds it. Every figure is an upper bound.
 * `unbounded` names each part of the request that no figure here bounds (`hosted_tool:web_search`,
 * `stored_context`, `file`, `background`); an empty list means the bound is sound.
 */
export type Demand = {
  readonly inputBytes: number;
  readonly images: number;
  readonly audioInput: boolean;
  readonly audioOutput: boolean;
  /** Maximum output tokens of one choice as the client asked, or null when it did not say. */
  readonly outputTokensMax: number | null;
  readonly choices: number;
  /** Known exactly before the call (characters of speech input, images asked for): reserved as it is. */
  readonly fixed: Usage;
  /** Whether the operation produces output tokens at all (embeddings and moderations do not). */
  readonly producesTokens: boolean;
  /** The service tier asked for (`flex`, `priority`), or null: its rates may be others. */
  readonly serviceTier: string | null;
  readonly unbounded: readonly string[];
};

/** Of what uses nothing of a model: a pass-through, or an act of the caller's own. */
export const NO_DEMAND: Demand = {
  inputBytes: 0,
  images: 0,
  audioInput: false,
  audioOutput: false,
  outputTokensMax: null,
  choices: 1,
  fixed: {},
  producesTokens: false,
  serviceTier: null,
  unbounded: [],
};

/** What a call belongs to and what its caller says of it: see `http/context.ts`. */
export type Context = {
  /** The run named by the client, or null: then the attempt is its own run. */
  readonly run: string | null;
  readonly step: string | null;
  readonly parentStep: string | null;
  readonly operation: string | null;
  readonly tool: string | null;
  readonly customer: string | null;
  readonly labels: Readonly<Record<string, string>>;
  /** `Tollgate-Max-Cost`: the most this one call may reserve, in pico-dollars. */
  readonly costPicousdMax: bigint | null;
  readonly dryRun: boolean;
  readonly traceId: string | null;
};

/** What identifies the client library; recorded, never trusted for a decision about money. */
export type ClientFacts = {
  readonly userAgent: string;
  readonly sdk: string | null;
  readonly sdkRetryCount: number;
  /** Codex retries other refusals than the rest: see `dialects/openai/phrase.ts`. */
  readonly isCodex: boolean;
};

export type Json =
  | null
  | boolean
  | number
  | string
  | readonly Json[]
  | { readonly [name: string]: Json };

/**
 * What a caller does itself, or what an MCP server does for it, by OpenTelemetry's name where it has one. `mcp_request`:
 * all but tools that is asked of a server, which costs nothing here.
 */
export const ACTS = ["execute_tool", "step", "mcp_request"] as const;
export type Act = (typeof ACTS)[number];

/** What an act is, by its tool's declaration; recorded with the decision. */
export type ActFacts = {
  readonly effectClass: EffectClass;
  /** The effect that it claims, as `type:key effect`, or null. */
  readonly effect: string | null;
  /** What the declared extractor found in the arguments, or why it found nothing; null without one. */
  readonly extracted: {
    readonly mode: "observe" | "enforce";
    readonly operation: string | null;
    readonly why: string | null;
  } | null;
  /** Behind the tool door; null for what callers run themselves. */
  readonly listed: ToolListed | null;
  /** Its declaration has people approve each call; null: it does not. */
  readonly approval: ToolApproval | null;
};

/** How a tool that a server lists stands with a key: as operators see it (`TOOL_STATES`), unless its key is not for it. */
export const STANDINGS = [
  "callable",
  "observed",
  "undeclared",
  "quarantined",
  "not_allowed",
] as const;

export type ToolListed = {
  readonly standing: (typeof STANDINGS)[number];
  /** SHA-256, hex, of the definition that its server lists now. */
  readonly definition: string;
};

/** Tools that callers run themselves come through the step door, those of MCP servers through the tool door. */
export const DOORS = ["model", "tool", "step"] as const;

/** The door in the books by which people's answers come, which cost their time: nothing is asked of the gate there. */
export const APPROVAL_DOOR = "approval";

/** What the gate is asked. Every door builds the same one. */
export type Intent = {
  readonly door: (typeof DOORS)[number];
  readonly operation: Operation | Act;
  readonly billing: Billing;
  /** The model asked for (`fast`, `openai/gpt-5-mini`), or the method and path of a pass-through. */
  readonly resource: string;
  readonly demand: Demand;
  readonly stream: boolean;
  /** It reads, changes or deletes objects stored at the provider, in the account that tenants share. */
  readonly reachesStored: boolean;
  /** Of a tool or step: null where it has none; absent at the model door, and where nobody kept them. */
  readonly arguments?: Json;
  /** The exact call, for whoever must approve it; null where it is too large to be shown. */
  readonly call: () => Uint8Array | null;
  /** By what an approval knows that call again, where its bytes change from attempt to attempt. Absent: by its bytes. */
  readonly callDigest?: string;
  /** Searches its texts; asked only where the active bundle reads what is found. Absent: nobody can. */
  readonly inspect?: () => Findings;
  /** SHA-256, hex: of the body as it came, or of the canonical arguments of a tool or step. */
  readonly inputDigest: string;
  /** The same of what it says, however it is spaced and its model is called: by it a further attempt is known. */
  readonly contentDigest: string;
  readonly context: Context;
  readonly client: ClientFacts;
  /** The tool by which its further attempts are counted apart; null: by its model. */
  readonly tool: string | null;
  readonly idempotency: IdempotencyAsked | null;
  /** The effect that it claims for a business operation, or null. */
  readonly effect: EffectAsked | null;
  /** `stated`: the most that it costs, as the operator or the caller says; null where nobody does. */
  readonly costStatedPicousd: bigint | null;
  /** Null where a model is called. */
  readonly act: ActFacts | null;
  /** How long its caller, who acts itself, may be silent; null where the gateway dispatches. */
  readonly leaseMs: number | null;
};

/** Under one key the same content is executed once. */
export type IdempotencyAsked = {
  readonly key: string;
  /** SHA-256 of the route and the canonical body, hex. */
  readonly content: string;
  /** Its caller says that it may run again though nobody knows whether it ran. */
  readonly acceptsUnknown: boolean;
  readonly keptMs: number;
};

/** What an act does to a business operation, whatever run it is of. */
export type EffectAsked = {
  readonly type: string;
  readonly key: string;
  readonly effect: string;
  /** SHA-256 of the canonical arguments, hex. */
  readonly content: string;
  /** Its class says that it may run again though nobody knows whether it ran. */
  readonly mayRepeatUnknown: boolean;
  /** The attempt that is repeated deliberately, or null. */
  readonly repeats: string | null;
};
