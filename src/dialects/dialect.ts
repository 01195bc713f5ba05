import type { Billing, Demand, Operation } from "../core/intent.ts";
import type { Usage } from "../core/usage.ts";
import type { Proposed } from "./proposed.ts";
import type { Refusal } from "../core/verdict.ts";

/** One route of a wire format, found from method and path alone. */
export type Route = {
  readonly operation: Operation;
  readonly billing: Billing;
  /** The path at the upstream, below its base URL: `/chat/completions`. Never holds `..`, `//` or an authority. */
  readonly path: string;
  /** `json`: read, parsed, forwarded as the same bytes. `multipart`: streamed, model read by a tee. `none`: streamed, nothing read. */
  readonly body: "json" | "multipart" | "none";
  /** The model named by the path (Azure deployments), or null. */
  readonly pathModel: string | null;
};

/** What a body asks for. */
export type Asked = {
  readonly model: string | null;
  readonly stream: boolean;
  /** The client itself asked for usage on its stream. */
  readonly wantsUsage: boolean;
  readonly demand: Demand;
  /** `metadata.tollgate_*` members of the body, without the prefix; removed before forwarding. */
  readonly metadata: Readonly<Record<string, string>>;
};

/** Changes to a body, each spliced into the caller's bytes; an empty object changes nothing. */
export type Edits = {
  readonly model?: string;
  readonly outputTokensMax?: { readonly field: string; readonly value: number };
  readonly injectUsage?: boolean;
  readonly stripMetadata?: boolean;
  /** Of FINDING_NAMES: what detectors find of these in its content gives way to placeholders. */
  readonly redact?: readonly string[];
};

/** What the meter knows of an answer, at any moment. */
export type Reading = {
  /** Null while the upstream has said nothing of usage; an explicit zero is a Usage of zeros. */
  readonly usage: Usage | null;
  /** The model that answered (a dated snapshot), which chooses the price. */
  readonly model: string | null;
  readonly serviceTier: string | null;
  readonly responseId: string | null;
  /** The provider's own figure (OpenRouter, xAI), as a decimal of dollars, kept beside ours and never charged. */
  readonly providerCostUsd: string | null;
  /** `finishing`: a finish reason was seen, usage may follow. `complete`: the terminal marker was seen. */
  readonly progress: "none" | "started" | "finishing" | "complete";
  /** Something that could have held usage was not read (too large, absurd figures): no estimate is sound. */
  readonly isUnread?: boolean;
  /** The tool calls that the model asks for; null or absent while there is none. */
  readonly proposed?: Proposed | null;
  /** An error told inside a stream or an answer of status 200. */
  readonly error: { readonly code: string; readonly message: string } | null;
};

/** Listens to one answer. Pure but for its own state: fed bytes, it says what was used. */
export type Meter = {
  /** Takes one chunk; answers the bytes the client is to get for it, the same object when nothing is hidden. */
  push: (chunk: Uint8Array) => Uint8Array;
  /** The bytes held back when the answer ended. */
  flush: () => Uint8Array;
  reading: () => Reading;
  /** The text delivered so far, capped, for an estimate when usage never came. */
  deliveredText: () => string;
  /** Whether what the client has got ends between two events: only there may bytes of ours stand. */
  betweenEvents: () => boolean;
  /** The `sequence_number` for an event that we append: one more than the last whole event had. */
  nextSequence: () => number;
};

/** An answer that we make. */
export type Phrased = {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
};

export type { Refusal };
