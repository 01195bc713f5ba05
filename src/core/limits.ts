/** Every limit of the program, each with its reason. A length is in bytes unless its name says otherwise. */

/** A header or context field of ours; longer values are a client's mistake, not an identifier. */
export const CONTEXT_FIELD_BYTES_MAX = 256;

/** A request body. OpenAI takes 512 MB uploads, but those are streamed and never buffered: see UPLOAD_BYTES_MAX. */
export const BODY_BYTES_MAX = 64 * 1024 * 1024;

/** A streamed multipart upload (OpenAI's own limit for a file). */
export const UPLOAD_BYTES_MAX = 512 * 1024 * 1024;

/** A management request: forms that people write. */
export const API_BODY_BYTES_MAX = 256 * 1024;

/** JSON nested deeper than this is an attack on recursive readers. */
export const JSON_DEPTH_MAX = 128;

/** One line of a stream that the meter will hold; beyond it bytes pass unparsed. */
export const STREAM_LINE_BYTES_MAX = 1024 * 1024;

/** What the meter keeps of a stream's text to estimate an aborted one. */
export const STREAM_TEXT_BYTES_MAX = 1024 * 1024;

/** A non-streamed answer that the meter reads for its usage; beyond it bytes pass and usage is estimated. */
export const ANSWER_BYTES_MAX = 64 * 1024 * 1024;

/** Asks in one posting: the knee of the measured curve, and what one commit may delay. */
export const BATCH_ASKS_MAX = 256;

/** Postings in flight from one process: a second hides the commit of the first; a third only waits for its locks. */
export const BATCHES_IN_FLIGHT_MAX = 2;

/** Asks waiting in one process; beyond it the gate is overloaded and says so at once. */
export const ASKS_WAITING_MAX = 4_096;

/** How long an ask may wait to be posted before it is dropped unposted. */
export const ASK_WAIT_MS_MAX = 5_000;

/** How long an ask blocked only by reservations in flight waits for one to end. */
export const CONTENTION_WAIT_MS_MAX = 2_000;

/** How often one ask may be judged again on newer facts. */
export const RELOOKS_MAX = 3;

/** Meters on the path of one ask: a path is a handful of limits, and each is a row lock. */
export const METERS_PER_ASK_MAX = 32;

/** Runs above a run: each is a budget to lock. */
export const RUN_DEPTH_MAX = 8;

/** Labels of a run or a key. */
export const LABELS_MAX = 32;

/** Choices (`n`, `best_of`) one request may ask for: OpenAI's own limit. */
export const CHOICES_MAX = 128;

/** Rows that one page of a list may hold. */
export const PAGE_ROWS_MAX = 1_000;
