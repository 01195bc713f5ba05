/** `doctor`: what stands between this machine and a running Tollgate, each with its remedy. */
import { accessSync, constants, existsSync, statSync } from "node:fs";
import { createServer } from "node:net";
import { dirname, join, resolve } from "node:path";

import type { Command } from "commander";

import { Fault } from "../../lib/assert.ts";
import { parseJson } from "../../lib/json.ts";
import { ConfigError, readConfig, type Config, type Env, type UpstreamConfig } from "../config.ts";
import { diskFiles } from "../config-files.ts";
import { ADMIN_KEY_FILE, originOf, reach, URL_DEFAULT } from "./client.ts";
import { member, writeTable } from "./output.ts";
import { actOnConfig, option } from "./session.ts";
import { calledAs, CliError, type Terminal } from "./terminal.ts";

export type Check = {
  readonly check: string;
  readonly status: "ok" | "warn" | "fail";
  readonly detail: string;
};

export function addDoctor(program: Command, terminal: Terminal): void {
  const doctor = program
    .command("doctor")
    .description("look for what keeps Tollgate from running here")
    .option("--online", "also ask each upstream for its models, and each MCP server for its tools");
  actOnConfig(doctor, terminal, async (session) => {
    const isOnline = session.options["online"] === true;
    const checks = await examine(terminal.env, option(session.options, "url"), isOnline);
    if (session.json) {
      terminal.out(`${JSON.stringify({ data: checks })}\n`);
    } else {
      const titles = ["check", "status", "detail"];
      writeTable(
        terminal,
        titles.map((title) => ({ title, value: title })),
        checks,
      );
    }
    const failed = checks.filter(({ status }) => status === "fail").length;
    if (failed > 0)
      throw new CliError(failed === 1 ? "1 check failed." : `${failed} checks failed.`);
  });
}

async function examine(env: Env, url: string | null, isOnline: boolean): Promise<readonly Check[]> {
  const checks: Check[] = [nodeCheck()];
  const config = configOf(env, checks);
  if (config === null) return checks;
  const stated = url ?? env["TOLLGATE_URL"] ?? null;
  const origin = originOf(stated ?? `http://${hostInUrl(config)}:${config.port}`);
  const answering = await isTollgate(origin);
  checks.push(await databaseCheck(config, answering));
  checks.push(await listenerCheck(env, config, { origin, answering }));
  if (!isOnline) return checks;
  checks.push(...(await Promise.all(config.upstreams.map(upstreamCheck))));
  if (config.mcpServers.length === 0) return checks;
  // Loaded only here: no other check speaks the protocol.
  const { serverCheck } = await import("./doctor-servers.ts");
  checks.push(...(await Promise.all(config.mcpServers.map(serverCheck))));
  return checks;
}

function nodeCheck(): Check {
  // An older one does not come as far as this.
  return { check: "node", status: "ok", detail: process.version };
}

function configOf(env: Env, checks: Check[]): Config | null {
  try {
    const config = readConfig(env, diskFiles);
    const names = config.upstreams.map(({ name }) => name);
    const served = names.length === 0 ? "only the built-in demo/* models" : names.join(", ");
    const servers = config.mcpServers.map(({ name }) => name).join(", ");
    const tools = servers === "" ? "" : `; MCP servers: ${servers}`;
    const detail = `${config.configFile ?? "no tollgate.yaml"}; upstreams: ${served}${tools}`;
    checks.push({ check: "config", status: names.length === 0 ? "warn" : "ok", detail });
    return config;
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    for (const { where, message } of error.problems) {
      checks.push({ check: "config", status: "fail", detail: `${where}: ${message}` });
    }
    return null;
  }
}

async function databaseCheck(config: Config, answering: boolean): Promise<Check> {
  const { databaseUrl, dataDirectory } = config;
  if (databaseUrl === null) return embeddedCheck(dataDirectory, answering);
  // Loaded only here: the driver is most of what a command would otherwise wait for.
  const { databaseProblems, lookAtDatabase } = await import("../database-checks.ts");
  try {
    const facts = await lookAtDatabase(databaseUrl);
    const version = `PostgreSQL ${Math.floor(facts.serverVersion / 10_000)}`;
    const schema = `schema ${facts.schemaApplied} of ${facts.schemaKnown}`;
    const problems = databaseProblems(facts);
    const next = facts.schemaApplied < facts.schemaKnown ? ": the next start migrates it" : "";
    const advice = problems.length === 0 ? next : `: ${problems.join("; ")}`;
    const status = problems.length === 0 ? "ok" : "fail";
    return { check: "database", status, detail: `${version}, ${schema}${advice}` };
  } catch (error) {
    if (!(error instanceof Fault)) throw error;
    return { check: "database", status: "fail", detail: error.message };
  }
}

function embeddedCheck(directory: string, answering: boolean): Check {
  const root = resolve(directory);
  // As the start makes it: with all the folders above it.
  let place = root;
  while (!existsSync(place)) place = dirname(place);
  if (!statSync(place).isDirectory()) {
    const detail = `${place} is no folder: choose another with TOLLGATE_DATA`;
    return { check: "database", status: "fail", detail };
  }
  try {
    accessSync(place, constants.W_OK);
  } catch {
    const detail = `cannot write in ${place}: choose another with TOLLGATE_DATA`;
    return { check: "database", status: "fail", detail };
  }
  const inUse = existsSync(join(root, "lock"));
  const state = inUse
    ? answering
      ? ", in use"
      : ", locked: another Tollgate may be using it"
    : "";
  const key = existsSync(join(root, ADMIN_KEY_FILE))
    ? ""
    : ", no admin key yet: the first start makes one";
  const detail = `embedded in ${root}${state}${key}; it survives a killed process, not a power cut`;
  return { check: "database", status: inUse && !answering ? "warn" : "ok", detail };
}

type Answering = { readonly origin: string; readonly answering: boolean };

async function listenerCheck(
  env: Env,
  config: Config,
  { origin, answering }: Answering,
): Promise<Check> {
  if (answering) return { check: "port", status: "ok", detail: `Tollgate answers at ${origin}` };
  if (await isFree(config.host, config.port)) {
    const detail = `${config.host}:${config.port} is free; start with: ${calledAs(env)} serve`;
    return { check: "port", status: "ok", detail };
  }
  const detail = `${config.host}:${config.port} cannot be used: another program has it; set PORT`;
  return { check: "port", status: "fail", detail };
}

/** Asks what needs no key, and what no other program answers in these words. */
async function isTollgate(origin: string): Promise<boolean> {
  try {
    const answer = await reach(origin, new URL(`${origin}/readyz`), { redirect: "manual" });
    const body = parseJson(answer.text)?.value;
    const status = member(body, "status");
    if (status === "ready") return typeof member(body, "schema_version") === "number";
    return (
      status === "closing" ||
      status === "not_ready" ||
      member(body, "error.code") === "admission_unavailable"
    );
  } catch (error) {
    if (error instanceof CliError) return false;
    throw error;
  }
}

function isFree(host: string, port: number): Promise<boolean> {
  return new Promise((done) => {
    const server = createServer();
    server.once("error", () => done(false));
    server.listen({ host, port, exclusive: true }, () => server.close(() => done(true)));
  });
}

async function upstreamCheck(upstream: UpstreamConfig): Promise<Check> {
  const check = `upstream ${upstream.name}`;
  const headers = new Headers(upstream.headers);
  if (upstream.apiKey !== null) headers.set("authorization", `Bearer ${upstream.apiKey}`);
  const url = new URL(`${upstream.baseUrl}/models`);
  try {
    const { status } = await reach(upstream.baseUrl, url, { headers, redirect: "manual" });
    if (status === 401 || status === 403) {
      return { check, status: "fail", detail: `${url.href} answered ${status}: check its api_key` };
    }
    const isWell = status < 500 && !(status >= 300 && status < 400);
    return { check, status: isWell ? "ok" : "fail", detail: `${url.href} answered ${status}` };
  } catch (error) {
    if (!(error instanceof CliError)) throw error;
    return { check, status: "fail", detail: `${url.href} cannot be reached` };
  }
}

/** A wildcard address is listened on, and asked on the loopback. */
function hostInUrl({ host }: Config): string {
  if (host === "0.0.0.0" || host === "::") return new URL(URL_DEFAULT).hostname;
  return host.includes(":") ? `[${host}]` : host;
}
