import { once } from "node:events";
import { createServer, type IncomingMessage } from "node:http";
import { text } from "node:stream/consumers";

export type Posted = { readonly order: string; readonly id: string };

/**
 * A bank and a mail server in one, as a real HTTP server. They do what they are told, as often as they are
 * told, and keep a journal: what happened in the world, whatever anybody else believes.
 */
export type Bank = {
  readonly url: string;
  readonly wires: readonly Posted[];
  readonly notices: readonly Posted[];
  readonly close: () => Promise<void>;
};

export async function startBank(): Promise<Bank> {
  const wires: Posted[] = [];
  const notices: Posted[] = [];
  const post = (journal: Posted[], name: string, order: string): Posted => {
    const posted = { order, id: `${name}-${journal.length + 1}` };
    journal.push(posted);
    return posted;
  };
  const answer = async (request: IncomingMessage): Promise<Posted | null> => {
    const { order } = JSON.parse(await text(request)) as { readonly order: string };
    if (request.url === "/wires") return post(wires, "wire", order);
    return request.url === "/notices" ? post(notices, "notice", order) : null;
  };
  const server = createServer((request, response) => {
    void answer(request).then((posted) => {
      response.writeHead(posted === null ? 404 : 200, { "content-type": "application/json" });
      response.end(JSON.stringify(posted));
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no loopback port");
  return {
    url: `http://127.0.0.1:${address.port}`,
    wires,
    notices,
    close: async () => {
      const closed = once(server, "close");
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}
