/**
 * Preloaded into Portkey's published gateway, for two things which it offers no option for:
 *
 * 1. It would listen on every interface; here it listens on loopback only.
 * 2. With `@hono/node-server` after 1.14.2, which a fresh install brings, every stream is answered 500
 *    (`TypeError: immutable`, its issue 1389): it makes a `Response` from the upstream's and then adds to
 *    headers that are the upstream's own. Here such a `Response` gets a copy of the headers, which is
 *    what its own proposed fix does; the copy costs microseconds of the milliseconds that a stream takes.
 */
import { Server } from "node:net";

const NativeResponse = globalThis.Response;

const copyHeadersOfResponses = (): void => {
  const Base = globalThis.Response;
  const isForeign = (init: unknown): boolean =>
    init instanceof NativeResponse && !(init instanceof Base);
  // Only a class can stand in for a global one.
  class MutableResponse extends Base {
    constructor(...[body, init]: ConstructorParameters<typeof Response>) {
      super(
        body,
        isForeign(init) ? { ...statusOf(init), headers: new Headers(init?.headers) } : init,
      );
    }
  }
  Object.defineProperty(globalThis, "Response", { value: MutableResponse });
};

const statusOf = (init: ConstructorParameters<typeof Response>[1]): ResponseInit => ({
  status: init?.status ?? 200,
  statusText: init?.statusText ?? "",
});

const listen = Reflect.get(Server.prototype, "listen") as (...args: unknown[]) => Server;

// By the time the gateway listens, its server library has put its own Response in place.
Server.prototype.listen = function listenOnLoopback(this: Server, ...args: unknown[]): Server {
  copyHeadersOfResponses();
  const [port, ...rest] = args;
  const callbacks = rest.filter((value) => typeof value === "function");
  return Reflect.apply(listen, this, [port, "127.0.0.1", ...callbacks]);
};
