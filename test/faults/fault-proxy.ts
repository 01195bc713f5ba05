import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";

/**
 * A TCP proxy on loopback that can be told to misbehave. It stands between two programs that know
 * nothing of it: gateway and PostgreSQL, client and gateway, gateway and upstream.
 */
export type FaultProxy = {
  readonly port: number;
  /** Where new connections lead; null refuses them. Connections that stand go on to where they led. */
  readonly lead: (port: number | null) => void;
  /** Every chunk arrives so much later, in order. */
  readonly slow: (byMs: number) => void;
  /** Resets (RST, not FIN) whatever is open now. */
  readonly reset: () => void;
  /** Half-open: nothing passes any more, in neither direction, and nothing is closed. */
  readonly freeze: () => void;
  /**
   * Lets the server have what the client sends, drops what it answers, and resets the connection after
   * the first answer that was dropped: the commit happened, its acknowledgement was lost.
   * Answers how many connections lost one, once `end` is called.
   */
  readonly swallow: () => { readonly end: () => number };
  /** The server has what the client sends, and nothing of what it answers arrives; nothing is closed. */
  readonly mute: () => void;
  /** Passes everything again; what stood frozen is reset, as its peers would find it. */
  readonly heal: () => void;
  readonly close: () => Promise<void>;
};

/** Time for a commit to happen behind the answer that is dropped. */
const SWALLOWED_RESET_MS = 30;

type Link = { readonly client: Socket; readonly server: Socket | null; swallowed: boolean };

type Behaviour = {
  target: number | null;
  delayMs: number;
  isFrozen: boolean;
  isMute: boolean;
  swallowing: Set<Link> | null;
  lost: number;
};

export async function startFaultProxy(target: number | null): Promise<FaultProxy> {
  const links = new Set<Link>();
  const state: Behaviour = {
    target,
    delayMs: 0,
    isFrozen: false,
    isMute: false,
    swallowing: null,
    lost: 0,
  };
  const proxy = createServer({ allowHalfOpen: true }, (client) => accept(client, links, state));
  proxy.listen(0, "127.0.0.1");
  await once(proxy, "listening");
  const address = proxy.address();
  if (address === null || typeof address === "string") throw new Error("no loopback port");
  const reset = (): void => {
    for (const link of links) cut(link);
  };
  return {
    port: address.port,
    lead: (port) => {
      state.target = port;
    },
    slow: (byMs) => {
      state.delayMs = byMs;
    },
    reset,
    freeze: () => {
      state.isFrozen = true;
      for (const { client, server } of links) {
        client.pause();
        server?.pause();
      }
    },
    swallow: () => {
      state.lost = 0;
      state.swallowing = new Set(links);
      return {
        end: () => {
          state.swallowing = null;
          return state.lost;
        },
      };
    },
    mute: () => {
      state.isMute = true;
    },
    heal: () => {
      const isBroken = state.isFrozen || state.isMute;
      Object.assign(state, { delayMs: 0, isFrozen: false, isMute: false, swallowing: null });
      if (isBroken) reset();
    },
    close: async () => {
      const closed = once(proxy, "close");
      proxy.close();
      reset();
      await closed;
    },
  };
}

function accept(client: Socket, links: Set<Link>, state: Behaviour): void {
  if (state.target === null) {
    client.resetAndDestroy();
    return;
  }
  if (state.isFrozen) {
    // Accepted by the kernel and then silent, as behind a firewall that drops.
    const silent: Link = { client, server: null, swallowed: false };
    links.add(silent);
    client.on("error", () => undefined).once("close", () => links.delete(silent));
    client.pause();
    return;
  }
  const server = connect({ port: state.target, host: "127.0.0.1", allowHalfOpen: true });
  client.setNoDelay(true);
  server.setNoDelay(true);
  const link: Link = { client, server, swallowed: false };
  links.add(link);
  client.once("close", () => links.delete(link));
  pass(client, server, { link, state, isAnswer: false });
  pass(server, client, { link, state, isAnswer: true });
}

type Direction = { readonly link: Link; readonly state: Behaviour; readonly isAnswer: boolean };

function pass(from: Socket, to: Socket, { link, state, isAnswer }: Direction): void {
  /** Whatever follows something delayed waits behind it, and each timer lets the first one go. */
  const delayed: (() => void)[] = [];
  const after = (act: () => void): void => {
    if (state.delayMs === 0 && delayed.length === 0) {
      act();
      return;
    }
    delayed.push(act);
    setTimeout(() => delayed.shift()?.(), state.delayMs);
  };
  from.on("data", (chunk) => {
    if (isAnswer && state.isMute) return;
    if (isAnswer && state.swallowing?.has(link) === true) {
      if (link.swallowed) return;
      link.swallowed = true;
      state.lost += 1;
      setTimeout(() => cut(link), SWALLOWED_RESET_MS);
      return;
    }
    after(() => {
      if (to.destroyed || to.writableEnded) return;
      if (to.write(chunk) || state.isFrozen) return;
      from.pause();
      to.once("drain", () => {
        if (!state.isFrozen) from.resume();
      });
    });
  });
  from.on("end", () => after(() => void to.end()));
  from.on("error", () => to.resetAndDestroy());
  from.once("close", () => after(() => void to.destroy()));
}

function cut({ client, server }: Link): void {
  client.resetAndDestroy();
  server?.resetAndDestroy();
}
