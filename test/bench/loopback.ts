/**
 * Preloaded into a gateway that would listen on every interface: it listens on loopback only, and ends
 * with the bench that started it. It changes nothing else of the program.
 */
import { Server } from "node:net";

const listen = Reflect.get(Server.prototype, "listen") as (...args: unknown[]) => Server;

Server.prototype.listen = function listenOnLoopback(this: Server, ...args: unknown[]): Server {
  const [port, ...rest] = args;
  if (typeof port !== "number") return Reflect.apply(listen, this, args);
  return Reflect.apply(listen, this, [
    port,
    "127.0.0.1",
    ...rest.filter((value) => typeof value === "function"),
  ]);
};
