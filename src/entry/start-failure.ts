/** Why a start failed, as a sentence that says what to mend. */
import { tmpdir } from "node:os";
import { resolve, sep } from "node:path";

import { Fault } from "../lib/assert.ts";
import type { Config } from "./config.ts";

const FOLDER_FLAWS: Readonly<Record<string, string>> = {
  EACCES: "this user may not read and write all that is in it",
  EPERM: "this user may not write there, or it is of a kind without hard links",
  ENOTSUP: "it is of a kind without hard links",
  ENOENT: "it is not there, or a link to nowhere",
  EROFS: "it is read-only",
  ENOSPC: "its disk is full",
  EDQUOT: "this user's part of its disk is full",
  EEXIST: "it is no folder",
  ENOTDIR: "it, or a folder above it, is none",
};

/** A Fault where an operator can mend it; anything else is answered as it is. */
export function startFailure(error: unknown, config: Config): unknown {
  if (!(error instanceof Error) || error instanceof Fault) return error;
  const code = memberOf(error, "code");
  const said = code === null ? null : saidOf(error, code, config);
  return said === null ? error : new Fault(said, { cause: error });
}

function saidOf(error: Error, code: string, config: Config): string | null {
  const { host, port, databaseUrl } = config;
  // Of a file or folder: a port that is refused has the same codes, and no path.
  const path = memberOf(error, "path");
  if (path !== null) return folderSaid(path, code, config);
  switch (code) {
    case "EADDRINUSE":
      return `${host}:${port} is taken by another program (${code}): stop it, or set PORT.`;
    case "EACCES":
    case "EADDRNOTAVAIL":
      return `Cannot listen on ${host}:${port} (${code}): set HOST and PORT.`;
    case "ENOTFOUND":
    case "EAI_AGAIN":
      if (memberOf(error, "hostname") === host) {
        return `Cannot listen on ${host} (${code}): no address is known for this name. Set HOST.`;
      }
      return databaseSaid(code, databaseUrl);
    case "ECONNREFUSED":
    case "CONNECT_TIMEOUT":
    case "28P01":
    case "3D000":
      return databaseSaid(code, databaseUrl);
    default:
      return null;
  }
}

function folderSaid(path: string, code: string, { dataDirectory }: Config): string | null {
  const flaw = FOLDER_FLAWS[code];
  if (flaw === undefined) return null;
  if (isBelow(path, dataDirectory)) {
    return `Cannot use the data folder ${dataDirectory} (${code}): ${flaw}. Mend that, or choose another with TOLLGATE_DATA.`;
  }
  if (isBelow(path, tmpdir())) {
    return `Cannot use the folder ${tmpdir()} (${code}): ${flaw}. Mend that, or choose another with TMPDIR.`;
  }
  return null;
}

function isBelow(path: string, folder: string): boolean {
  return `${resolve(path)}${sep}`.startsWith(`${resolve(folder)}${sep}`);
}

function databaseSaid(code: string, databaseUrl: string | null): string | null {
  if (databaseUrl === null) return null;
  return `The database cannot be used (${code}): check DATABASE_URL.`;
}

function memberOf(error: Error, name: string): string | null {
  const value: unknown = Reflect.get(error, name);
  return typeof value === "string" ? value : null;
}
