/**
 * A PostgreSQL URL as libpq reads it. The driver reads the name of the database as it is written, not as it is meant, and
 * no directory of a Unix socket, which libpq takes for the host: as `?host=/run/postgresql`, or written into its place.
 */
import { Fault } from "../lib/assert.ts";

export type DatabaseUrl = {
  /** What the driver reads of it. */
  readonly url: string;
  /** What it is told besides. */
  readonly place: Readonly<Record<string, string | false>>;
};

/** Parameters that name what otherwise stands before the question mark, by the driver's names. */
const PLACES = {
  host: "host",
  port: "port",
  user: "user",
  password: "password",
  dbname: "database",
};

/** Whether it is a URL of PostgreSQL, with nothing in it that cannot be read. */
export function isDatabaseUrl(text: string): boolean {
  return !/%(?![0-9a-f]{2})/i.test(text) && parse(text) !== null;
}

/** Throws a Fault for what `isDatabaseUrl` says no to. */
export function readDatabaseUrl(text: string): DatabaseUrl {
  const url = parse(text);
  if (url === null) throw new Fault("a database was named by what is no URL of PostgreSQL");
  const place: Record<string, string | false> = {};
  const name = decodeURIComponent(url.pathname.slice(1));
  if (name !== "") place["database"] = name;
  const host = decodeURIComponent(url.hostname);
  if (host.startsWith("/")) place["host"] = host;
  for (const [parameter, member] of Object.entries(PLACES)) {
    const value = url.searchParams.get(parameter);
    if (value !== null) place[member] = value;
    url.searchParams.delete(parameter);
  }
  if (String(place["host"]).startsWith("/")) {
    url.hostname = "localhost";
    // Nobody listens in between, and the server offers none there.
    place["ssl"] = false;
  }
  return { url: url.href, place };
}

function parse(text: string): URL | null {
  // Between a user and a database may stand no host, where `?host=` names it.
  const url = URL.parse(text.replace(/^(\w+:\/\/[^/?#]*@)(?=\/)/, "$1localhost"));
  return url?.protocol === "postgres:" || url?.protocol === "postgresql:" ? url : null;
}
