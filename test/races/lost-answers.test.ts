import { once } from "node:events";
import { connect as connectTcp, createServer, type AddressInfo, type Socket } from "node:net";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { connect, type Address, type Database } from "../../src/store/database.ts";
import {
  ASK_PICOUSD,
  chargeOf,
  endingOf,
  gateOn,
  intentOf,
  newTenant,
  permitOf,
  reasonOf,
  type Gate,
} from "../gate/gate-on.ts";
import { ledgerViolations } from "../store/violations.ts";
import { describeOnPostgres } from "../support/databases.ts";

type Fault =
  /** What the server answers next is dropped, and the connection is reset. */
  | "swallow the answer"
  /** What the client sends next is dropped, and the connection is reset. */
  | "swallow the question";

type Proxy = {
  readonly address: Address;
  /** Plays the faults for the next questions, one each; resolves when the last one was played. */
  readonly play: (...faults: readonly Fault[]) => Promise<void>;
  readonly close: () => Promise<void>;
};

/** Stands between a gateway and its database. */
async function startProxy(url: string): Promise<Proxy> {
  const { hostname, port } = new URL(url);
  const sockets = new Set<Socket>();
  const faults: Fault[] = [];
  let played = Promise.withResolvers<void>();
  const server = createServer((client) => {
    const upstream = connectTcp(Number(port), hostname);
    let isSwallowing = false;
    const reset = () => {
      client.resetAndDestroy();
      upstream.resetAndDestroy();
      if (faults.length === 0) played.resolve();
    };
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on("error", () => undefined);
      socket.once("close", () => {
        sockets.delete(socket);
        client.destroy();
        upstream.destroy();
      });
    }
    let isStarted = false;
    client.on("data", (bytes) => {
      // The first message of a connection is its start, and no question yet.
      const fault = isStarted ? faults.shift() : undefined;
      isStarted = true;
      if (fault === "swallow the question") return reset();
      isSwallowing = fault === "swallow the answer";
      upstream.write(bytes);
    });
    upstream.on("data", (bytes) => {
      if (isSwallowing) reset();
      else client.write(bytes);
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const target = new URL(url);
  target.port = String((server.address() as AddressInfo).port);
  return {
    address: { kind: "url", url: target.href },
    play: (...wanted) => {
      faults.push(...wanted);
      played = Promise.withResolvers();
      return played.promise;
    },
    close: async () => {
      server.close();
      for (const socket of sockets) socket.destroy();
      await once(server, "close");
    },
  };
}

describeOnPostgres("a posting whose connection breaks", (database) => {
  let proxy: Proxy;
  let through: Database;
  let gate: Gate;
  beforeAll(async () => {
    if (database.address.kind !== "url") throw new Error("a URL is needed");
    proxy = await startProxy(database.address.url);
  });
  afterAll(() => proxy.close());
  beforeEach(async () => {
    through = connect(proxy.address, { gateConnections: 1, adminConnections: 1 });
    // Only the gate's own connection goes through the proxy.
    const db = { ...database.db, gate: through.gate };
    gate = await gateOn(database.db, { db });
  });
  afterEach(async () => {
    await gate.gateway.close();
    await through.close();
  });

  const decisions = async (tenantId: string) => {
    const rows = await database.db.admin`
      select verdict, count(*)::int as count from decisions where tenant_id = ${tenantId} group by verdict`;
    return Object.fromEntries(rows.map((row) => [row["verdict"], row["count"]]));
  };

  test.each<[string, readonly Fault[]]>([
    ["after its commit", ["swallow the answer"]],
    ["before its commit", ["swallow the question"]],
    [
      "after its commit, and once more when it is asked for",
      ["swallow the answer", "swallow the answer"],
    ],
    ["on its way, and after its commit", ["swallow the question", "swallow the answer"]],
  ])("%s is decided once, and what was decided is told", async (_, faults) => {
    const limits = [{ id: "lim", scope: "tenant", unit: "usd", amount: 10n * ASK_PICOUSD }];
    const caller = await newTenant(gate, limits);
    // The statement is prepared on a whole connection first, as it is in a gate that serves.
    await gate.end(
      permitOf(await gate.admit(caller)),
      endingOf("succeeded"),
      chargeOf(ASK_PICOUSD),
    );
    const played = proxy.play(...faults);
    const admissions = await Promise.all(
      Array.from({ length: 4 }, (_each, i) =>
        gate.admit(caller, intentOf({ context: { run: "run_1", step: `step ${i}` } })),
      ),
    );
    await played;
    const permits = admissions.map(permitOf);
    expect(permits.map(({ attempt }) => attempt)).toEqual([1, 1, 1, 1]);
    expect(permits.map(({ meters }) => meters.length)).toEqual([1, 1, 1, 1]);
    expect(await decisions(caller.tenantId)).toEqual({ allow: 5 });
    for (const permit of permits) await gate.end(permit, endingOf("succeeded"), chargeOf(10n));
    expect(await ledgerViolations(database.db.admin, caller.tenantId, true)).toEqual([]);
    const [meter] = await database.db.admin`
      select committed, reserved from meters where tenant_id = ${caller.tenantId}`;
    expect([meter?.["committed"], meter?.["reserved"]]).toEqual([String(ASK_PICOUSD + 40n), "0"]);
  });

  test("after its commit tells a refusal as it was recorded, with its figures", async () => {
    const limits = [{ id: "lim", scope: "tenant", unit: "usd", amount: 3n * ASK_PICOUSD }];
    const caller = await newTenant(gate, limits);
    await gate.end(
      permitOf(await gate.admit(caller)),
      endingOf("succeeded"),
      chargeOf(ASK_PICOUSD),
    );
    await gate.end(
      permitOf(await gate.admit(caller)),
      endingOf("succeeded"),
      chargeOf(ASK_PICOUSD),
    );
    const played = proxy.play("swallow the answer");
    const admissions = await Promise.all([
      gate.admit(caller),
      gate.admit(caller, intentOf({ demand: { inputBytes: 1_000_000 } })),
    ]);
    await played;
    expect(admissions.map(reasonOf)).toEqual(["admitted", "budget_exceeded"]);
    const [, refused] = admissions;
    if (refused?.kind !== "refused") throw new Error("it was refused");
    expect(refused.refusal.meter).toMatchObject({
      limit: 3n * ASK_PICOUSD,
      committed: 2n * ASK_PICOUSD,
    });
    expect(await decisions(caller.tenantId)).toEqual({ allow: 3, block: 1 });
  });

  test("is not told as allowed when it was given up meanwhile", async () => {
    const caller = await newTenant(gate);
    await gate.end(permitOf(await gate.admit(caller)), endingOf("succeeded"), chargeOf(1n));
    // Somebody takes every reservation as soon as it is made: as a sweep would after a lease ran out.
    await database.db.admin.unsafe(`
      create function lose() returns trigger language plpgsql as $$
      begin new.state := 'unknown'; new.unknown_at := tollgate_now(); return new; end $$;
      create trigger lose before insert on reservations for each row execute function lose()`);
    try {
      const played = proxy.play("swallow the answer");
      await expect(gate.admit(caller)).rejects.toThrow("The gate cannot record its decision now.");
      await played;
    } finally {
      await database.db.admin.unsafe("drop function lose() cascade");
    }
    await gate.idle();
  });
});
