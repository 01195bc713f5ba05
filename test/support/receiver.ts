import { createServer, type IncomingHttpHeaders, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

type ReceivedMessage = {
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  readonly path: string;
};

/** What the receiver does with the next message. */
type Reception =
  | { readonly kind: "answer"; readonly status: number; readonly headers?: Record<string, string> }
  /** Takes the message and never answers. */
  | { readonly kind: "hang" }
  /** Closes the connection without an answer. */
  | { readonly kind: "reset" }
  /** Sends a head, and a body without an end. */
  | { readonly kind: "flood"; readonly status: number };

export type Receiver = {
  /** `http://127.0.0.1:…` */
  readonly url: string;
  readonly port: number;
  readonly messages: readonly ReceivedMessage[];
  /** Bytes of answers that it could write. */
  readonly written: () => number;
  /** What is done with the messages to come, one each; afterwards the last one of them for all. */
  readonly plays: (...receptions: readonly Reception[]) => void;
  /** Resolves when so many messages have come. */
  readonly received: (count: number) => Promise<void>;
  readonly close: () => Promise<void>;
};

/** A real receiver of webhooks on this machine; it takes every message until it is told otherwise. */
export async function startReceiver(port = 0): Promise<Receiver> {
  const messages: ReceivedMessage[] = [];
  const waiting: { readonly count: number; readonly wake: () => void }[] = [];
  let plan: Reception[] = [{ kind: "answer", status: 204 }];
  let written = 0;
  const flood = (response: ServerResponse): void => {
    const chunk = Buffer.alloc(16 * 1024);
    const write = (): void => {
      while (!response.destroyed) {
        written += chunk.length;
        if (!response.write(chunk)) break;
      }
    };
    response.on("drain", write);
    response.on("error", () => undefined);
    write();
  };
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("error", () => undefined);
    request.on("end", () => {
      const body = Buffer.concat(chunks).toString();
      messages.push({ headers: flat(request.headers), body, path: request.url ?? "" });
      for (const { count, wake } of waiting) if (messages.length >= count) wake();
      const next = (plan.length > 1 ? plan.shift() : plan[0]) ?? { kind: "hang" };
      if (next.kind === "answer") response.writeHead(next.status, next.headers).end("taken");
      if (next.kind === "reset") request.socket.destroy();
      if (next.kind === "flood") flood(response.writeHead(next.status));
    });
  });
  await new Promise<void>((done) => server.listen(port, "127.0.0.1", done));
  const address = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${address.port}`,
    port: address.port,
    messages,
    written: () => written,
    plays: (...receptions) => {
      plan = [...receptions];
    },
    received: (count) =>
      messages.length >= count
        ? Promise.resolve()
        : new Promise((wake) => waiting.push({ count, wake })),
    close: async () => {
      server.closeAllConnections();
      await new Promise((done) => server.close(done));
    },
  };
}

function flat(headers: IncomingHttpHeaders): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, String(value)]));
}
