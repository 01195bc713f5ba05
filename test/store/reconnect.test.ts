import { once } from "node:events";
import { connect as connectTo, createServer, type AddressInfo, type Socket } from "node:net";
import { expect, test } from "vitest";
import { open } from "../../src/store/database.ts";
import { describeOnPostgres } from "../support/databases.ts";

const ROUNDS = 3;

/** Leads to `port`, and can end everything at once, politely, as a server that stops does. */
async function startEndable(port: number) {
  const clients = new Set<Socket>();
  const server = createServer((client) => {
    const behind = connectTo(port, "127.0.0.1");
    client.pipe(behind).pipe(client);
    for (const socket of [client, behind]) socket.on("error", () => undefined);
    clients.add(client);
    client.on("close", () => {
      clients.delete(client);
      behind.destroy();
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    port: (server.address() as AddressInfo).port,
    endAll: () => {
      for (const client of clients) client.destroy();
    },
    close: () => server.close(),
  };
}

describeOnPostgres("a query that is queued while its connection closes", (database) => {
  test("fails at once, and the next one finds a new connection", async () => {
    const { address } = database;
    if (address.kind !== "url") throw new Error("a URL is needed");
    const url = new URL(address.url);
    const proxy = await startEndable(Number(url.port));
    url.port = String(proxy.port);
    const sql = open({ kind: "url", url: url.href }, 1, { readsArrays: false });
    const answer = async () => (await sql`select 1 as one`)[0]?.["one"];
    try {
      for (let round = 0; round < ROUNDS; round += 1) {
        // Opened before the driver's first connection of the round is used, and so told first of the end.
        const early = connectTo(proxy.port, "127.0.0.1");
        await once(early, "connect");
        expect(await answer()).toBe(1);
        const queued = once(early, "close").then(answer);
        proxy.endAll();
        await expect(queued).rejects.toThrow("CONNECTION_CLOSED");
        // In a turn of its own the driver would never greet the server again, and time out.
        expect(await answer()).toBe(1);
      }
    } finally {
      await sql.end({ timeout: 1 });
      proxy.close();
    }
  });
});
