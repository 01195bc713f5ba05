/** What a start says: where it listens, what is not enforced, and a first call that works as pasted. */
import { join } from "node:path";

import { ADMIN_KEY_FILE } from "./bootstrap.ts";
import { PORT_DEFAULT, type Config } from "./config.ts";

export type Started = {
  readonly url: string;
  /** The key made by this start, or null when there were tenants already. */
  readonly tenantKey: string | null;
  readonly hasLimits: boolean;
  /** What serves: `one process`, `4 processes`. */
  readonly processes: string;
};

export function printBanner(config: Config, started: Started): void {
  const { url, tenantKey, hasLimits, processes } = started;
  const names = [...config.upstreams.map(({ name }) => name), "demo"].join(", ");
  const lines = [
    "",
    `  Tollgate is listening on ${url}`,
    `  upstreams: ${names}   ·   API: ${url}/docs   ·   database: ${databaseOf(config)}`,
    ...serversLine(config, url),
    `  console: ${url}/console   (sign in with a key, or the administration key)`,
    `  ${processes}`,
    "",
    ...notEnforced(config, hasLimits, url),
    ...adminKeyLines(config, tenantKey !== null),
    ...(tenantKey === null ? anotherKey(url) : firstCall(url, tenantKey)),
  ];
  process.stdout.write(`${lines.join("\n")}\n`);
}

/** Not whether they answer: a server that is away now keeps no gateway from starting. */
function serversLine({ mcpServers }: Config, url: string): string[] {
  if (mcpServers.length === 0) return [];
  const names = mcpServers.map(({ name }) => name).join(", ");
  return [
    `  MCP servers: ${names}   ·   at ${url}/mcp/…   ·   which tools may be called: npx tollgate tools list`,
  ];
}

function databaseOf(config: Config): string {
  return config.databaseUrl === null ? `embedded, in ${config.dataDirectory}` : "PostgreSQL";
}

function notEnforced(config: Config, hasLimits: boolean, url: string): string[] {
  const lines: string[] = [];
  if (config.databaseUrl === null) {
    lines.push(
      "  NOT ENFORCED: the embedded database survives a killed process, not a power cut. For production set",
      "  DATABASE_URL to PostgreSQL 15 or later.",
    );
  }
  if (!hasLimits) {
    lines.push(
      "  NOT ENFORCED: no budget is set, so spending has no limit. To set one:",
      `    npx tollgate limits create --unit usd --window day --limit 5${whereOf(url)}`,
    );
  }
  return lines.length === 0 ? [] : [...lines, ""];
}

function adminKeyLines(config: Config, isFirst: boolean): string[] {
  if (config.adminKey !== null || !isFirst) return [];
  const path = join(config.dataDirectory, ADMIN_KEY_FILE);
  return [`  Administration key: in ${path} (the tollgate command finds it there)`, ""];
}

/** The first start may have ended before somebody read its key. */
function anotherKey(url: string): string[] {
  return [
    `  Keys are shown once. To make another: npx tollgate keys create NAME${whereOf(url)}`,
    "",
  ];
}

function firstCall(url: string, key: string): string[] {
  return [
    "  A key of tenant `default`, shown this once:",
    "",
    `    ${key}`,
    "",
    "  A first call, to the built-in demo upstream:",
    "",
    `    curl ${url}/v1/chat/completions \\`,
    `      -H "Authorization: Bearer ${key}" -H "Content-Type: application/json" \\`,
    `      -d '{"model": "demo/chat", "messages": [{"role": "user", "content": "Hello"}]}'`,
    "",
    "  The same with the OpenAI library (npm install openai):",
    "",
    `    import OpenAI from "openai";`,
    `    const client = new OpenAI({ baseURL: "${url}/v1", apiKey: "${key}" });`,
    `    const answer = await client.chat.completions.create({`,
    `      model: "demo/chat", messages: [{ role: "user", content: "Hello" }],`,
    `    });`,
    `    console.log(answer.choices[0].message.content);`,
    "",
  ];
}

/** What the command must be told when this is not where it looks by itself. */
function whereOf(url: string): string {
  return url === `http://127.0.0.1:${PORT_DEFAULT}` ? "" : ` --url ${url}`;
}
