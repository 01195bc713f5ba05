/** Limits of roll-ups, outcomes and reports, each with its reason. */

/** Lines that one step rolls up, in one transaction: some hundred milliseconds, and nobody waits for its locks. */
export const ROLL_UP_LINES_MAX = 5_000;

/** Steps of one turn: a backlog of a hundred thousand lines; the next turn goes on where this one stopped. */
export const ROLL_UP_STEPS_MAX = 20;

/** Outcomes of one tenant that one statement tells anew, where their runs are shared or many. */
export const STALE_OUTCOMES_MAX = 500;

/** Pairs of outcomes and runs that one statement of a tenant's own finds, where a step of the roll-up left them: some hundred milliseconds. */
export const STALE_PAIRS_MAX = 5_000;

/** How long those of a tenant wait that take longer than a statement may: the others are told meanwhile. */
export const STALE_POSTPONED_MS = 10 * 60_000;

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

/** Cells of one row of an import: there are a dozen columns; a row of four million commas takes a second. */
export const OUTCOME_CELLS_MAX = 100;

/** Bytes of a file that the command line reads at once: a million rows, sent in a thousand parts. */
export const OUTCOME_FILE_BYTES_MAX = 256 * 1024 * 1024;

/** Bytes of one import: a thousand rows with a paragraph of evidence each. */
export const OUTCOME_IMPORT_BYTES_MAX = 4 * 1024 * 1024;

/** Rows of a report: what people and spreadsheets read at once; what is left off is one row of its own. */
export const REPORT_ROWS_MAX = 1_000;

/**
 * Runs of a period that are looked at one by one to sum those that are chosen: 3,000 take some 60 ms. Of more, the
 * report that is looked into says the sum.
 */
export const RUNS_SUMMED_MAX = 3_000;

/** Columns that a report is grouped by: more are a copy of the ledger, and its rows are too many to read. */
export const GROUPINGS_MAX = 4;

/** The longest period of a report, so that years can be compared: four of them, with a leap day. */
export const REPORT_DAYS_MAX = 1_461;

/**
 * Outcomes that are taken apart by model, upstream, tool or step in one answer: their parts are computed from
 * the cells of their runs, some 16,000 of them in a second, and a statement has 15.
 */
export const OUTCOMES_APART_MAX = 100_000;

/** The runs that a report of waste names: the ones worth a look. */
export const WASTEFUL_RUNS_MAX = 20;

/** Outcomes that are named with a run in a list; its own timeline names all. */
export const OUTCOMES_NAMED_MAX = 10;

/** Price versions that a row names: more say only that prices changed often. */
export const PRICE_VERSIONS_MAX = 20;

/** Lines of one FOCUS export, about half a kilobyte each; more are refused and not left off, for they are loaded as a whole. */
export const FOCUS_LINES_MAX = 50_000;

/**
 * How long after its end a period can be closed, in ms: longer than any statement runs and any clock is off, so
 * that all that was posted in it has been committed and rolled up.
 */
export const CLOSING_DELAY_MS = 3_600_000;

/** How often a closing looks whether all that was recorded is rolled up: other transactions commit in some milliseconds, at most five seconds pass. */
export const CLOSING_TURNS_MAX = 50;

/** How long it lets them commit between, in ms. */
export const CLOSING_TURN_MS = 100;

/** How long one statement of the check may read a tenant's ledger, in ms: less than the command waits for an answer. */
export const CHECK_STATEMENT_MS = 25_000;

/** Meters that a check names where they differ: the first ones show what went wrong. */
export const CHECK_METERS_MAX = 20;

/** Days of which it says the same: the first ones show since when. */
export const CHECK_DAYS_MAX = 5;

/** What one sort or hash of a report may take of the database's memory: a month of 100,000 runs fits, and is not written to disk. */
export const REPORT_MEMORY_MB_MAX = 64;

/** The text of a file of prices. */
export const PRICE_FILE_BYTES_MAX = 512 * 1024;

/** Prices of one file: longer lists are several files. */
export const PRICE_FILE_ENTRIES_MAX = 1_000;

/** Entries that hold or will: every replica keeps them in memory, some 500 bytes each. */
export const PRICE_BOOK_ENTRIES_MAX = 50_000;

/** Why an operator adjusts, in a sentence or two. */
export const ADJUSTMENT_REASON_CHARS_MAX = 500;

/** A file of a provider's export, in bytes: a page of its API is some hundred kilobytes. */
export const EXPORT_BYTES_MAX = 8 * 1024 * 1024;

/** Files of one reconciliation: a quarter by the week, of usage and of cost. */
export const EXPORT_FILES_MAX = 64;

/** Lines that are compared at once, on either side: a month of 32 models. */
export const RECONCILED_LINES_MAX = 1_000;

/** The longest period that is reconciled at once: a quarter. */
export const RECONCILED_DAYS_MAX = 92;

/** The body of a reconciliation: its lines are of 200 bytes at most, in ordinary names. */
export const RECONCILIATION_BYTES_MAX = 512 * 1024;

/** The most that one line may state, of tokens or requests: a thousand of them are summed within 2^53. */
export const STATED_UNITS_MAX = 1_000_000_000_000;

/** Amounts of money that one line of an invoice is the sum of: quarter-hours of a day, by key and tier. */
export const AMOUNTS_MAX = 100_000;

/**
 * What one amount of an invoice may be off by for want of digits: a thousandth of a millionth of a dollar. A float of
 * a thousand dollars is off by less, and the cheapest token costs ten times as much.
 */
export const ROUNDING_PICOUSD = 1_000n;

/**
 * How long before midnight a call can have begun that was posted behind it, in ms. What takes longer is
 * settled for want of an answer and told as presumed.
 */
export const CROSSING_MS = 3_600_000;

/**
 * Reconciliations that the state of a period is made of, the newest: of ten upstreams one for each day of a year. Of
 * more, days that only older ones tell of are not reconciled.
 */
export const RECONCILIATIONS_READ_MAX = 4_000;

/** Settlements whose budgets one step looks at: some ten milliseconds, and nobody waits for its locks. */
export const ALERT_LINES_MAX = 2_000;

/** Steps of one turn: as many lines as a turn of the roll-ups takes; the next turn goes on where this one stopped. */
export const ALERT_STEPS_MAX = 50;

/** USD an hour of one machine: a rack of 72 accelerators is rented for some hundred; more is a slip of the decimal point. */
export const USD_PER_HOUR_MAX = 10_000;

/** Calls that share one machine's hour: batches of today's inference servers have some hundred. */
export const CONCURRENCY_MAX = 10_000;

/** Thresholds of budgets that a tenant is told of: each is a message of every meter in every window. */
export const ALERT_PERCENTS_MAX = 10;

/** Schedules of one tenant: their reports are made by the gate itself, some hundred milliseconds each. */
export const REPORT_SCHEDULES_MAX = 50;

/** Reports that one turn makes: at the end of a month a minute or so; the next turn goes on where this one stopped. */
export const SCHEDULED_TURN_MAX = 20;

/** How often a process looks for periods that have ended: nobody waits for a monthly report for seconds. */
export const SCHEDULED_MS = 15_000;

/** How long one process has to make a report before another may, in ms: more statements than any report has, at their longest. */
export const SCHEDULED_LEASE_MS = 120_000;

/** Periods that are told after a time in which nobody could: a week of days. Who wants older ones asks for them. */
export const SCHEDULED_MISSED_MAX = 7;

/** The largest report that goes with its message, in bytes: some hundred rows. Receivers take a megabyte, often less. */
export const SCHEDULED_CONTENT_BYTES_MAX = 64 * 1024;

/** How long it is remembered that a period was told, in days: its schedule has long gone on by then. */
export const REPORTS_TOLD_DAYS = 90;
