/** Limits of what MCP servers say of their tools, each with its reason. */

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

/** What a declaration may let a result have: more than the tool door reads would bound nothing. */
export const OUTPUT_BYTES_MAX = 64 * 1024 * 1024;
export const OUTPUT_ROWS_MAX = 1_000_000;

/** Tools that a key is made for: a key for more is one for all tools of a server, `files/*`. */
export const KEY_TOOLS_MAX = 64;
