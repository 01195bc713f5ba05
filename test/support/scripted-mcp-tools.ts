/** The tools of the scripted MCP server: what they say of themselves, what they do, and what they answer. */
import { SECRETS } from "./findings.ts";

type Members = Readonly<Record<string, unknown>>;

export type ToolDefinition = {
  readonly name: string;
  readonly description: string;
  readonly inputSchema: Members;
  readonly annotations?: Members;
};

export type ToolResult = {
  readonly content: readonly Members[];
  readonly structuredContent?: Members;
  readonly isError?: boolean;
};

/** What was done in the world: it stands whether or not anybody was told. */
export type Effects = {
  /** One line for each transfer. */
  readonly wires: string[];
  /** One line for each notice that was sent with a transfer. */
  readonly notifications: string[];
};

/** What `fetch_page` hands to a model, though nobody should see it. */
export const PAGE_EMAIL = "jane.roe@personal.acme.io";
export const PAGE_KEY = SECRETS.find(([kind]) => kind === "aws_access_key")?.[1] ?? "";

const ROWS_MAX = 100_000;

const objectOf = (properties: Members, required: readonly string[]): Members => ({
  type: "object",
  properties,
  required,
});

export const TOOLS: readonly ToolDefinition[] = [
  {
    name: "wire",
    description: "Transfers money and tells its receiver.",
    inputSchema: objectOf({ amount: { type: "number" }, to: { type: "string" } }, ["amount", "to"]),
  },
  {
    name: "search",
    description: "Searches.",
    inputSchema: objectOf({ query: { type: "string" } }, ["query"]),
    annotations: { readOnlyHint: true },
  },
  { name: "echo", description: "Answers what it was given.", inputSchema: { type: "object" } },
  {
    name: "rows",
    description: "Answers so many rows.",
    inputSchema: objectOf({ n: { type: "integer" } }, ["n"]),
  },
  {
    name: "fetch_page",
    description: "Answers a page of the web.",
    inputSchema: objectOf({ url: { type: "string" } }, ["url"]),
  },
];

const text = (value: string): ToolResult => ({ content: [{ type: "text", text: value }] });

/** Does what the tool does, once, and answers its result; null for a tool that it does not have. */
export function perform(tool: string, args: Members, effects: Effects): ToolResult | null {
  switch (tool) {
    case "wire": {
      const id = `tr_${effects.wires.length + 1}`;
      effects.wires.push(`${id}: ${String(args["amount"])} to ${String(args["to"])}`);
      effects.notifications.push(`${id} was sent to ${String(args["to"])}`);
      return { ...text(`sent as ${id}`), structuredContent: { transfer: id } };
    }
    case "search":
      return text(`found: ${String(args["query"])}`);
    case "echo":
      return text(JSON.stringify(args));
    case "rows":
      return rows(Math.min(Number(args["n"]), ROWS_MAX));
    case "fetch_page":
      return text(`Contact ${PAGE_EMAIL}. The key is ${PAGE_KEY} for now.`);
    default:
      return null;
  }
}

function rows(count: number): ToolResult {
  const all = Array.from({ length: count }, (_, at) => ({ row: at + 1 }));
  return { ...text(JSON.stringify(all)), structuredContent: { rows: all } };
}
