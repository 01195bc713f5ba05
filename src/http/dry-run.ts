import { usdOrNull } from "../core/money.ts";
import type { Phrased } from "../dialects/dialect.ts";
import type { Admission } from "../gate/admit.ts";

/** What `Tollgate-Dry-Run` answers: the verdict as it would be now. Nothing was reserved or recorded. */
export function phraseDryRun(admission: Admission): Phrased {
  const body = { object: "tollgate.dry_run", ...verdictOf(admission) };
  return {
    status: 200,
    headers: { "content-type": "application/json", "tollgate-dry-run": "true" },
    body: JSON.stringify(body),
  };
}

function verdictOf(admission: Admission): object {
  switch (admission.kind) {
    case "admitted": {
      const { estimate, clampedTo, redact, upstream, model } = admission.permit;
      const { costPicousd, tokens } = estimate;
      return {
        verdict: "allow",
        upstream: upstream.name,
        model,
        estimate_usd: usdOrNull(costPicousd),
        estimate_tokens: tokens,
        output_clamped_to: clampedTo,
        ...(redact.length === 0 ? {} : { redacted: redact }),
      };
    }
    case "tool_admitted": {
      const { estimate, server } = admission.permit;
      return {
        verdict: "allow",
        server: server.name,
        estimate_usd: usdOrNull(estimate.costPicousd),
      };
    }
    case "granted": {
      const { costPicousd } = admission.grant.estimate;
      return {
        verdict: "allow",
        estimate_usd: usdOrNull(costPicousd),
      };
    }
    case "refused":
      return {
        verdict: "block",
        reason: admission.refusal.reason,
        message: admission.refusal.message,
      };
    case "gone":
      return { verdict: null };
  }
}
