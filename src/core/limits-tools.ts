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
