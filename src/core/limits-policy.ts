/** Limits of policies, of what they look at, and of judging again, each with its reason. */

/** The text of a policy bundle: a hundred policies with comments; it stands in every replica's memory. */
export const BUNDLE_BYTES_MAX = 128 * 1024;

/** Policies of one bundle: each is evaluated for every call and stands in every decision. */
export const POLICIES_MAX = 100;

/** Mistakes of a bundle that are told at once: 128 KiB can hold 15,000, and nobody reads more than these. */
export const POLICY_PROBLEMS_MAX = 100;

/** One expression of a policy: longer ones are several policies. */
export const EXPRESSION_CHARS_MAX = 4_096;

/** Nodes of one expression's syntax tree, and how deep they nest: what people write has twenty. */
export const EXPRESSION_NODES_MAX = 200;
export const EXPRESSION_DEPTH_MAX = 24;

/** Comprehensions inside each other: a third would visit a million elements. */
export const COMPREHENSION_DEPTH_MAX = 2;

/** Elements of a list, and of a map, that an expression may look at; a longer one cannot be judged. */
export const FACT_ITEMS_MAX = 100;

/** Characters of a text that an expression may look at; a longer one cannot be judged. */
export const FACT_CHARS_MAX = 4_096;

/** Values in the arguments of a tool call that expressions may look at, so that comparing two stays cheap. */
export const ARGUMENT_NODES_MAX = 1_000;

/** Their texts together: they stand in the decision of a call whose policies read them. */
export const ARGUMENT_CHARS_MAX = 32 * 1024;

/** The pattern of `matches`: it is compiled once, and matched in time linear in the text. */
export const PATTERN_CHARS_MAX = 256;

/**
 * Instructions of a pattern's program: `.{0,300}` has 601 of them, and each may be visited for each character.
 * A pattern of 1,205 took 400 to 700 ms for 4,090 characters, one of 85 takes 29; what people write has thirty.
 */
export const PATTERN_PROGRAM_MAX = 200;

/** What a pattern's text may expand to before it is compiled: `.{0,300}` takes 45 ms to compile, 400 take 5. */
export const PATTERN_EXPANDED_MAX = 400;

/**
 * What evaluating may cost at most, in steps of some 30 ns each: 3 ms for one policy, 15 ms for a bundle.
 * A character of `matches` counts once for each instruction of its pattern, which takes 1 to 5 ns for most
 * patterns and 110 for the worst that were found: 11 ms for one policy that is made of these.
 * Counted before it is stored, for the longest facts there can be.
 */
export const EXPRESSION_COST_MAX = 100_000;
export const BUNDLE_COST_MAX = 500_000;

/** A policy's reason as the caller is told it; what it quotes is cut at the second. */
export const POLICY_REASON_CHARS_MAX = 500;
export const POLICY_QUOTE_CHARS_MAX = 64;

/** The sum of the weights of what a call matched: a scale, not a count. */
export const RISK_MAX = 100;

/**
 * What it adds to the risk of a call that its run has read what an untrusted tool answered: more than a phrase of
 * injection that was found (25), for what is not found is there, too; less than a secret that leaves (40).
 */
export const TAINT_RISK = 30;

/** Decisions that one call judges again: a few seconds; whoever wants more asks for the next part. */
export const BACKTEST_ROWS_MAX = 10_000;

/** Decisions that are read at once: with plain policies they are judged in some 20 ms. */
export const BACKTEST_PAGE_ROWS = 250;

/**
 * How long judging again may hold the loop before others have their turn: a dear bundle takes 15 ms for one
 * decision, so that a page of them would hold everybody's calls for seconds.
 */
export const BACKTEST_TURN_MS = 10;

/** Changes that one call lists; the rest is counted. */
export const BACKTEST_CHANGES_MAX = 1_000;

/** Characters of one request that detectors search: 4 MiB take some 300 ms, in a worker. The rest is told to be left. */
export const DETECT_CHARS_MAX = 4 * 1024 * 1024;

/** Findings of one kind that are counted: more of them say no more. */
export const DETECT_COUNT_MAX = 1_000;

/**
 * Values of a tool's result that are looked at, names of members included: each is searched by itself, and this many
 * short ones take some 120 ms. A list of 1,000 rows of twenty columns has 40,000.
 */
export const RESULT_VALUES_MAX = 100_000;

/** What a caller is told of where the list stands that is too long: room for the names of a dozen members. */
export const RESULT_POINTER_CHARS_MAX = 200;

/** Attempts of a run that are counted for the policies that read them: more would make each ask read them all. */
export const HISTORY_ATTEMPTS_MAX = 1_000;
