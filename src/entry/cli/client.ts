/** Speaks to the management API over HTTP. Every failure is told with what to do about it. */
import { readFileSync } from "node:fs";
import { join } from "node:path";

import type { Scope } from "../../core/caller.ts";
import { parseKey } from "../../core/key.ts";
import { canonicalJson } from "../../lib/canonical-json.ts";
import { isList, isRecord, parseJson } from "../../lib/json.ts";
import { DATA_DEFAULT, isLoopback, PORT_DEFAULT, type Env } from "../config.ts";
import { CliError, EXIT_USAGE } from "./terminal.ts";

export const URL_DEFAULT = `http://127.0.0.1:${PORT_DEFAULT}`;

/** The file in the data directory where the first start keeps the key it generated. */
export const ADMIN_KEY_FILE = "admin-key";

/** The API answers in milliseconds; half a minute is a gateway that hangs. */
const TIMEOUT_MS = 30_000;

/** A page of a thousand rows is a few megabytes. */
const ANSWER_BYTES_MAX = 64 * 1024 * 1024;

export type Query = Readonly<Record<string, string | null>>;

export type Ask = {
  readonly method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
  readonly path: string;
  readonly query?: Query;
  /** Members that are null are left out. */
  readonly body?: Readonly<Record<string, unknown>>;
  /** A body that is no JSON. */
  readonly content?: { readonly media: string; readonly text: string };
  /** Members of the body that are said to be nothing: null, and sent. */
  readonly nulls?: readonly string[];
  /** The scope this call needs, to be named when it is missing. */
  readonly scope: Scope;
  /** The tenant that was chosen because nobody named one. */
  readonly assumed?: string | null;
  /** The answer is a text, and no JSON. */
  readonly isText?: boolean;
};

export type Reply = { readonly text: string; readonly body: unknown };

export type Client = {
  readonly origin: string;
  /** Whether the key is the installation's, which must name the tenant that another key implies. */
  readonly isAdministrator: boolean;
  readonly ask: (ask: Ask) => Promise<Reply>;
};

export type Credential = {
  readonly key: string;
  /** Where it was found, in words. */
  readonly from: string;
};

export type ClientOptions = { readonly url: string | null; readonly key: string | null };

/** Finds where and who; throws CliError when the URL is none or there is no key. */
export function createClient(env: Env, options: ClientOptions): Client {
  const origin = originOf(options.url ?? setOrNull(env["TOLLGATE_URL"]) ?? URL_DEFAULT);
  const credential = findKey(env, origin, options.key);
  return {
    origin,
    isAdministrator: parseKey(credential.key) === null,
    ask: (ask) => send(origin, credential, ask),
  };
}

/** The base of every call, without a slash at its end. */
export function originOf(text: string): string {
  const url = URL.parse(text);
  if (url === null || (url.protocol !== "http:" && url.protocol !== "https:")) {
    throw new CliError(`Not a URL: ${text}. Write it as ${URL_DEFAULT}.`, EXIT_USAGE);
  }
  if (url.username !== "" || url.password !== "" || url.search !== "" || url.hash !== "") {
    throw new CliError(`The URL of Tollgate is only host and port, as ${URL_DEFAULT}.`, EXIT_USAGE);
  }
  return url.href.replace(/\/+$/, "");
}

function findKey(env: Env, origin: string, stated: string | null): Credential {
  if (stated !== null) return checked({ key: stated, from: "--key" });
  for (const name of ["TOLLGATE_ADMIN_KEY", "TOLLGATE_KEY"]) {
    const key = setOrNull(env[name]);
    if (key !== null) return checked({ key, from: name });
  }
  // The key of the local installation is never sent to another machine.
  if (isLoopback(new URL(origin).hostname)) {
    const path = join(setOrNull(env["TOLLGATE_DATA"]) ?? DATA_DEFAULT, ADMIN_KEY_FILE);
    const key = readKeyFile(path);
    if (key !== null) return checked({ key, from: path });
    throw new CliError(
      `No key: give one with --key or TOLLGATE_KEY. The administration key of a local Tollgate is ` +
        `read from ${path}, which the first start writes; run this where Tollgate was started, ` +
        `or set TOLLGATE_DATA to its data directory.`,
    );
  }
  throw new CliError(
    `No key for ${origin}: give one with --key, TOLLGATE_ADMIN_KEY or TOLLGATE_KEY.`,
  );
}

function checked(credential: Credential): Credential {
  if (/^[\x21-\x7e]{1,1024}$/.test(credential.key)) return credential;
  throw new CliError(
    `The key from ${credential.from} is empty or has spaces or line breaks in it.`,
  );
}

function readKeyFile(path: string): string | null {
  try {
    return readFileSync(path, "utf8").trim();
  } catch (error) {
    if (codeOf(error) === "ENOENT" || codeOf(error) === "ENOTDIR") return null;
    throw new CliError(`The key file ${path} cannot be read (${codeOf(error) ?? "error"}).`);
  }
}

async function send(origin: string, credential: Credential, ask: Ask): Promise<Reply> {
  const url = new URL(`${origin}${ask.path}`);
  for (const [name, value] of Object.entries(ask.query ?? {})) {
    if (value !== null) url.searchParams.set(name, value);
  }
  const headers = new Headers({
    accept: "application/json",
    authorization: `Bearer ${credential.key}`,
    "user-agent": "tollgate-cli",
  });
  const content = contentOf(ask);
  if (content !== null) headers.set("content-type", content.media);
  const answer = await reach(origin, url, {
    method: ask.method,
    headers,
    // A redirect would carry the key to another place.
    redirect: "manual",
    ...(content === null ? {} : { body: content.text }),
  });
  const reply = { text: answer.text, body: parseJson(answer.text)?.value ?? null };
  if (answer.status >= 200 && answer.status < 300) {
    if (reply.body !== null || answer.text === "" || ask.isText === true) return reply;
    throw new CliError(`${origin} answered something that is not JSON: is this a Tollgate?`);
  }
  throw refused({ origin, credential, ask, status: answer.status, reply });
}

function contentOf(ask: Ask): NonNullable<Ask["content"]> | null {
  if (ask.body === undefined) return ask.content ?? null;
  return { media: "application/json", text: bodyText(ask.body, ask.nulls ?? []) };
}

type Answer = { readonly status: number; readonly text: string };

/** One HTTP exchange. Throws CliError when nobody answers. */
export async function reach(origin: string, url: URL, init: RequestInit): Promise<Answer> {
  try {
    const response = await fetch(url, { ...init, signal: AbortSignal.timeout(TIMEOUT_MS) });
    return { status: response.status, text: await limitedText(response) };
  } catch (error) {
    if (error instanceof CliError) throw error;
    throw new CliError(unreachableText(origin, error));
  }
}

async function limitedText(response: Response): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  let bytes = 0;
  for await (const chunk of response.body ?? []) {
    bytes += chunk.byteLength;
    if (bytes > ANSWER_BYTES_MAX) throw new CliError("The answer is too long: ask for fewer rows.");
    text += decoder.decode(chunk, { stream: true });
  }
  return text + decoder.decode();
}

function unreachableText(origin: string, error: unknown): string {
  const cause = error instanceof Error && error.cause !== undefined ? error.cause : error;
  if (error instanceof Error && error.name === "TimeoutError") {
    return `${origin} did not answer within ${TIMEOUT_MS / 1000} s: see what it logs.`;
  }
  const why = codeOf(cause) ?? (cause instanceof Error ? cause.message : "no connection");
  return (
    `Cannot reach Tollgate at ${origin} (${why}). Start it with "npx tollgate serve" or ` +
    `"npm start", or name another place with --url or TOLLGATE_URL.`
  );
}

type Refused = {
  readonly origin: string;
  readonly credential: Credential;
  readonly ask: Ask;
  readonly status: number;
  readonly reply: Reply;
};

function refused({ origin, credential, ask, status, reply }: Refused): CliError {
  const document = reply.body === null ? null : reply.text;
  const said = messageOf(reply.body);
  if (status === 401) {
    const advice =
      `It comes from ${credential.from}. The administration key is TOLLGATE_ADMIN_KEY of the ` +
      `server, or the one its first start wrote to ${ADMIN_KEY_FILE} in its data directory.`;
    return new CliError(`${origin} does not know this key. ${advice}`, undefined, document);
  }
  if (status === 403) {
    const advice = `This needs a key with the scope "${ask.scope}"; the key comes from ${credential.from}.`;
    return new CliError(`${said ?? "Not allowed."} ${advice}`, undefined, document);
  }
  if (said !== null) {
    const assumed = status === 404 ? (ask.assumed ?? null) : null;
    const whose =
      assumed === null ? "" : ` The tenant is \`${assumed}\`: name another with --tenant.`;
    return new CliError(`${said}${whose}`, undefined, document);
  }
  if (status >= 300 && status < 400) {
    return new CliError(`${origin} redirects elsewhere: name the place itself with --url.`);
  }
  return new CliError(
    `${origin} answered ${status} to ${ask.method} ${ask.path}: is this a Tollgate?`,
  );
}

function messageOf(body: unknown): string | null {
  const error = isRecord(body) ? body["error"] : null;
  if (!isRecord(error)) return null;
  const { message, param } = error;
  if (typeof message !== "string") return null;
  return typeof param === "string" && !message.includes(param) ? `${message} (${param})` : message;
}

/** Canonical, because only that text keeps a number that no float holds. */
function bodyText(body: Readonly<Record<string, unknown>>, nulls: readonly string[]): string {
  const said = Object.entries(body).filter(([, value]) => value !== null && value !== undefined);
  const nothing = nulls.map((name) => [name, null] as const);
  return canonicalJson(Object.fromEntries([...said, ...nothing]));
}

function setOrNull(text: string | undefined): string | null {
  return text === undefined || text === "" ? null : text;
}

function codeOf(error: unknown): string | null {
  if (error instanceof AggregateError && isList(error.errors)) return codeOf(error.errors[0]);
  return isRecord(error) && typeof error["code"] === "string" ? error["code"] : null;
}
