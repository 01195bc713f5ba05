import type { Usage } from "../../src/core/usage.ts";
import { chatAnswer, errorAnswer } from "../support/openai-answers.ts";
import {
  startScriptedUpstream,
  type Exchange,
  type Script,
  type ScriptedUpstream,
} from "../support/scripted-upstream.ts";

/** The model that answers searches, the one that writes to the CRM, and a question that the first cannot bear. */
export const SEARCH_MODEL = "search-large";
export const CRM_MODEL = "crm-small";
export const BAD_QUESTION = "Summarise every open invoice, with all attachments.";

/** How long the provider takes for the bad question: longer than any client here has patience. */
const SLOW_MS = 1_300;

const USAGE = { input: 10_000, output: 500 } satisfies Usage;

/** Dollars per million tokens, as `tollgate.yaml` has them; a call of `USAGE` costs 6 cents. */
export const PRICES_YAML = [SEARCH_MODEL, CRM_MODEL]
  .map(
    (model) =>
      `  - { upstream: up, model: ${model}, input: 5, output: 20, output_tokens_max: 1000 }\n`,
  )
  .join("");

const CALL_CENTS = 6;

/**
 * A provider of models with a quota for the day, as a real HTTP server. It charges what it accepts, whether
 * or not somebody stays for the answer; when the day's quota is used up it refuses everybody until tomorrow.
 */
export type Provider = {
  /** The base URL, with `/v1`. */
  readonly url: string;
  readonly quotaCalls: number;
  readonly upstream: ScriptedUpstream;
  /** Calls that it accepted and charged. */
  readonly charged: () => number;
  readonly chargedCents: () => number;
  readonly left: () => number;
  /** Resolves when it has refused somebody for want of quota. */
  readonly exhausted: () => Promise<void>;
  readonly close: () => Promise<void>;
};

export async function startProvider(quotaCalls: number): Promise<Provider> {
  const upstream = await startScriptedUpstream();
  let charged = 0;
  const exhausted = Promise.withResolvers<void>();
  upstream.otherwise((exchange): Script => {
    if (charged === quotaCalls) {
      exhausted.resolve();
      const message = "You exceeded your current quota for today.";
      const body = errorAnswer(message, "insufficient_quota", "insufficient_quota");
      return { kind: "json", status: 429, body };
    }
    charged += 1;
    // Charged when it is accepted: a client that hangs up saves nothing.
    exchange.billed = USAGE;
    const body = chatAnswer(exchange.model ?? "", "Done.", USAGE);
    return { kind: "json", body, headersDelayMs: isBad(exchange) ? SLOW_MS : 0 };
  });
  return {
    url: upstream.url,
    quotaCalls,
    upstream,
    charged: () => charged,
    chargedCents: () => charged * CALL_CENTS,
    left: () => quotaCalls - charged,
    exhausted: () => exhausted.promise,
    close: upstream.close,
  };
}

function isBad({ body }: Exchange): boolean {
  return Buffer.from(body).includes(BAD_QUESTION);
}

/** A question with its context: the tokens that the provider counts are in it. */
export function messagesFor(question: string) {
  const context = "Invoice 4711 of customer 42 is open.\n".repeat(1_100);
  return [{ role: "user" as const, content: `${question}\n\n${context}` }];
}
