import { expect, test } from "vitest";
import { mayReason } from "../../src/core/reasoning.ts";

const HIDDEN = [
  "o3",
  "o4-mini-2025-04-16",
  "openai/o3",
  "gpt-5-mini",
  "ft:gpt-5:acme",
  "deepseek/deepseek-r1",
  "deepseek-reasoner",
  "gemini-2.5-pro",
  "x-ai/grok-4",
  "Qwen/QwQ-32B",
  "claude-opus-4-5",
  "kimi-thinking",
];
const PLAIN = [
  "gpt-4o",
  "gpt-4.1-mini",
  "gpt-3.5-turbo",
  "demo-chat",
  "llama-3.3-70b",
  "ollama/gemma",
];

test.each(HIDDEN)("a cut answer of %s may have cost what was never delivered", (model) => {
  expect(mayReason(model)).toBe(true);
});

test.each(PLAIN)("a cut answer of %s cost what was delivered", (model) => {
  expect(mayReason(model)).toBe(false);
});
