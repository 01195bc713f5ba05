/** Limits of MCP servers and of what they say of their tools, each with its reason. */

/** A tool's name without its server: what the Model Context Protocol allows at most. */
export const TOOL_NAME_CHARS_MAX = 128;

/** All that a server says of one tool: what models are shown has some kilobytes, and each one is kept for ever. */
export const DEFINITION_BYTES_MAX = 64 * 1024;

/** Places where two definitions differ that are shown: who must read more compares the definitions themselves. */
export const DIFFERENCES_MAX = 200;

/** One value of a difference, in characters: room for what a description has around the place where it changed. */
export const DIFFERENCE_VALUE_CHARS_MAX = 2_000;

/** What is shown of a long text before the place where it changed, to know which place it is. */
export const DIFFERENCE_CONTEXT_CHARS = 40;

/** The pointer to one place: 200 of the longest that 64 KiB have would be megabytes. */
export const DIFFERENCE_PATH_CHARS_MAX = 256;

/** Definitions of one tool that are shown beside the approved and the current one: a server that changes daily has a month. */
export const DEFINITIONS_SHOWN_MAX = 30;

/** Rows that a declaration may let a result have: more do not fit into an answer. */
export const OUTPUT_ROWS_MAX = 1_000_000;

/** Tools that a key is made for: a key for more is one for all tools of a server, `files/*`. */
export const KEY_TOOLS_MAX = 64;

/** One answer of a server, in bytes: a model reads a part of it at best; a page of a report with a picture has a few megabytes. */
export const SERVER_ANSWER_BYTES_MAX = 8 * 1024 * 1024;

/**
 * Values in one answer of a server, and in the messages before it: as many as are looked at in a result. To read eight
 * megabytes of empty objects took 30 s, in which the process did nothing else; this many take a third of one.
 */
export const SERVER_ANSWER_VALUES_MAX = 100_000;

/** Characters of one number there: databases tell amounts with a hundred digits, and nobody more. */
export const SERVER_NUMBER_CHARS_MAX = 1_000;

/** How often a client is told how far one call is: a server may say it without end, and each time costs as much as a call. */
export const PROGRESS_TOLD_MAX = 1_000;

/** Clients of one process that listen for changes: each is an open connection, and a look every few seconds. */
export const LISTENERS_MAX = 500;

/** Of one tenant: it leaves the others their places. */
export const TENANT_LISTENERS_MAX = 100;

/** What is asked to begin with, or told at the end: capabilities and names. */
export const HANDSHAKE_BYTES_MAX = 1024 * 1024;

/** How long a server may take to say who it is, in ms. */
export const HANDSHAKE_MS_MAX = 10_000;

/** How long a server may take to hear that a session is over, in ms: the closing of a process waits for it. */
export const SESSION_END_MS_MAX = 2_000;

/** Connections of one process, each of one tenant to one server: each has a session and what its server lists. */
export const SERVER_CONNECTIONS_MAX = 1_000;

/** Tools that one server lists: agents choose among tens, and each has a row for each tenant. */
export const LISTED_TOOLS_MAX = 1_000;

/** Pages in which a server lists them. */
export const LIST_PAGES_MAX = 100;

/** How old a list of tools may be by which a call is judged, in ms: the longest that a changed definition goes unseen. */
export const LIST_AGE_MS_MAX = 5_000;

/** How old it may be before it is asked for again beside a call, so that calls need not wait for it. */
export const LIST_RENEWED_MS = 2_000;

/** What all pages of a list have together, in bytes: a list is kept for each tenant, and digested whenever it is renewed. */
export const LIST_BYTES_MAX = 8 * 1024 * 1024;

/**
 * Definitions of one server that a tenant has recorded in 24 hours. Each is kept for ever: a server that tells another
 * one each time it is asked would fill the database. Twice all tools of the largest list.
 */
export const DEFINITIONS_DAY_MAX = 2_000;

/** How long a server may take to hear that a call is cancelled, in ms: a connection waits for it. */
export const CANCELLATION_MS_MAX = 10_000;

/** How long a server may take to list its tools, with all pages, in ms: calls wait for it. */
export const LIST_MS_MAX = 10_000;
