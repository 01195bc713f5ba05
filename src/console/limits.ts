/** Every limit of the console, each with its reason. */

/** A form: a bundle of policies is 128 KiB, and the coding of forms may triple it. */
export const FORM_BYTES_MAX = 512 * 1024;

/** A working day and its evening; then the key is asked for again. */
export const SESSION_MS_MAX = 12 * 3_600_000;

/** What an act says is shown on the page that follows it, which comes at once or not at all. */
export const FLASH_MS_MAX = 60_000;

/** Browsers drop a cookie beyond 4 KiB, and sealing makes a third more of it. */
export const FLASH_CHARS_MAX = 1_500;

/** A key is 90 characters, an administration key what somebody chose. */
export const KEY_CHARS_MAX = 1_024;

/** Keys that are none, from one address in one window: a person mistypes twice, a search tries thousands. */
export const SIGN_INS_MAX = 10;
export const SIGN_IN_WINDOW_MS = 60_000;

/** Addresses whose attempts are remembered: a megabyte. The oldest is forgotten for one more. */
export const SIGN_IN_ADDRESSES_MAX = 10_000;

/** Rows of a page of a list: a few screens of a phone. */
export const ROWS_SHOWN = 50;

/** Limits that the overview and the budgets show at once: as many as one page of the API holds by default. */
export const LIMITS_SHOWN = 100;

/** Types of outcomes on one page: who declares more looks for one of them in the file. */
export const OUTCOME_TYPES_SHOWN = 12;

/** What drives the cost of an outcome: beyond the dearest, no row explains it. */
export const DRIVERS_SHOWN = 8;

/** The dearest runs of a type, as many as somebody opens. */
export const DEAREST_RUNS_SHOWN = 10;

/** Lines of two calls that are compared: the work grows with their product, and nobody reads more. */
export const DIFF_LINES_MAX = 600;

/** Parts of a backtest that one page asks for, each a thousand decisions. */
export const BACKTEST_ROWS = 1_000;
