import { once } from "node:events";
import { createServer, type AddressInfo, type Socket } from "node:net";

import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  databaseProblems,
  lookAtDatabase,
  requireSoundDatabase,
  unusableBecause,
} from "../../src/entry/database-checks.ts";
import { open, type Sql } from "../../src/store/database.ts";
import { sharesBackends, type DatabaseFacts } from "../../src/store/inspect.ts";
import { migrate } from "../../src/store/migrate.ts";
import { startPostgres, type Cluster } from "../support/postgres.ts";
import { createPlace } from "./command.ts";
import { startTollgateProcess } from "../support/tollgate.ts";

const SOUND: DatabaseFacts = {
  serverVersion: 180_004,
  schemaApplied: 3,
  schemaKnown: 3,
  role: "app",
  isReplica: false,
  isReadOnly: false,
  fsync: true,
  fullPageWrites: true,
  synchronousCommit: "on",
  encoding: "UTF8",
  schema: "public",
  notGranted: [],
  statementTimeoutMs: 15_000,
  connectionsMax: 97,
  mayMigrate: true,
  rightsMissing: [],
};

describe("a PostgreSQL", () => {
  test.each<[string, Partial<DatabaseFacts>, readonly RegExp[]]>([
    ["that is sound is started on", {}, []],
    ["of version 15 is started on", { serverVersion: 150_000 }, []],
    ["older than 15 is refused", { serverVersion: 149_999 }, [/PostgreSQL 14: 15 or later/]],
    ["that confirms remotely, too, is started on", { synchronousCommit: "remote_apply" }, []],
    ["that confirms on its own disk is started on", { synchronousCommit: "local" }, []],
    ["that is migrated by its owner only is started on", { mayMigrate: false }, []],
    [
      "that must be migrated by somebody else is refused",
      { mayMigrate: false, schemaApplied: 2 },
      [/role app may not migrate it: grant create/],
    ],
    [
      "that a newer release has migrated is refused",
      { schemaApplied: 4 },
      [/schema version 4 and this program knows 3: start the newer release/],
    ],
    [
      "with fewer connections than one process may need is refused",
      { connectionsMax: 12 },
      [/it allows 12 connections and one process may need 13: raise max_connections/],
    ],
    [
      "whose tables are looked for elsewhere is told nothing else",
      { schema: "app", rightsMissing: ["insert on decisions"] },
      [/^the schema public.* is not the first that role app finds/],
    ],
    ["whose schema may not be used is refused", { schema: null }, [/grant usage on schema public/]],
    [
      "behind a pooler that swallows what sessions ask for is refused",
      { notGranted: ["bytea_output = hex"], statementTimeoutMs: 0 },
      [
        /^sessions ask for bytea_output = hex and have it not.* set it for role app/,
        /alter role app set statement_timeout/,
      ],
    ],
    [
      "with several mistakes is told them all",
      { fsync: false, fullPageWrites: false, synchronousCommit: "off", isReadOnly: true },
      [/^default_transaction_read_only/, /^fsync/, /^full_page_writes/, /^synchronous_commit/],
    ],
    [
      "that is a replica is told nothing else, for its settings are not the primary's",
      { isReplica: true, fsync: false, rightsMissing: ["insert on decisions"] },
      [/^it is a replica.*name the primary/],
    ],
  ])("%s", (_, facts, expected) => {
    const found = databaseProblems({ ...SOUND, ...facts });
    expect(found, found.join("\n")).toHaveLength(expected.length);
    for (const [i, pattern] of expected.entries()) expect(found[i]).toMatch(pattern);
  });
});

describe("a database that cannot be asked", () => {
  test.each<[string, string, string, RegExp]>([
    [
      "of a pooler that knows no options",
      "08P01",
      "unsupported startup parameter: options",
      /ignore_startup_parameters = options, statement_timeout, .*pool_mode = session/,
    ],
    [
      "of an authority of its own",
      "SELF_SIGNED_CERT_IN_CHAIN",
      "self-signed certificate in certificate chain",
      /set NODE_EXTRA_CA_CERTS/,
    ],
    ["without TLS", "ERR_SSL_WRONG_VERSION_NUMBER", "40C3:error", /^it speaks no TLS/],
    [
      "by a parameter of libpq's",
      "42704",
      'unrecognized configuration parameter "channel_binding"',
      /"channel_binding", which stands in DATABASE_URL: remove it/,
    ],
    [
      "for any other cause",
      "3D000",
      'database "x" does not exist',
      /\(3D000\): check DATABASE_URL$/,
    ],
    ["without a word", "ECONNREFUSED", "", /^no connection \(ECONNREFUSED\): check/],
  ])("%s says what to change", (_, code, message, expected) => {
    expect(unusableBecause(code, message)).toMatch(expected);
  });

  test("ends a start with a sentence", async () => {
    const url = "postgres://app@127.0.0.1:1/ledger";
    await expect(lookAtDatabase(url)).rejects.toThrow(
      "the database cannot be used: connect ECONNREFUSED 127.0.0.1:1 (ECONNREFUSED): check DATABASE_URL",
    );
  });
});

describe("a pooler that gives one session one backend after another", () => {
  test.each([
    ["is known by the other backend", true],
    ["is known by its silence where it has only one", false],
  ])("%s", async (_, hasMore) => {
    const pooler = await poolerWith(hasMore);
    const url = `postgres://app@127.0.0.1:${pooler.port}/ledger`;
    expect(await sharesBackends(url)).toBe(true);
    await expect(lookAtDatabase(url)).rejects.toThrow(
      /a pooler in front of it.*pool_mode = session/,
    );
    await pooler.close();
  });
});

/** As much of a pooler as the question needs: two backends, or one, which a transaction keeps to itself. */
async function poolerWith(hasMore: boolean): Promise<{ port: number; close: () => Promise<void> }> {
  const message = (type: string, ...parts: (string | number[])[]): Buffer => {
    const body = Buffer.concat(parts.map((part) => Buffer.from(part as string)));
    const head = Buffer.alloc(5, type);
    head.writeInt32BE(body.length + 4, 1);
    return Buffer.concat([head, body]);
  };
  let holder: Socket | null = null;
  let waiting = (): void => undefined;
  const answer = (socket: Socket, asked: string): void => {
    // The driver ends a transaction by a prepared statement, and asks for all else by plain ones.
    const isCommit = asked.startsWith("P");
    if (asked.includes("begin")) holder = socket;
    if (isCommit) holder = null;
    const isOther = holder !== null && holder !== socket;
    if (isOther && !hasMore) {
      waiting = () => answer(socket, asked);
      return;
    }
    const done = Buffer.concat([
      message("C", "DONE\0"),
      message("Z", holder === socket ? "T" : "I"),
    ]);
    const prepared = [message("1"), message("t", [0, 0]), message("n"), message("2")];
    const type = [0, 0, 0, 0, 0, 0, 0, 0, 0, 23, 0, 4, 255, 255, 255, 255, 0, 0];
    const row = [
      message("T", [0, 1], "backend\0", type),
      message("D", [0, 1, 0, 0, 0, 1], isOther ? "2" : "1"),
    ];
    const found = isCommit ? prepared : asked.includes("select") ? row : [];
    socket.write(Buffer.concat([...found, done]));
    if (!isCommit) return;
    waiting();
    waiting = () => undefined;
  };
  const server = createServer((socket) => {
    socket.on("error", () => undefined);
    socket.once("data", () => {
      socket.write(Buffer.concat([message("R", [0, 0, 0, 0]), message("Z", "I")]));
      socket.on("data", (data) => {
        const asked = data.toString("latin1");
        if (/^[QP]/.test(asked)) answer(socket, asked);
      });
    });
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    port: (server.address() as AddressInfo).port,
    close: async () => {
      server.close();
      await once(server, "close");
    },
  };
}

/** Made by `set`, undone by `unset`, both by the superuser; `url` is tried by the role `app`. */
type Row = {
  readonly name: string;
  readonly set: readonly string[];
  readonly unset: readonly string[];
  readonly database?: string;
  readonly refusal: RegExp;
};

const ROWS: readonly Row[] = [
  {
    name: "with fsync off",
    set: ["alter system set fsync = off"],
    unset: ["alter system reset fsync"],
    refusal: /fsync is off.*set fsync = on/,
  },
  {
    name: "with full_page_writes off",
    set: ["alter system set full_page_writes = off"],
    unset: ["alter system reset full_page_writes"],
    refusal: /full_page_writes is off.*set full_page_writes = on/,
  },
  ...["system set", "database ledger set", "role app set", "role app in database ledger set"].map(
    (scope): Row => ({
      name: `with synchronous_commit off by alter ${scope}`,
      set: [`alter ${scope} synchronous_commit = off`],
      unset: [`alter ${scope.replace(/set$/u, "reset")} synchronous_commit`],
      refusal: /synchronous_commit is off for role app.*set it to on/,
    }),
  ),
  ...["system set", "database ledger set", "role app set"].map((scope): Row => ({
    name: `read-only by alter ${scope}`,
    set: [`alter ${scope} default_transaction_read_only = on`],
    // Whoever undoes it would be read-only as well.
    unset: [
      "set default_transaction_read_only = off",
      `alter ${scope.replace(/set$/u, "reset")} default_transaction_read_only`,
    ],
    refusal: /default_transaction_read_only is on for role app: turn it off/,
  })),
  {
    name: "in an encoding that cannot hold every name",
    set: ["create database odd owner app encoding 'SQL_ASCII' template template0"],
    unset: ["drop database odd with (force)"],
    database: "odd",
    refusal: /encoding is SQL_ASCII.*encoding UTF8/,
  },
  {
    name: "that is empty, for a role that may make nothing in it",
    set: ["create database bare", "revoke create on database bare from public"],
    unset: ["drop database bare with (force)"],
    database: "bare",
    refusal: /role app may not migrate it: grant create/,
  },
];

describe("a start on PostgreSQL", () => {
  let cluster: Cluster;
  let root: Sql;
  const urlOf = (database: string, role = "app") =>
    `postgres://${role}@${cluster.address.host}:${cluster.address.port}/${database}`;
  const rootUrl = (database: string) => ({
    kind: "url" as const,
    url: urlOf(database, cluster.address.user),
  });

  beforeAll(async () => {
    cluster = await startPostgres();
    root = open(rootUrl("postgres"), 1);
    await root.unsafe("create role app login");
    await root.unsafe("create database ledger owner app");
    await migrate({ kind: "url", url: urlOf("ledger") });
  });
  afterAll(async () => {
    await root?.end();
    await cluster?.stop();
  });

  /** A reload takes its time: resolves when new sessions see it. */
  const reload = async (isSeen: () => Promise<boolean>): Promise<void> => {
    await root.unsafe("select pg_reload_conf()");
    while (!(await isSeen())) await new Promise((done) => setTimeout(done, 20));
  };
  const refusalOf = async (database = "ledger"): Promise<string> => {
    try {
      await requireSoundDatabase(urlOf(database));
      return "";
    } catch (error) {
      return error instanceof Error ? error.message : String(error);
    }
  };

  test("with PostgreSQL's own defaults is not refused", async () => {
    expect(await refusalOf()).toBe("");
  });

  test.each(ROWS)("$name is refused, with what to change", async (row) => {
    const { set, unset, database, refusal } = row;
    for (const statement of set) await root.unsafe(statement);
    await reload(async () => (await refusalOf(database)) !== "");
    const found = await refusalOf(database);
    expect(found).toMatch(/^Tollgate does not start on this database/);
    expect(found).toMatch(refusal);
    expect(found.split("\n")).toHaveLength(2);
    for (const statement of unset) await root.unsafe(statement);
    await root.unsafe("reset default_transaction_read_only");
    await reload(async () => (await refusalOf()) === "");
  });

  test("by a role without a right that it will need is refused, with the right's name", async () => {
    const owner = open({ kind: "url", url: urlOf("ledger") }, 1);
    await root.unsafe("create role narrow login");
    await owner.unsafe("grant usage on schema drizzle to narrow");
    await owner.unsafe("grant select on drizzle.__drizzle_migrations to narrow");
    await owner.unsafe(
      "grant select, insert, update, delete on all tables in schema public to narrow",
    );
    await expect(requireSoundDatabase(urlOf("ledger", "narrow"))).resolves.toMatchObject({
      rightsMissing: [],
    });
    await owner.unsafe("revoke insert on decisions from narrow");
    await owner.unsafe("revoke delete on reservations from narrow");
    await expect(requireSoundDatabase(urlOf("ledger", "narrow"))).rejects.toThrow(
      "role narrow lacks rights: grant insert on decisions, delete on reservations",
    );
    await owner.unsafe("grant insert on decisions to narrow");
    await owner.unsafe("grant delete on reservations to narrow");
    const tables =
      await owner`select tablename::text as name from pg_tables where schemaname = 'public'`;
    for (const { name } of tables) {
      await owner.unsafe(`revoke insert on ${name} from narrow`);
      await expect(requireSoundDatabase(urlOf("ledger", "narrow"))).rejects.toThrow(
        `role narrow lacks rights: grant insert on ${name}`,
      );
      await owner.unsafe(`grant insert on ${name} to narrow`);
    }
    await owner.unsafe("revoke select on drizzle.__drizzle_migrations from narrow");
    await expect(requireSoundDatabase(urlOf("ledger", "narrow"))).rejects.toThrow(
      "role narrow lacks rights: grant select on drizzle.__drizzle_migrations",
    );
    await owner.unsafe("revoke usage on schema drizzle from narrow");
    await expect(requireSoundDatabase(urlOf("ledger", "narrow"))).rejects.toThrow(
      "usage on schema drizzle",
    );
    await owner.end();
  });

  test("that is refused ends the process with the sentence and nothing else", async () => {
    await root.unsafe("alter role app set synchronous_commit = off");
    try {
      await expect(startTollgateProcess({ databaseUrl: urlOf("ledger") })).rejects.toThrow(
        /^tollgate ended with 1:\nTollgate does not start on this database, .*\n {2}synchronous_commit is off[^\n]*\n$/u,
      );
    } finally {
      await root.unsafe("alter role app reset synchronous_commit");
    }
  });

  test("whose sessions are told otherwise by DATABASE_URL is refused, with both", async () => {
    const url = `${urlOf("ledger")}?bytea_output=escape&array_nulls=off&statement_timeout=0`;
    await expect(requireSoundDatabase(url)).rejects.toThrow(
      /sessions ask for bytea_output = hex, array_nulls = on and have it not.*\n {2}statement_timeout is not the 15000 ms/,
    );
  });

  test("that would be refused is told by the doctor in the same words", async () => {
    const place = createPlace();
    await root.unsafe("alter role app set synchronous_commit = off");
    try {
      const { code, out } = await place.run(["doctor", "--json"], {
        PORT: "0",
        DATABASE_URL: urlOf("ledger"),
      });
      expect(code).toBe(1);
      expect(out).toMatch(
        /"check":"database","status":"fail","detail":"[^"]*synchronous_commit is off for role app/,
      );
    } finally {
      await root.unsafe("alter role app reset synchronous_commit");
      place.remove();
    }
  });

  test("with more processes than it has connections for is refused, with both numbers", async () => {
    const { ended, stderr } = await startTollgateProcess({
      databaseUrl: urlOf("ledger"),
      env: { TOLLGATE_PROCESSES: "100" },
    }).then(
      async (started) => {
        await started.close();
        return { ended: false, stderr: "" };
      },
      (error: unknown) => ({ ended: true, stderr: String(error) }),
    );
    expect(ended).toBe(true);
    expect(stderr).toMatch(/TOLLGATE_PROCESSES is 100, which may need 2613 connections/);
    expect(stderr).toMatch(/PostgreSQL allows 197 connections: raise max_connections/);
  });

  test("that is a replica is refused", async () => {
    const [row] = await root`select current_setting('data_directory') as directory`;
    await root.unsafe(`copy (select '') to '${String(row?.["directory"])}/standby.signal'`);
    await root.end();
    await cluster.restart("fast");
    root = open(rootUrl("postgres"), 1);
    expect(await refusalOf()).toMatch(/it is a replica, which cannot record anything/);
  });
});
