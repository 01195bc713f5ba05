import { type Price, priceBook } from "../core/price.ts";
import { demoPrices } from "../core/price-snapshot.ts";
import type { Configuration, Upstream } from "../gate/authority.ts";
import type { Config } from "./config.ts";

/** Short names for the built-in upstream's models. */
const DEMO_ALIASES: Readonly<Record<string, string>> = {
  "demo/chat": "demo/demo-chat",
  "demo/small": "demo/demo-small",
  "demo/embedding": "demo/demo-embedding",
};

/** The configured upstreams, and last the built-in one, which a runtime that cannot listen lacks: null. */
export function configurationOf(
  config: Config,
  demoUrl: string | null,
  parts: {
    readonly listed: readonly Price[];
    readonly pepper: string;
    readonly adminDigest: string;
  },
): Configuration {
  const { listed, ...secrets } = parts;
  const upstreams = config.upstreams.map((each): Upstream => {
    const { origin, pathname } = new URL(each.baseUrl);
    return { ...each, origin, basePath: pathname.replace(/\/+$/, "") };
  });
  const servers = new Map(config.mcpServers.map((server) => [server.name, server]));
  if (demoUrl === null) {
    return {
      ...secrets,
      catalogue: { upstreams: config.upstreams, aliases: config.aliases },
      upstreams: new Map(upstreams.map((upstream) => [upstream.name, upstream])),
      servers,
      prices: priceBook(listed, config.prices),
    };
  }
  const demo = new URL(demoUrl);
  upstreams.push({
    name: "demo",
    origin: demo.origin,
    basePath: demo.pathname,
    apiKey: null,
    headers: {},
    timeoutMs: 60_000,
    outputLimitField: "max_completion_tokens",
    priceList: "demo",
    // It stores nothing.
    sharedObjects: true,
  });
  return {
    ...secrets,
    catalogue: {
      upstreams: [...config.upstreams, { name: "demo", models: ["demo-*"] }],
      aliases: { ...DEMO_ALIASES, ...resolved(config.aliases) },
    },
    upstreams: new Map(upstreams.map((upstream) => [upstream.name, upstream])),
    servers,
    prices: priceBook([...listed, ...demoPrices()], config.prices),
  };
}

/** An alias leads to a model and not to another alias: one to a short demo name means what that one means. */
function resolved(aliases: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  const entries = Object.entries(aliases);
  return Object.fromEntries(entries.map(([name, to]) => [name, DEMO_ALIASES[to] ?? to]));
}
