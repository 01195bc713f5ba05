/**
 * Phrases by which texts try to take over a model. They are signs, not proofs: whoever writes about prompt
 * injection uses them, too, and whoever means it may find other words.
 */
import { type Detector, isWithinWord, matchAt, type Span, spanFrom } from "./detector.ts";

/** Words between a verb and what it is about; a sentence has few, and each is short. */
const BETWEEN =
  "(?:(?:all|any|the|of|your|my|our|these|those|this|that|previous|prior|above|earlier|preceding|original|initial|given|system|safety|foregoing)\\s{1,4}){0,5}";

function phrase(kind: string, marks: readonly string[], pattern: RegExp): Detector {
  return {
    kind,
    marks,
    ignoresCase: true,
    spanOf: (text, at) => {
      if (/\w/.test(text.charAt(at)) && isWithinWord(text, at)) return null;
      return spanFrom(at, matchAt(pattern, text, at));
    },
  };
}

/** A flag of a region (🏴 and tags) is at most this long; text in invisible letters is longer. */
const FLAG_TAGS_MAX = 8;

/** Letters of the block of tags, which no screen shows and every model reads. */
function hiddenSpan(text: string, at: number): Span | null {
  const run = matchAt(/(?:\uDB40[\uDC00-\uDC7F]){1,4096}/y, text, at);
  return run !== null && run.length / 2 > FLAG_TAGS_MAX ? spanFrom(at, run) : null;
}

export const INJECTION_DETECTORS: readonly Detector[] = [
  phrase(
    "ignore_instructions",
    ["ignore", "disregard", "forget", "override", "bypass"],
    new RegExp(
      `(?:ignore|disregard|forget|override|bypass)\\s{1,4}(?:everything\\s{1,4})?${BETWEEN}(?:previous|prior|above|earlier|preceding|system|safety|your|all|these|those)\\s{1,4}(?:instructions?|prompts?|rules|directions|guidelines|commands|messages)\\b`,
      "y",
    ),
  ),
  phrase(
    "reveal_prompt",
    ["reveal", "print", "show", "repeat", "output", "leak", "tell"],
    new RegExp(
      `(?:reveal|print|show|repeat|output|leak|tell)\\s{1,4}(?:me\\s{1,4}|us\\s{1,4}|back\\s{1,4}|verbatim\\s{1,4}){0,2}${BETWEEN}(?:system\\s{1,4}prompt|hidden\\s{1,4}(?:prompt|instructions)|(?:initial|system|original)\\s{1,4}instructions)\\b`,
      "y",
    ),
  ),
  phrase(
    "role_override",
    ["you are now", "act as", "pretend to be", "enable"],
    /(?:(?:you\s{1,4}are\s{1,4}now|act\s{1,4}as|pretend\s{1,4}to\s{1,4}be)\s{1,4}(?:an?\s{1,4}|in\s{1,4}|the\s{1,4})?(?:dan\b|unrestricted|unfiltered|uncensored|jailbroken|developer\s{1,4}mode|ai\s{1,4}without)|enable\s{1,4}(?:developer|dan|jailbreak|god)\s{1,4}mode)/y,
  ),
  phrase(
    "fake_turn",
    ["<|im_start|>", "<|start_header_id|>", "<<sys>>", "[/inst]", "<|system|>"],
    /<\|(?:im_start|start_header_id)\|>\s{0,4}system|<<sys>>|\[\/inst\]|<\|system\|>/y,
  ),
  { kind: "hidden_text", marks: ["\uDB40"], ignoresCase: false, spanOf: hiddenSpan },
];
