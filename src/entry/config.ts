/** The configuration: the environment and `tollgate.yaml`, read once, told in full when wrong. */
import type { McpServer } from "../gate/authority.ts";
import type { Price } from "../core/price.ts";
import type { SealingSecrets } from "../gate/sealing.ts";
import { readConfigFile, type FileReading } from "./config-file.ts";
import { didYouMean } from "../lib/nearest.ts";
import { isDatabaseUrl } from "../store/database-url.ts";

export type UpstreamConfig = {
  readonly name: string;
  readonly kind: "openai";
  /** Without a slash at its end. */
  readonly baseUrl: string;
  readonly apiKey: string | null;
  readonly models: readonly string[];
  /** Names in lowercase. */
  readonly headers: Readonly<Record<string, string>>;
  readonly timeoutMs: number;
  readonly outputLimitField: "max_completion_tokens" | "max_tokens";
  /** The provider whose list prices apply; a name that is none has no list prices. */
  readonly priceList: string;
  /** Tenants may reach each other's objects stored at this upstream (files, responses, batches). */
  readonly sharedObjects: boolean;
};

export const LOG_LEVELS = ["trace", "debug", "info", "warn", "error", "fatal", "silent"] as const;

export type LogLevel = (typeof LOG_LEVELS)[number];

export type Config = {
  readonly host: string;
  /** 0 takes any free port. */
  readonly port: number;
  readonly databaseUrl: string | null;
  readonly dataDirectory: string;
  /** Processes that serve; null: as many as the machine has cores for, or one on the embedded database. */
  readonly processes: number | null;
  /** Null: generated at the first start and kept in the data directory. */
  readonly adminKey: string | null;
  /** Seals what is stored, the one in force first; empty: the administration key does. */
  readonly sealingKeys: readonly string[];
  readonly logLevel: LogLevel;
  readonly upstreams: readonly UpstreamConfig[];
  readonly aliases: Readonly<Record<string, string>>;
  readonly prices: readonly Price[];
  readonly mcpServers: readonly McpServer[];
  /** Webhooks may go to private addresses, and by http. */
  readonly allowsPrivateWebhooks: boolean;
  /** The file that was read, or null when there was none. */
  readonly configFile: string | null;
};

export type ConfigFiles = {
  /** The text of a file, or null when there is none; throws when it cannot be read. */
  readonly read: (path: string) => string | null;
};

/** One mistake: `where` is a variable or `file:line:column`. */
export type ConfigProblem = { readonly where: string; readonly message: string };

/** Every mistake of a configuration at once. Its text repeats no secret. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
  readonly problems: readonly ConfigProblem[];

  constructor(problems: readonly ConfigProblem[]) {
    const head = problems.length === 1 ? "1 mistake" : `${problems.length} mistakes`;
    const lines = problems.map(({ where, message }) => `  ${where}: ${message}`);
    super(`${head} in the configuration:\n${lines.join("\n")}`);
    this.problems = problems;
  }
}

export type Env = Readonly<Record<string, string | undefined>>;

export const PORT_DEFAULT = 8787;
export const DATA_DEFAULT = "./.tollgate";
export const CONFIG_DEFAULT = "./tollgate.yaml";

/** Every variable of ours, those of the command line client too: a misspelt one must not pass unseen. */
export const TOLLGATE_VARIABLES = [
  "TOLLGATE_DATA",
  "TOLLGATE_CONFIG",
  "TOLLGATE_ADMIN_KEY",
  "TOLLGATE_SEALING_KEY",
  "TOLLGATE_PROCESSES",
  "TOLLGATE_URL",
  "TOLLGATE_KEY",
  "TOLLGATE_TENANT",
] as const;

/** 32 characters of a random text are beyond any search; shorter ones are words. */
export const ADMIN_KEY_LENGTH_MIN = 32;

/** The one in force, and the one that it replaces. */
const SEALING_KEYS_MAX = 2;

/** Each has connections of its own to the database, and no machine that we know has more cores to use. */
export const PROCESSES_MAX = 256;

/** A file that people write; prices of a thousand models fit ten times. */
const CONFIG_LENGTH_MAX = 1024 * 1024;

/** What OpenAI serves. Not `*`: another upstream's unknown model must not be sent there by accident. */
const OPENAI_MODELS = [
  "gpt-*",
  "chatgpt-*",
  "codex-*",
  "computer-use-*",
  "o1*",
  "o3*",
  "o4*",
  "text-embedding-*",
  "text-moderation-*",
  "omni-moderation-*",
  "tts-*",
  "whisper-*",
  "dall-e-*",
  "babbage-002",
  "davinci-002",
  "ft:*",
] as const;

/**
 * Reads the configuration. Pure but for `files`. Throws ConfigError with every mistake: what is wrong,
 * where, and what instead. A variable that is set but empty is a mistake, because the alternative is to
 * fall back silently (an empty DATABASE_URL would start on the embedded database).
 */
export function readConfig(env: Env, files: ConfigFiles): Config {
  const problems: ConfigProblem[] = [];
  const report = (where: string, message: string): void => {
    problems.push({ where, message });
  };
  problems.push(...unknownVariables(env));
  const text = (name: string): string | null => {
    const value = env[name];
    if (value !== undefined && value.trim() === "") {
      report(name, "set but empty: remove it or give it a value");
    }
    return value === undefined || value.trim() === "" ? null : value;
  };
  const host = hostOf(text("HOST"), report);
  const isPrivate = host === null || isLoopback(host);
  const port = portOf(text("PORT"), report);
  const databaseUrl = databaseUrlOf(text("DATABASE_URL"), report);
  const processes = processesOf(text("TOLLGATE_PROCESSES"), databaseUrl, report);
  const adminKey = adminKeyOf(text("TOLLGATE_ADMIN_KEY"), isPrivate, report);
  const sealingKeys = sealingKeysOf(text("TOLLGATE_SEALING_KEY"), report);
  const logLevel = logLevelOf(text("LOG_LEVEL"), report);
  const dataDirectory = text("TOLLGATE_DATA") ?? DATA_DEFAULT;
  const file = readFile(text("TOLLGATE_CONFIG"), { env, files, report });
  if (host === null || problems.length > 0) throw new ConfigError(problems);
  const { upstreams, aliases, prices, mcpServers, allowsPrivateWebhooks, path: configFile } = file;
  const from = { host, port, databaseUrl, dataDirectory, processes, adminKey, sealingKeys };
  const told = { upstreams, aliases, prices, mcpServers, allowsPrivateWebhooks };
  return { ...from, logLevel, ...told, configFile };
}

/** Which secrets may open what is sealed, the one in force first: without its own, the administration key. */
export function sealingSecretsOf({ sealingKeys }: Config, adminKey: string): SealingSecrets {
  const [inForce, ...older] = sealingKeys;
  return inForce === undefined ? [adminKey] : [inForce, ...older, adminKey];
}

/** Whether only programs on this machine can reach an address. */
export function isLoopback(host: string): boolean {
  const name = host.toLowerCase().replace(/^\[(.*)\]$/, "$1");
  return name === "localhost" || name === "::1" || /^127(?:\.\d{1,3}){3}$/.test(name);
}

type Report = (where: string, message: string) => void;

/** Those that begin as ours and are none of them, each with what was meant. */
export function unknownVariables(env: Env): readonly ConfigProblem[] {
  const known: ReadonlySet<string> = new Set(TOLLGATE_VARIABLES);
  return Object.keys(env)
    .filter((name) => name.startsWith("TOLLGATE_") && env[name] !== undefined && !known.has(name))
    .toSorted()
    .map((name) => {
      const guess = didYouMean(name, TOLLGATE_VARIABLES);
      const message = `no such variable.${guess} Known: ${TOLLGATE_VARIABLES.join(", ")}`;
      return { where: name, message };
    });
}

/** Null for what is no address, so that nothing else is said of it. */
function hostOf(text: string | null, report: Report): string | null {
  const host = (text ?? "127.0.0.1").replace(/^\[(.*)\]$/, "$1");
  if (/[\s/@?#]|^\w+:\/\//.test(host) || /^[^:]+:\d+$/.test(host)) {
    report("HOST", "an address or name only, as 127.0.0.1: the port is set with PORT");
    return null;
  }
  return host;
}

function portOf(text: string | null, report: Report): number {
  if (text === null) return PORT_DEFAULT;
  const port = /^\d{1,5}$/.test(text) ? Number(text) : 65_536;
  if (port > 65_535) report("PORT", "must be a whole number from 0 (any free port) to 65535");
  return port;
}

function databaseUrlOf(text: string | null, report: Report): string | null {
  if (text === null) return null;
  // The value is not repeated: it holds the password.
  if (!isDatabaseUrl(text)) {
    report(
      "DATABASE_URL",
      "must be a PostgreSQL URL with one host, as postgres://user:password@host:5432/database; " +
        "in a password / is written %2F, # %23, ? %3F, @ %40, : %3A and % %25",
    );
  }
  return text;
}

function processesOf(
  text: string | null,
  databaseUrl: string | null,
  report: Report,
): number | null {
  if (text === null) return null;
  const count = /^\d{1,3}$/.test(text) ? Number(text) : 0;
  if (count < 1 || count > PROCESSES_MAX) {
    report("TOLLGATE_PROCESSES", `must be a whole number from 1 to ${PROCESSES_MAX}`);
  } else if (count > 1 && databaseUrl === null) {
    report(
      "TOLLGATE_PROCESSES",
      "must be 1 on the embedded database, which only one process can open: set DATABASE_URL to PostgreSQL",
    );
  }
  return count;
}

function adminKeyOf(text: string | null, isPrivate: boolean, report: Report): string | null {
  if (text === null) {
    if (!isPrivate) {
      const advice = "generate one with: openssl rand -base64 36";
      report(
        "TOLLGATE_ADMIN_KEY",
        `required because HOST is reachable from other machines: ${advice}`,
      );
    }
    return null;
  }
  if (text.length < ADMIN_KEY_LENGTH_MIN) {
    const found = `${text.length} characters, and at least ${ADMIN_KEY_LENGTH_MIN} are needed`;
    report("TOLLGATE_ADMIN_KEY", `${found}: generate one with: openssl rand -base64 36`);
  } else if (!/^[\x21-\x7e]{1,1024}$/.test(text)) {
    report(
      "TOLLGATE_ADMIN_KEY",
      "must be printable ASCII without spaces, as it travels in a header",
    );
  } else if (text.startsWith("tg_")) {
    report("TOLLGATE_ADMIN_KEY", "must not start with tg_, which marks the keys of tenants");
  }
  return text;
}

/** The new one and the one before it, with a space between: so it can be changed. */
function sealingKeysOf(text: string | null, report: Report): readonly string[] {
  const keys = text === null ? [] : text.trim().split(/ +/);
  if (keys.length > SEALING_KEYS_MAX) {
    report("TOLLGATE_SEALING_KEY", "must be one key, or the new one, a space, and the old one");
  }
  for (const key of keys) {
    if (key.length >= ADMIN_KEY_LENGTH_MIN && /^[\x21-\x7e]{1,1024}$/.test(key)) continue;
    const needed = `printable ASCII of at least ${ADMIN_KEY_LENGTH_MIN} characters`;
    report(
      "TOLLGATE_SEALING_KEY",
      `must be ${needed}, and one here has ${key.length}: generate one with: openssl rand -base64 36`,
    );
  }
  return keys;
}

function logLevelOf(text: string | null, report: Report): LogLevel {
  if (text === null) return "info";
  const level = LOG_LEVELS.find((known) => known === text.toLowerCase());
  if (level !== undefined) return level;
  report("LOG_LEVEL", `must be one of ${LOG_LEVELS.join(", ")}.${didYouMean(text, LOG_LEVELS)}`);
  return "info";
}

type FileContext = { readonly env: Env; readonly files: ConfigFiles; readonly report: Report };
type FoundFile = FileReading & { readonly path: string | null };

function readFile(stated: string | null, context: FileContext): FoundFile {
  const { env, files, report } = context;
  const implied = impliedUpstreams(env, report);
  const none = {
    upstreams: implied,
    aliases: {},
    prices: [],
    mcpServers: [],
    allowsPrivateWebhooks: false,
    problems: [],
    path: null,
  };
  const path = stated ?? CONFIG_DEFAULT;
  let text: string | null;
  try {
    text = files.read(path);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    report(path, `cannot be read: ${why}`);
    return none;
  }
  if (text === null) {
    if (stated !== null)
      report("TOLLGATE_CONFIG", `there is no file ${stated}: create it or unset this`);
    return none;
  }
  if (text.length > CONFIG_LENGTH_MAX) {
    report(path, `longer than ${CONFIG_LENGTH_MAX} characters: this is not a configuration`);
    return none;
  }
  const reading = readConfigFile(text, { env, implied });
  for (const { position, message } of reading.problems) {
    report(`${path.replace(/^\.\//, "")}:${position.line}:${position.column}`, message);
  }
  return { ...reading, path };
}

/** With a key in the environment OpenAI is there without a file, unless the file has its own `openai`. */
function impliedUpstreams(env: Env, report: Report): readonly UpstreamConfig[] {
  const apiKey = env["OPENAI_API_KEY"]?.trim() ?? "";
  if (apiKey === "") return [];
  if (!/^[\x21-\x7e]{1,4096}$/.test(apiKey)) {
    report("OPENAI_API_KEY", "must be printable ASCII without spaces, as it travels in a header");
    return [];
  }
  return [
    {
      name: "openai",
      kind: "openai",
      baseUrl: "https://api.openai.com/v1",
      apiKey,
      models: OPENAI_MODELS,
      headers: {},
      timeoutMs: 600_000,
      outputLimitField: "max_completion_tokens",
      priceList: "openai",
      sharedObjects: false,
    },
  ];
}
