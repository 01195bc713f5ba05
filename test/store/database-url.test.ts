import { describe, expect, test } from "vitest";

import { isDatabaseUrl, readDatabaseUrl } from "../../src/store/database-url.ts";

const SOCKET = { host: "/run/pg", ssl: false };

describe("a URL of PostgreSQL", () => {
  test.each<[string, string, Record<string, unknown>]>([
    [
      "names host, role and database",
      "postgres://app:p%40ss@db:5433/ledger?sslmode=require",
      {
        url: "postgres://app:p%40ss@db:5433/ledger?sslmode=require",
        place: { database: "ledger" },
      },
    ],
    [
      "names a database with any letters",
      "postgres://app@db/%C3%BCn%20%2F",
      { place: { database: "ün /" } },
    ],
    [
      "names the directory of a socket as a parameter",
      "postgresql://app@localhost/ledger?host=/run/pg&port=5433",
      {
        url: "postgresql://app@localhost/ledger",
        place: { ...SOCKET, port: "5433", database: "ledger" },
      },
    ],
    [
      "names no host where a parameter does",
      "postgres://app:pw@/ledger?host=/run/pg",
      { url: "postgres://app:pw@localhost/ledger", place: { ...SOCKET, database: "ledger" } },
    ],
    [
      "names the directory of a socket in the place of the host",
      "postgres://app@%2Frun%2Fpg:5433/ledger",
      { url: "postgres://app@localhost:5433/ledger", place: { ...SOCKET, database: "ledger" } },
    ],
    [
      "names everything as parameters",
      "postgres:///?host=/run/pg&user=app&password=p%40ss&dbname=ledger",
      { place: { ...SOCKET, user: "app", password: "p@ss", database: "ledger" } },
    ],
  ])("%s", (_, text, expected) => {
    expect(isDatabaseUrl(text)).toBe(true);
    expect(readDatabaseUrl(text)).toMatchObject(expected);
  });

  test.each([
    ["of another program", "mysql://app@db/ledger"],
    ["with a password that is not encoded", "postgres://app:100%@db/ledger"],
    ["with a password that ends it", "postgres://app:a#b@db/ledger"],
    ["of several hosts", "postgres://app@one:5432,two:5432/ledger"],
    ["in libpq's other form", "host=/run/pg dbname=ledger"],
  ])("%s is none", (_, text) => {
    expect(isDatabaseUrl(text)).toBe(false);
  });
});
