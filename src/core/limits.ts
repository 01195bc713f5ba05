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

/** Members of one object in a request: 50 MB of members in one object take `JSON.parse` 5 to 9 s, spread over many 1 s. */
export const JSON_MEMBERS_MAX = 10_000;

/** Objects and arrays in one body: 64 MB of `{}` would take 12 s and two gigabytes; two million take one second. */
export const JSON_CONTAINERS_MAX = 2_000_000;

/**
 * Values in the body of a management request or an ask: each is built, checked, sorted and digested. A megabyte
 * of `0.1,` held the loop of one process for 1.8 s, 90,000 members for 1.4 s; this many take some 50 ms.
 */
export const JSON_VALUES_MAX = 10_000;

/**
 * Values in the body of a call with an idempotency key, to be compared in its canonical form: 256 KB of `1,` held the loop
 * for 150 ms and more, this many take some 10 ms. Beyond them its bytes are compared, without the space between values.
 */
export const KEYED_VALUES_MAX = 4_000;

/** One number in such a body: what an amount of money may have; a megabyte of digits in an exponent took 0.5 s. */
export const JSON_NUMBER_CHARS_MAX = 64;

/** One line of a stream that the meter will hold; beyond it bytes pass unparsed. */
export const STREAM_LINE_BYTES_MAX = 1024 * 1024;

/** What the meter keeps of a stream's text to estimate an aborted one. */
export const STREAM_TEXT_BYTES_MAX = 1024 * 1024;

/** A non-streamed answer that the meter reads for its usage; beyond it bytes pass and usage is estimated. */
export const ANSWER_BYTES_MAX = 16 * 1024 * 1024;

/** Tool calls recorded of one answer: what OpenAI takes as tools of one request, and more than any agent runs of one answer. */
export const TOOL_CALLS_MAX = 128;

/**
 * Arguments of the tool calls of one answer that are held until it has ended, in UTF-16 units: as much as the gate
 * takes of one call (ARGUMENTS_BYTES_MAX), and more than a model writes in one answer.
 */
export const TOOL_CALLS_CHARS_MAX = 1024 * 1024;

/** The name or the id of a call that a model asks for: 64 characters at OpenAI; some put a signature into the id. */
export const TOOL_CALL_WORD_CHARS_MAX = 256;

/** What of an answer in one document is built to find its tool calls, or usage in its choices: four megabytes take some 20 ms. */
export const TOOL_CALLS_READ_BYTES_MAX = 4 * 1024 * 1024;

/**
 * Proposals and tool calls of a run that are matched with each other, whenever the run is looked at: more than agents
 * make in a day. If all are alike, each is compared with each: four million comparisons, some ten milliseconds.
 */
export const RUN_CALLS_MAX = 4_096;

/** Asks in one posting: the knee of the measured curve, and what one commit may delay. */
export const BATCH_ASKS_MAX = 256;

/** Postings in flight from one process: a second hides the commit of the first; a third only waits for its locks. */
export const BATCHES_IN_FLIGHT_MAX = 2;

/**
 * Asks that are worth a second posting while one is at the database: a posting costs PostgreSQL 1.3 ms and
 * 0.07 more for each ask. With fewer it waits for the first to end, but no longer than a commit takes at most
 * on a sound disk: the first may have met a row that somebody has locked.
 */
export const COMPANY_ASKS_MIN = 32;
export const COMPANY_MS_MAX = 10;

/** Asks waiting in one process; beyond it the gate is overloaded and says so at once. */
export const ASKS_WAITING_MAX = 4_096;

/** How long an ask may wait to be posted before it is dropped unposted. */
export const ASK_WAIT_MS_MAX = 5_000;

/** How long asks may wait without a moment when none does: a burst of a few thousand is posted in that time. */
export const ASKS_STANDING_MS = 1_000;

/**
 * The wait from which on a standing queue takes no more. A model call takes seconds, so a wait of this
 * length costs its caller less than being turned away; and turning away costs a third of an answer:
 * with 100 ms here, five times the load on 2,048 connections left 0.3 to 0.5 of the peak's answers.
 */
export const ASKS_CROWDED_MS = 1_000;

/**
 * How long the gate's statements wait for a locked row. A posting holds its meters for a commit, a few
 * milliseconds, a hundred when the disk is busy; a row that is locked longer is held by somebody who
 * sleeps, and all tenants of the batch would wait for it. Less than a queue of asks may stand.
 */
export const LOCK_MS_MAX = 250;

/** Batches of tenants apart from the others at the database at once: each may be waiting for a lock. */
export const APART_IN_FLIGHT_MAX = 2;

/** How long an ask blocked only by reservations in flight waits for one to end. */
export const CONTENTION_WAIT_MS_MAX = 2_000;

/** How often one ask may be judged again on newer facts. */
export const RELOOKS_MAX = 3;

/** Runs above a run: each has limits to lock. */
export const RUN_DEPTH_MAX = 8;

/** Limits of one run: a budget, a quota, a rate and a concurrency limit. */
export const LIMITS_PER_RUN_MAX = 4;

/**
 * Meters on the path of one ask that are of no run's own limits: those of its tenant, its key, its model …, a handful
 * each, and the share of its run in every daily quota.
 */
export const METERS_BESIDE_RUNS_MAX = 24;

/**
 * Meters on the path of one ask, of which each is a row to lock: those, and all limits of its run and of the runs
 * above it. See `most-meters.ts`.
 */
export const METERS_PER_ASK_MAX = METERS_BESIDE_RUNS_MAX + (RUN_DEPTH_MAX + 1) * LIMITS_PER_RUN_MAX;

/** Labels of a run or a key. */
export const LABELS_MAX = 32;

/** Choices (`n`, `best_of`) one request may ask for: OpenAI's own limit. */
export const CHOICES_MAX = 128;

/** Rows that one page of a list may hold. */
export const PAGE_ROWS_MAX = 1_000;

/** The path of a forwarded request: OpenAI's longest holds four ids; longer ones are probes. */
export const PATH_BYTES_MAX = 2_048;

/** Fewer output tokens than this are no answer: a clamp stops here and refuses (OpenAI's own minimum for Responses). */
export const CLAMP_TOKENS_MIN = 16;

/** An ask that waits for reservations in flight looks again this often, for those that other replicas settle. */
export const CONTENTION_LOOK_MS = 100;

/** What a reservation outlives its upstream's deadline by, so that only a lost owner lets it expire. */
export const RESERVATION_MARGIN_MS = 60_000;

/** After the commit a permit is good for this long; a replica that was asleep longer releases instead. */
export const PERMIT_MS_MAX = 5_000;

/** A replica that its database has not answered for this long may have been given up: it dispatches nothing. */
export const FENCE_MS_MAX = 3_000;

/**
 * How old what a replica knows of keys and limits may be when it judges by it. It asks once a second, so
 * this is reached only when the database is away; then nothing is judged. It bounds what a revoked key can do.
 */
export const SNAPSHOT_MS_MAX = 2_000;

/** A replica renews its lease three times within it; without one its reservations turn unknown. */
export const LEASE_MS = 15_000;

/** How long evidence may take to arrive before an unknown outcome is charged in full. */
export const UNKNOWN_GRACE_MS = 15 * 60_000;

/** Reservations handled by one statement of the sweep: short, so that it never holds up a posting. */
export const SWEEP_ROWS_MAX = 500;

/** Settlements waiting in one process for a database that is away; beyond it the lease decides. */
export const SETTLEMENTS_WAITING_MAX = 100_000;

/** Settlements gathered into one statement: nobody waits for them, so they are cheaper in company. */
export const SETTLE_GATHER_MS = 20;

/**
 * How long a failure is kept from its client until it is written: whoever is told of it may ask again at once. A
 * settlement is gathered for 20 ms and commits in a few; one that meets a locked row takes LOCK_MS_MAX, and then its
 * turn apart. While the database is away nothing passes anyway.
 */
export const WRITTEN_MS_MAX = 2_000;

/** A non-streamed answer is held whole until it ends, so that its cost can stand in its header. */
export const ANSWER_HELD_BYTES_MAX = 4 * 1024 * 1024;

/** Silence after which a stream gets a comment, before proxies and clients give it up (WIRE: 15 s). */
export const KEEP_ALIVE_MS = 15_000;

/** After a finish reason the usage chunk is due at once; a client that left does not end the wait for it. */
export const USAGE_WAIT_MS = 2_000;

/** How long a strict tenant's stream is read to its end after its client left; most end within it. */
export const LEFT_STREAM_MS_MAX = 60_000;

/** Exchanges of one process that go on without their client: a quarter of the connections to an upstream. */
export const LEAVERS_MAX = 256;

/** Those of one tenant, so that one that leaves all its streams does not take the others' part. */
export const LEAVERS_OF_TENANT_MAX = 64;

/** A text field of a form that is read while it passes (a model name, a number). */
export const FORM_FIELD_BYTES_MAX = 1_024;

/** Parts of a form that are looked at: 16 images and a few fields. */
export const FORM_PARTS_MAX = 128;

/** A model name, or the method and path of a pass-through, in a decision. */
export const RESOURCE_CHARS_MAX = 1_024;

/** The name of a tenant or key: for people to tell them apart, in one line. */
export const NAME_LENGTH_MAX = 128;

/** Rows of a page whose size nobody asked for: a screen or two. */
export const PAGE_ROWS_DEFAULT = 100;

/** A report of use reads every attempt of its period: a leap year, so that years can be compared. */
export const USAGE_DAYS_MAX = 366;

/** Bodies beyond this are read in a worker: a megabyte of small messages blocks for 12 to 42 ms. */
export const BODY_ON_LOOP_BYTES_MAX = 256 * 1024;

/** Silence in the middle of a body: a client that sends nothing for so long will not finish it. */
export const BODY_IDLE_MS_MAX = 60_000;

/**
 * How long a body may take at any rate, and at which it must have come that takes longer: an eighth of a slow uplink
 * of a megabit, 51 minutes for 50 MB. Whoever sends a byte a minute is refused at the first after the grace; whoever
 * would hold a connection and memory for longer must pay for it in bytes.
 */
export const BODY_GRACE_MS = 60_000;
export const BODY_BYTES_PER_SECOND_MIN = 16 * 1024;

/**
 * Request bodies in memory at once, in one process: 64 MiB each, sixteen of the longest. More is more
 * than a small machine has, and a process that is killed for it loses everybody's calls.
 */
export const BODIES_HELD_BYTES_MAX = 1024 * 1024 * 1024;

/**
 * How long a connection that ends is read after its answer, so that its client gets to read it: a reset by
 * bytes that nobody read may overtake the answer. Most clients close at once; this is for one that writes on.
 */
export const LINGER_MS_MAX = 5_000;

/** What is dropped meanwhile: a client that reads only when it has written all may send twice what is read. */
export const LINGER_BYTES_MAX = BODY_BYTES_MAX;

/** Connections of one process that linger: each is a socket, held for who has been answered already. */
export const LINGERERS_MAX = 1_024;

/** A posting that takes longer is a database that hangs: its asks are answered 503 and released. */
export const POST_MS_MAX = 5_000;

/** A call that a person is asked about: more than this nobody reads before he says yes. */
export const APPROVAL_CALL_BYTES_MAX = 256 * 1024;

/** Why somebody approves or denies, in characters. */
export const APPROVAL_REASON_CHARS_MAX = 1_000;

/** How often those who wait for an answer are looked up, all together: people take seconds. */
export const APPROVAL_LOOK_MS = 500;

/** Requests of one process that wait for a person; each is a connection that does nothing. */
export const APPROVAL_WAITS_MAX = 1_024;

/** How long the call itself is kept after its approval expired: a dispute about it comes with the month's bill. */
export const APPROVAL_CALL_KEPT_MS = 31 * 86_400_000;

/** Webhooks of a tenant: each message is written once for each of them. */
export const WEBHOOKS_MAX = 16;

/** A webhook's URL: what servers take in a request line. */
export const WEBHOOK_URL_CHARS_MAX = 2_048;

/** How long a receiver has to answer a message; what it does with it can wait until it has. */
export const DELIVERY_MS_MAX = 10_000;

/** Until another replica may try what this one has taken: longer than a try lasts. */
export const DELIVERY_LEASE_MS = 60_000;

/** Messages under way from one process. */
export const DELIVERIES_MAX = 32;

/** Those of one tenant, so that receivers that hang hold up nobody else's. */
export const DELIVERIES_OF_TENANT_MAX = 4;

/** Tries of one message, over most of a day: see `gate/deliver.ts`. Then it is dead, and can be sent anew. */
export const DELIVERY_TRIES_MAX = 8;

/** What was delivered is kept for a week, to be looked up; what is dead for a month, to be sent anew. */
export const DELIVERED_KEPT_MS = 7 * 86_400_000;
export const DEAD_KEPT_MS = 30 * 86_400_000;

/** Arguments of a tool call, as JSON: what a model writes into one call, with room for a document. */
export const ARGUMENTS_BYTES_MAX = 1024 * 1024;

/** A result that is kept for who asks again: what a tool tells a model, which reads no more. */
export const RESULT_STORED_BYTES_MAX = 256 * 1024;

/**
 * What one act is said to cost, in USD: more than any does, and little enough that the sums of a ledger stay
 * within `numeric(38,0)` of pico-dollars: it takes 10¹⁷ such acts, and one of 10²⁶ USD would be enough.
 */
export const COST_USD_MAX = 1_000_000_000;

/** A question to the step door, or a report: arguments or a result, and some names. */
export const STEP_BODY_BYTES_MAX = ARGUMENTS_BYTES_MAX + 64 * 1024;

/** How long who acts itself may be silent: shorter is lost in a pause of the process, longer hides its end. */
export const LEASE_SECONDS_MIN = 5;
export const LEASE_SECONDS_DEFAULT = 60;
export const LEASE_SECONDS_MAX = 3_600;

/** How long one attempt may be kept alive in all: a step that takes a day is a run. */
export const LEASE_TOTAL_MS_MAX = 24 * 3_600_000;

/** Classes of use that a report counts. */
export const USAGE_CLASSES_MAX = 32;

/** Tools that a tenant declares: each replica keeps them in memory. */
export const TOOLS_MAX = 1_000;

/** Parts of a JSON pointer: arguments nest a handful deep. */
export const POINTER_TOKENS_MAX = 16;

/** Pointers that make one operation's key: more would be no name of a business act. */
export const POINTERS_MAX = 4;

/** An idempotency key: the draft of the IETF names no limit, OpenAI's own is 255 characters. */
export const IDEMPOTENCY_KEY_CHARS_MAX = 255;

/** How long a model call's answer is kept for its repeats: a client that retries does so within the day. */
export const MODEL_KEY_KEPT_MS = 24 * 3_600_000;

/** How often it is asked whether a key whose time is over is still held: by what is unknown, it may be for ever. */
export const HELD_KEY_LOOK_MS = 24 * 3_600_000;

/** Acts on the world are repeated by people and by jobs of the month: theirs are kept for longer. */
export const TOOL_KEY_KEPT_MS = 30 * 24 * 3_600_000;

/** An answer that is kept for its repeats; the longest of a model are a megabyte of text. */
export const ANSWER_STORED_BYTES_MAX = 4 * 1024 * 1024;

/** How long an act of administration takes at most: a statement's time and room for a few. */
export const ACT_MS_MAX = 60_000;

/** How long a request may be held open for an answer, whatever its `Prefer: wait` says. */
export const PREFER_WAIT_MS_MAX = 60_000;

/** Requests of one process that are held open for somebody else's answer: each asks the database now and then. */
export const WAITERS_MAX = 256;

/** How often one of them asks whether the attempt that it waits for has ended. */
export const WAITER_LOOK_MS = 200;

/** How long after a failure the same content is its retry: `tollgate_retry_window`, for what callers are told. */
export const RETRY_WINDOW_MS = 2 * 60_000;

/** The highest guard on attempts of a derived step: beyond it there is none, which is said by null. */
export const DERIVED_ATTEMPTS_MAX = 1_000;

/** People who must approve one call. */
export const APPROVERS_MAX = 10;

/** How long an approval may be waited for: a long weekend, and a week more. */
export const APPROVAL_MS_MAX = 14 * 86_400_000;

/** How long people have who are given no time, in ms: who is asked in the evening can answer in the morning. */
export const APPROVAL_MS_DEFAULT = 86_400_000;

/** What a library's own count of its retries is taken for at most: none tries more often, and it is only its word. */
export const SDK_RETRIES_MAX = 1_000;
