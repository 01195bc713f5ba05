/** The bundle that `tollgate policies starter` prints: something to begin with, and to read. */
export const STARTER_POLICIES = `# A first bundle of policies. Check it, apply it, and watch what its shadow policies would do:
#
#   npx tollgate policies check policies.yaml
#   npx tollgate policies apply policies.yaml --activate
#   npx tollgate policies shadow-report
#
# A policy with \`mode: shadow\` only records what it would do: remove that line when its report is right. The others hold
# as soon as the bundle is active: large-single-call asks a person, unknown-models blocks, bounded-answers lowers maxima.
#
# Expressions are CEL over the facts that docs/policies.md lists.
description: Starter policies
policies:
  # What is sent goes to somebody else's machine.
  - id: no-secrets
    name: No secrets in prompts
    when: detectors.secrets > 0 || !detectors.complete
    effect: block
    mode: shadow
    risk: 30
    reason: "The request holds {detectors.secrets} secrets ({detectors.kinds}); keep them out of prompts."

  - id: injection
    name: Phrases of prompt injection
    when: detectors.injection > 0
    effect: allow
    mode: shadow
    risk: 20
    reason: "It holds phrases of prompt injection ({detectors.kinds})."

  # One call that may cost more than a dollar is asked about first.
  - id: large-single-call
    name: Large single call
    when: estimate.cost_known && estimate.cost > usd("1.00")
    effect: require_approval
    approval: { quorum: 1, expires_in: 24h }
    risk: 20
    reason: "This one call may cost up to {estimate.cost}."

  # A model without a price is one that nobody decided to use. Strict tenants refuse it anyway.
  - id: unknown-models
    name: Models without a price
    applies_to: { doors: [model] }
    when: request.billing == "metered" && !resource.priced
    effect: block
    reason: "No price is known for {resource.name}, so nobody has decided to use it."

  # Answers stay readable, and reservations small, where the caller named no maximum or a huge one.
  - id: bounded-answers
    name: Bounded answers
    applies_to: { doors: [model] }
    when: request.operation == "chat" && request.output_tokens_max > 16384
    effect: allow
    obligations: { max_output_tokens: 16384 }
    reason: "Answers have at most 16,384 tokens."

  # A client library that has tried three times already is part of a storm.
  - id: retry-storms
    name: Retry storms
    when: retry.sdk_retries >= 3
    effect: block
    mode: shadow
    risk: 10
    reason: "The client library has tried {retry.sdk_retries} times already."

  # What a tool answers that nobody trusts may hold instructions: whatever the run then does outside is looked at.
  - id: tainted-effects
    name: Effects of a tainted run
    applies_to: { doors: [tool, step] }
    when: request.operation == "execute_tool" && run.tainted && tool.effect_class == "effectful"
    effect: require_approval
    approval: { quorum: 1, expires_in: 24h }
    mode: shadow
    reason: "{resource.name} has effects outside, and the run has read what is not trusted ({run.tainted_by})."
`;
