/** Limits of roll-ups, outcomes and reports, each with its reason. */

/** Lines that one step rolls up, in one transaction: some hundred milliseconds, and nobody waits for its locks. */
export const ROLL_UP_LINES_MAX = 5_000;

/** Steps of one turn: a backlog of a hundred thousand lines; the next turn goes on where this one stopped. */
export const ROLL_UP_STEPS_MAX = 20;

/** How far reports may be behind the ledger where nobody asks for one; more lines at once cost less each. */
export const ROLL_UP_MS = 5_000;

/** What a tenant counts as results: tens of kinds; a type for each ticket is a mistake that this tells. */
export const OUTCOME_TYPES_MAX = 200;

/** What a person says of a type, or of an outcome: a paragraph. It stands in every list. */
export const OUTCOME_TEXT_CHARS_MAX = 2_000;

/** The largest part of a shared run: a column of the store holds no more. */
export const OUTCOME_WEIGHT_MAX = 1_000;

/**
 * Outcomes that one run or operation begins. Each bears a part of every cell of its runs, and is told anew when
 * one of them costs more: 1,000 outcomes of a run with 100 cells take 1.6 s, 10,000 more than a statement may.
 */
export const OUTCOMES_OF_A_SUBJECT_MAX = 2_000;

/** How far ahead of the database's clock an outcome may have occurred: clocks that nobody keeps are minutes apart. */
export const OUTCOME_AHEAD_MS_MAX = 5 * 60_000;

/** 2000-01-01. Nothing that passed the gate occurred before: an earlier time is a typing error, or seconds read as ms. */
export const OUTCOME_EARLIEST_MS = 946_684_800_000;

/** Rows of one import: two statements of some ten milliseconds, and an answer that names each. */
export const OUTCOME_ROWS_MAX = 1_000;

/** Bytes of a file that the command line reads at once: a million rows, sent in a thousand parts. */
export const OUTCOME_FILE_BYTES_MAX = 256 * 1024 * 1024;

/** Bytes of one import: a thousand rows with a paragraph of evidence each. */
export const OUTCOME_IMPORT_BYTES_MAX = 4 * 1024 * 1024;

/** The text of a file of prices. */
export const PRICE_FILE_BYTES_MAX = 512 * 1024;

/** Prices of one file: longer lists are several files. */
export const PRICE_FILE_ENTRIES_MAX = 1_000;

/** Entries that hold or will: every replica keeps them in memory, some 500 bytes each. */
export const PRICE_BOOK_ENTRIES_MAX = 50_000;

/** Why an operator adjusts, in a sentence or two. */
export const ADJUSTMENT_REASON_CHARS_MAX = 500;
