/** Limits of roll-ups, outcomes and reports, each with its reason. */

/** Lines that one step rolls up, in one transaction: some hundred milliseconds, and nobody waits for its locks. */
export const ROLL_UP_LINES_MAX = 5_000;

/** Steps of one turn: a backlog of a hundred thousand lines; the next turn goes on where this one stopped. */
export const ROLL_UP_STEPS_MAX = 20;

/** How far reports may be behind the ledger where nobody asks for one; more lines at once cost less each. */
export const ROLL_UP_MS = 5_000;

/** The text of a file of prices. */
export const PRICE_FILE_BYTES_MAX = 512 * 1024;

/** Prices of one file: longer lists are several files. */
export const PRICE_FILE_ENTRIES_MAX = 1_000;

/** Entries that hold or will: every replica keeps them in memory, some 500 bytes each. */
export const PRICE_BOOK_ENTRIES_MAX = 50_000;

/** Why an operator adjusts, in a sentence or two. */
export const ADJUSTMENT_REASON_CHARS_MAX = 500;
