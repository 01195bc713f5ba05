/** A tool call of the bench: who makes it, what is sent, and what must come back. */
export const TOOL = "echo";
export const SERVER = "bench";

export const TOOL_CLIENTS = ["library", "posts"] as const;
export type ToolClient = (typeof TOOL_CLIENTS)[number];

export type ToolJob = {
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly by: ToolClient;
  /** No earlier job has called with this number or a higher one. */
  readonly from: number;
  readonly warmupMs: number;
  readonly measureMs: number;
  /** Roots of the process trees whose CPU is told. */
  readonly pids: readonly number[];
};

export type ToolResult = {
  readonly completed: number;
  readonly failed: number;
  readonly firstFailure: string | null;
  readonly latencyMicros: { readonly p50: number | null; readonly p99: number | null };
  /** CPU of each tree while it was measured; null where the system tells none. */
  readonly ticks: readonly number[] | null;
  /** The next job begins here. */
  readonly next: number;
};

export const answerOf = (n: number): string => `n is ${n}`;

/** As the official client sends it, in the present generation. */
export const callHeaders: Readonly<Record<string, string>> = {
  "content-type": "application/json",
  accept: "application/json, text/event-stream",
  "mcp-protocol-version": "2026-07-28",
  "mcp-method": "tools/call",
  "mcp-name": TOOL,
};

const META = {
  "io.modelcontextprotocol/protocolVersion": "2026-07-28",
  "io.modelcontextprotocol/clientInfo": { name: "bench", version: "1.0.0" },
  "io.modelcontextprotocol/clientCapabilities": {},
};

export const callBody = (n: number): string =>
  JSON.stringify({
    jsonrpc: "2.0",
    id: n,
    method: "tools/call",
    params: { name: TOOL, arguments: { n }, _meta: META },
  });
