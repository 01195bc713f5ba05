/**
 * Families whose models think in tokens that are billed and never delivered, by how their names begin
 * after an owner's prefix (`deepseek/deepseek-r1`). From the makers' model lists of November 2026.
 */
const REASONING = [
  "o1",
  "o3",
  "o4",
  "gpt-5",
  "gpt-6",
  "gpt-oss",
  "codex-",
  "claude-3-7",
  "claude-opus",
  "claude-sonnet",
  "claude-haiku-4",
  "gemini-2.5",
  "gemini-3",
  "grok-3-mini",
  "grok-4",
  "deepseek-r",
  "qwq",
  "qwen3",
  "magistral",
  "glm-4",
  "kimi-k2",
  "minimax-m",
  "sonar-deep",
];

/** Names by which any maker says so. */
const SAYS_SO = ["reason", "think"];

/** Whether a cut answer of this model may have cost tokens that its client never saw. */
export function mayReason(model: string): boolean {
  const name = model.slice(model.lastIndexOf("/") + 1).toLowerCase();
  const base = name.startsWith("ft:") ? name.slice("ft:".length) : name;
  return (
    REASONING.some((family) => base.startsWith(family)) ||
    SAYS_SO.some((word) => base.includes(word))
  );
}
