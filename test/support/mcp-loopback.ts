/**
 * Preloaded into a published MCP server that can be told neither to listen on loopback alone nor to say which port
 * it was given: here it listens on a free port of 127.0.0.1, and tells it to the process that started it.
 */
import { Server } from "node:net";

const listen = Reflect.get(Server.prototype, "listen") as (...args: unknown[]) => Server;

Server.prototype.listen = function listenOnLoopback(this: Server, ...args: unknown[]): Server {
  const callbacks = args.filter((value) => typeof value === "function");
  this.once("listening", () => {
    const address = this.address();
    if (address !== null && typeof address !== "string") process.send?.({ port: address.port });
  });
  return Reflect.apply(listen, this, [0, "127.0.0.1", ...callbacks]);
};
