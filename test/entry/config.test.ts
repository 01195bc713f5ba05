import { describe, expect, test } from "vitest";

import { rateOf } from "../../src/core/price.ts";
import {
  ConfigError,
  isLoopback,
  readConfig,
  type Config,
  type Env,
} from "../../src/entry/config.ts";
import { nearest } from "../../src/lib/nearest.ts";

const CANARY = "sk-canary-0123456789";

/** Reads a configuration whose default file has this text; null is no file. */
function read(env: Env, yaml: string | null = null): Config {
  return readConfig(env, { read: (path) => (path === "./tollgate.yaml" ? yaml : null) });
}

/** The mistakes, as `where: message`. */
function mistakes(env: Env, yaml: string | null = null): readonly string[] {
  try {
    read(env, yaml);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    expect(error.message).not.toContain(CANARY);
    return error.problems.map(({ where, message }) => `${where}: ${message}`);
  }
  return [];
}

/** Exactly these mistakes, each told with these words. */
function check(found: readonly string[], ...expected: readonly RegExp[]): void {
  expect(found, found.join("\n")).toHaveLength(expected.length);
  for (const [at, pattern] of expected.entries()) expect(found[at]).toMatch(pattern);
}

const UPSTREAM = "{ name: a, kind: openai, base_url: https://a.test/v1, models: ['*'] }";

describe("the environment", () => {
  test("an empty one starts on the loopback with the embedded database and no upstream", () => {
    expect(read({})).toEqual({
      host: "127.0.0.1",
      port: 8787,
      databaseUrl: null,
      dataDirectory: "./.tollgate",
      processes: null,
      adminKey: null,
      sealingKeys: [],
      logLevel: "info",
      upstreams: [],
      aliases: {},
      allowsPrivateWebhooks: false,
      mcpServers: [],
      prices: [],
      configFile: null,
    });
  });

  test("every variable is read", () => {
    const config = read({
      HOST: "0.0.0.0",
      PORT: "0",
      DATABASE_URL: "postgres://u:p@h:5432/d",
      TOLLGATE_DATA: "/var/lib/tollgate",
      TOLLGATE_PROCESSES: "4",
      TOLLGATE_ADMIN_KEY: "k".repeat(32),
      TOLLGATE_SEALING_KEY: `${"n".repeat(32)} ${"o".repeat(32)}`,
      TOLLGATE_URL: "http://x",
      TOLLGATE_KEY: "tg_x",
      LOG_LEVEL: "WARN",
    });
    expect(config).toMatchObject({ host: "0.0.0.0", port: 0, adminKey: "k".repeat(32) });
    expect(config).toMatchObject({ dataDirectory: "/var/lib/tollgate", logLevel: "warn" });
    expect(config.sealingKeys).toEqual(["n".repeat(32), "o".repeat(32)]);
    expect(config).toMatchObject({ databaseUrl: "postgres://u:p@h:5432/d", processes: 4 });
  });

  test.each<[Env, RegExp]>([
    [{ TOLLGATE_DTA: "x" }, /^TOLLGATE_DTA: no such variable\. Did you mean TOLLGATE_DATA\?/],
    [{ TOLLGATE_REPLICA: "4" }, /^TOLLGATE_REPLICA: no such variable\..* Known: TOLLGATE_DATA/],
    [{ TOLLGATE_PROCESSES: "4" }, /^TOLLGATE_PROCESSES: must be 1 on the embedded database/],
    [{ TOLLGATE_PROCESSES: "0" }, /^TOLLGATE_PROCESSES: must be a whole number from 1 to 256/],
    [{ TOLLGATE_PROCESSES: "257" }, /^TOLLGATE_PROCESSES: must be a whole number/],
    [{ TOLLGATE_PROCESSES: "-1" }, /^TOLLGATE_PROCESSES: must be a whole number/],
    [{ TOLLGATE_PROCESSES: "two" }, /^TOLLGATE_PROCESSES: must be a whole number/],
    [{ TOLLGATE_PROCESSES: "" }, /^TOLLGATE_PROCESSES: set but empty/],
    [{ PORT: "99999" }, /^PORT: must be a whole number from 0/],
    [{ PORT: "80a" }, /^PORT: must be/],
    [{ PORT: "" }, /^PORT: set but empty/],
    [{ HOST: "http://127.0.0.1" }, /^HOST: an address or name only/],
    [{ HOST: "localhost:80" }, /^HOST: an address or name only/],
    [{ DATABASE_URL: `mysql://u:${CANARY}@h/d` }, /^DATABASE_URL: must be a PostgreSQL URL/],
    [{ DATABASE_URL: CANARY }, /^DATABASE_URL: must be a PostgreSQL URL/],
    [{ DATABASE_URL: "" }, /^DATABASE_URL: set but empty/],
    [{ TOLLGATE_ADMIN_KEY: CANARY }, /^TOLLGATE_ADMIN_KEY: 20 characters, and at least 32/],
    [{ TOLLGATE_ADMIN_KEY: "" }, /^TOLLGATE_ADMIN_KEY: set but empty/],
    [{ TOLLGATE_ADMIN_KEY: `${CANARY} ${CANARY}` }, /^TOLLGATE_ADMIN_KEY: must be printable/],
    [
      { TOLLGATE_ADMIN_KEY: `tg_${"k".repeat(40)}` },
      /^TOLLGATE_ADMIN_KEY: must not start with tg_/,
    ],
    [
      { TOLLGATE_SEALING_KEY: CANARY },
      /^TOLLGATE_SEALING_KEY: must be printable ASCII of at least 32/,
    ],
    [{ TOLLGATE_SEALING_KEY: "" }, /^TOLLGATE_SEALING_KEY: set but empty/],
    [
      { TOLLGATE_SEALING_KEY: `${"n".repeat(32)} ${CANARY}` },
      /^TOLLGATE_SEALING_KEY: must be printable ASCII of at least 32 .* one here has 20/,
    ],
    [
      { TOLLGATE_SEALING_KEY: Array.from({ length: 3 }, () => "n".repeat(32)).join(" ") },
      /^TOLLGATE_SEALING_KEY: must be one key, or the new one, a space, and the old one/,
    ],
    [{ LOG_LEVEL: "wran" }, /^LOG_LEVEL: must be one of .*Did you mean warn\?/],
    [{ TOLLGATE_CONFIG: "other.yaml" }, /^TOLLGATE_CONFIG: there is no file other\.yaml/],
    [{ OPENAI_API_KEY: `${CANARY}\n${CANARY}` }, /^OPENAI_API_KEY: must be printable/],
  ])("%j is refused with its remedy", (env, expected) => {
    check(mistakes(env), expected);
  });

  test.each(["0.0.0.0", "::", "10.0.0.4", "gateway.internal", "127.0.0.1.evil.test"])(
    "a host that others can reach (%s) is refused without an administration key",
    (host) => check(mistakes({ HOST: host }), /^TOLLGATE_ADMIN_KEY: required because HOST/),
  );

  test.each(["127.0.0.1", "127.9.9.9", "localhost", "::1", "[::1]"])(
    "a loopback host (%s) needs no administration key",
    (host) => {
      expect(isLoopback(host)).toBe(true);
      check(mistakes({ HOST: host }));
    },
  );

  test("webhooks go to private addresses only where the file says so", () => {
    expect(read({}).allowsPrivateWebhooks).toBe(false);
    expect(read({}, "webhooks: {}\n").allowsPrivateWebhooks).toBe(false);
    expect(read({}, "webhooks: { allow_private: true }\n").allowsPrivateWebhooks).toBe(true);
    check(
      mistakes({}, "webhooks: { allow_private: maybe }\n"),
      /^tollgate\.yaml:1:28: .*allow_private must be true or false/,
    );
    check(
      mistakes({}, "webhooks: { allow_privat: true }\n"),
      /^tollgate\.yaml:1:13: unknown key allow_privat\. Did you mean allow_private\?/,
    );
    check(mistakes({}, "webhooks: yes please\n"), /^tollgate\.yaml:1:11: .*must be an object/);
  });

  test("an MCP server that would have to be started is told to be put behind HTTP, and its keys nothing else", () => {
    const server = "{ name: fs, command: npx, args: ['-y', 'some-server'] }";
    check(
      mistakes({}, `mcp_servers:\n  - ${server}\n`),
      /^tollgate\.yaml:2:17: no process is started from here: put the server behind streamable HTTP and name its url \(docs\/mcp\.md/,
    );
    check(
      mistakes({}, "mcp_servers: [{ name: fs, url: 'http://u:p@h/mcp' }]\n"),
      /mcp_servers\[0\]\.url must be a URL without user and password: use headers$/,
    );
  });

  test("all mistakes are told at once, of the environment and of the file", () => {
    const found = mistakes({ PORT: "x", LOG_LEVEL: "x", TOLLGATE_X: "1" }, "upstreams: 4\n");
    check(
      found,
      /^TOLLGATE_X/,
      /^PORT/,
      /^LOG_LEVEL/,
      /^tollgate\.yaml:1:12: upstreams must be a list/,
    );
  });

  test("a file that cannot be read is a mistake and not an absent file", () => {
    const files = {
      read: () => {
        throw new Error("EACCES: permission denied");
      },
    };
    expect(() => readConfig({}, files)).toThrow(/tollgate\.yaml: cannot be read: EACCES/);
  });
});

describe("OPENAI_API_KEY", () => {
  test("configures OpenAI without a file", () => {
    const [openai, ...rest] = read({ OPENAI_API_KEY: "sk-1" }).upstreams;
    expect(rest).toEqual([]);
    expect(openai).toMatchObject({
      name: "openai",
      baseUrl: "https://api.openai.com/v1",
      apiKey: "sk-1",
    });
    expect(openai?.models).not.toContain("*");
  });

  test("is not used when the file has its own openai", () => {
    const yaml =
      "upstreams: [{ name: openai, kind: openai, base_url: http://x/v1, models: ['m'] }]";
    const { upstreams } = read({ OPENAI_API_KEY: "sk-1" }, yaml);
    expect(upstreams).toMatchObject([{ name: "openai", baseUrl: "http://x/v1", apiKey: null }]);
  });

  test("comes after the upstreams of the file, so that theirs are asked first", () => {
    const { upstreams } = read({ OPENAI_API_KEY: "sk-1" }, `upstreams: [${UPSTREAM}]`);
    expect(upstreams.map(({ name }) => name)).toEqual(["a", "openai"]);
  });

  test("set but empty is not set, for it is not a variable of ours", () => {
    expect(read({ OPENAI_API_KEY: "" }).upstreams).toEqual([]);
  });
});

describe("the file", () => {
  test("the example of the documentation is read as it stands", () => {
    const yaml = `
upstreams:
  - name: openai
    kind: openai                       # the wire it speaks
    base_url: https://api.openai.com/v1
    api_key: \${OPENAI_API_KEY}
    models: ["gpt-*", "o*", "text-embedding-*"]
aliases: { fast: openai/gpt-5-mini }   # optional
prices:                                # optional overrides, USD per million
  - { upstream: openai, model: my-finetune, input: 3.00, cached_input: 0.30, output: 12.00 }
`;
    const config = read({ OPENAI_API_KEY: "sk-1" }, yaml);
    expect(config.configFile).toBe("./tollgate.yaml");
    expect(config.upstreams).toEqual([
      {
        name: "openai",
        kind: "openai",
        baseUrl: "https://api.openai.com/v1",
        apiKey: "sk-1",
        models: ["gpt-*", "o*", "text-embedding-*"],
        headers: {},
        timeoutMs: 600_000,
        outputLimitField: "max_completion_tokens",
        priceList: "openai",
        sharedObjects: false,
      },
    ]);
    expect(config.aliases).toEqual({ fast: "openai/gpt-5-mini" });
    expect(config.prices).toMatchObject([
      {
        upstream: "openai",
        model: "my-finetune",
        from: new Date(0),
        rates: { input: 3_000_000n, cache_read: 300_000n, output: 12_000_000n },
        source: "config",
      },
    ]);
  });

  test("every optional member of an upstream is read", () => {
    const yaml = `
upstreams:
  - name: b-1
    kind: openai
    base_url: http://127.0.0.1:9/v1//
    models: []
    headers: { X-Team: "\${TEAM}-x", api-key: k }
    timeout_ms: 5000
    output_limit_field: max_tokens
    prices: groq
`;
    expect(read({ TEAM: "red" }, yaml).upstreams).toEqual([
      {
        name: "b-1",
        kind: "openai",
        baseUrl: "http://127.0.0.1:9/v1",
        apiKey: null,
        models: [],
        headers: { "x-team": "red-x", "api-key": "k" },
        timeoutMs: 5000,
        outputLimitField: "max_tokens",
        priceList: "groq",
        sharedObjects: false,
      },
    ]);
  });

  test.each(["", "# nothing yet\n", "upstreams:\naliases:\nprices:\n"])(
    "a file without content (%j) is sound",
    (yaml) => check(mistakes({}, yaml)),
  );

  test.each<[string, string, ...RegExp[]]>([
    [
      "unknown key",
      "upstream: []",
      /^tollgate\.yaml:1:1: unknown key upstream\. Did you mean upstreams\?/,
    ],
    ["not an object", "- a", /:1:1: the file must be an object with upstreams/],
    [
      "unknown key of an upstream",
      "upstreams:\n  - name: a\n    kind: openai\n    modles: ['*']\n    base_url: http://a",
      /:2:5: upstreams\[0\]\.models is missing/,
      /:4:5: unknown key modles\. Did you mean models\?/,
    ],
    [
      "another wire",
      "upstreams: [{ name: a, kind: anthropic, base_url: http://a, models: [] }]",
      /:1:30: upstreams\[0\]\.kind must be openai/,
    ],
    [
      "two of one name",
      `upstreams:\n  - ${UPSTREAM}\n  - ${UPSTREAM}`,
      /:3:13: a second upstream called a: rename one/,
    ],
    [
      "the name of the built-in upstream",
      `upstreams: [${UPSTREAM.replace("name: a", "name: demo")}]`,
      /demo is the built-in upstream/,
    ],
    [
      "a provider without a price list",
      `upstreams: [${UPSTREAM.replace(" }", ", prices: gorq }")}]`,
      /prices: no provider of that name in the price list\. Did you mean groq\?/,
    ],
    [
      "a header of the gateway's own",
      `upstreams: [${UPSTREAM.replace(" }", ", headers: { Host: x } }")}]`,
      /headers: this header is made by the gateway/,
    ],
    [
      "a header with a line break",
      `upstreams: [${UPSTREAM.replace(" }", `, headers: { x-a: "${CANARY}\\r\\nb: c" } }`)}]`,
      /headers: must be printable ASCII in one line/,
    ],
    [
      "two credentials",
      `upstreams: [${UPSTREAM.replace(" }", `, api_key: ${CANARY}, headers: { Authorization: x } }`)}]`,
      /api_key and the header authorization: keep one/,
    ],
    [
      "a second key of one name",
      "aliases: { a: demo/x, a: demo/y }",
      /:1:23: this key stands twice/,
    ],
    [
      "an alias to nowhere",
      "aliases: { f: gpt-4o }",
      /:1:15: alias f points at a model that no upstream serves/,
    ],
    [
      "an alias to a misspelt upstream",
      "aliases: { f: deno/x }",
      /one of demo\. Did you mean demo\?/,
    ],
    [
      "an alias to an alias",
      "aliases: { f: g, g: demo/x }",
      /:1:15: alias f points at another alias/,
    ],
    ["an alias to itself", "aliases: { f: f }", /points at another alias/],
    [
      "a price of an unknown upstream",
      `upstreams: [${UPSTREAM}]\nprices: [{ upstream: b, model: m, input: 1 }]`,
      /:2:22: upstream: no upstream of that name \(configured: a\)/,
    ],
    [
      "text that is not YAML",
      "upstreams: [",
      /^tollgate\.yaml:1:\d+: wrong indentation, or a bracket above it is open/,
    ],
    ["a tab", "upstreams:\n\t- a", /:2:\d+: a tab indents here: use spaces/],
    [
      "an anchor that does not exist",
      `aliases: { a: *${CANARY} }`,
      /:1:15: an alias names an anchor/,
    ],
    [
      "a member called __proto__",
      "aliases: { __proto__: demo/x }",
      /:1:12: no member is called __proto__/,
    ],
  ])("%s is refused with its place", (_, yaml, ...expected) => {
    check(mistakes({}, yaml), ...expected);
  });

  test.each([
    ["ftp://a.test", /must be an http or https URL/],
    ["a.test/v1", /must be an absolute URL/],
    [`https://u:${CANARY}@a.test/v1`, /must be a URL without user and password/],
    [`https://a.test/v1?key=${CANARY}`, /must be a URL without a query/],
    ["https://a.test/v1#x", /must be a URL without a fragment/],
    ["https://a.test\\@b.test", /must be an absolute URL/],
    ["https://a.test/a b", /must be an absolute URL/],
  ])("the base URL %s is refused", (url, expected) => {
    const yaml = `upstreams: [{ name: a, kind: openai, models: [], base_url: '${url}' }]`;
    check(mistakes({}, yaml), expected);
  });

  test.each([
    ["5", /must be a key in printable ASCII/],
    [`"${CANARY} ${CANARY}"`, /must be a key in printable ASCII/],
    [`[${CANARY}]`, /must be a key in printable ASCII/],
    [`{ ${CANARY}`, /closing quote, bracket|unexpected text|indentation/],
    [`"${CANARY}`, /closing quote/],
    [`"${CANARY}\\q"`, /unknown escape/],
    [`!${CANARY} x`, /unknown tag/],
  ])("a broken key (%s) is refused without being repeated", (key, expected) => {
    const found = mistakes({}, `upstreams:\n  - ${UPSTREAM.replace(" }", `, api_key: ${key} }`)}`);
    expect(found.length).toBeGreaterThan(0);
    expect(found.join("\n")).toMatch(expected);
  });

  test("one broken upstream does not hide the mistakes of another, nor invent new ones", () => {
    const yaml = [
      "upstreams:",
      "  - { name: a, kind: openai, base_url: x, models: ['*'] }",
      "  - { name: b, kind: openai, base_url: http://b, models: ['*'], timeout_ms: 0.5 }",
      "aliases: { f: a/m }",
    ].join("\n");
    check(
      mistakes({}, yaml),
      /:2:40: .*base_url/,
      /:3:77: .*timeout_ms must be whole milliseconds/,
    );
  });
});

describe("variables in the file", () => {
  const yaml = (value: string) =>
    `upstreams:\n  - ${UPSTREAM.replace(" }", `, api_key: ${value} }`)}`;

  test.each([
    ['"${KEY}"', "v1"],
    ['"a${KEY}b${KEY}"', "av1bv1"],
    ['"$KEY"', "$KEY"],
  ])("%s becomes %s", (value, expected) => {
    expect(read({ KEY: "v1" }, yaml(value)).upstreams[0]?.apiKey).toBe(expected);
  });

  test("a value is not expanded twice", () => {
    expect(read({ KEY: "${OTHER}", OTHER: "x" }, yaml('"${KEY}"')).upstreams[0]?.apiKey).toBe(
      "${OTHER}",
    );
  });

  test.each<[string, Env, RegExp]>([
    ['"${KEY}"', {}, /:2:83: the environment variable KEY is not set/],
    ['"${KEY}"', { KEY: "" }, /:2:83: the environment variable KEY is empty/],
    ['"${OPENAI_KEY}"', { OPENAI_KE: CANARY }, /OPENAI_KEY is not set.*Did you mean OPENAI_KE\?/],
    ['"${KEY"', { KEY: CANARY }, /\$\{ starts the name of an environment variable/],
    ['"${}"', {}, /\$\{ starts the name of an environment variable/],
    ['"${A-B}"', {}, /\$\{ starts the name of an environment variable/],
  ])("%s with %j is told with line and column, and once", (value, env, expected) => {
    check(mistakes(env, yaml(value)), expected);
  });

  test("keys, comments and numbers are left alone", () => {
    const text = "# ${NOT_SET}\naliases: { '${F}': demo/x }\n";
    expect(read({}, text).aliases).toEqual({ "${F}": "demo/x" });
  });
});

describe("prices in the file", () => {
  const prices = (entry: string) => `upstreams: [${UPSTREAM}]\nprices:\n  - ${entry}`;

  test.each([
    ["0.1", 100_000n],
    ["3.000000", 3_000_000n],
    ["0.000001", 1n],
    ["1e-6", 1n],
    ["'2.5'", 2_500_000n],
    ["9007199254.740993", 9_007_199_254_740_993n],
    ["0", 0n],
  ])("a rate of %s is exact", (rate, expected) => {
    const { prices: read_ } = read({}, prices(`{ upstream: a, model: m, input: ${rate} }`));
    expect(read_[0]?.rates.input).toBe(expected);
  });

  test.each<[string, ...RegExp[]]>([
    ["{ upstream: a, model: m, input: -1 }", /:3:37: prices\[0\]\.input must be USD per million/],
    ["{ upstream: a, model: m, input: 0.0000001 }", /at most 6 decimals/],
    ["{ upstream: a, model: m, input: .inf }", /must be USD per million/],
    ["{ upstream: a, model: m, input: 0x10 }", /must be USD per million/],
    ["{ upstream: a, model: m, input: free }", /must be USD per million/],
    ["{ upstream: a, model: m, input: [1] }", /must be USD per million/],
    ["{ upstream: a, model: m }", /:3:5: a price without a rate/],
    ["{ upstream: a, input: 1 }", /prices\[0\]\.model is missing/],
    [
      "{ upstream: a, model: m, inptu: 1 }",
      /unknown key inptu\. Did you mean input\?/,
      /without a rate/,
    ],
    ["{ upstream: a, model: m, input: 1, from: 2025-02-30 }", /from must be a date in UTC/],
    ["{ upstream: a, model: m, input: 1, from: soon }", /from must be a date in UTC/],
    [
      "{ upstream: a, model: m, input: 1, output_tokens_max: 1.5 }",
      /must be a whole number of tokens/,
    ],
    ["{ upstream: a, model: m, usd_per_hour: 2, input: 1 }", /:3:5: .*usd_per_hour or by usage/],
    ["{ upstream: a, model: m, usd_per_hour: -2 }", /usd_per_hour must be USD an hour/],
    ["{ upstream: a, model: m, usd_per_hour: 2, concurrency: 0 }", /concurrency must be calls/],
    ["{ upstream: a, model: m, input: 2, concurrency: 2 }", /concurrency goes with usd_per_hour/],
    ["{ upstream: a, model: '*', input: 2 }", /only a price with usd_per_hour is of all models/],
    ["{ upstream: a, model: m, cached_input: 1, cache_read: 1 }", /are the same: keep one/],
    [
      "{ upstream: a, model: m, input: 1 }\n  - { upstream: a, model: m, output: 1 }",
      /:4:5: a second price of m from the same date/,
    ],
  ])("%s is refused", (entry, ...expected) => {
    check(mistakes({}, prices(entry)).toSorted(), ...expected);
  });

  test("two prices of one model from different dates are a change of price", () => {
    const entries = [
      "{ upstream: a, model: m, input: 1 }",
      "{ upstream: a, model: m, input: 2, from: 2026-01-31 }",
    ];
    const rows = read({}, prices(entries.join("\n  - "))).prices;
    expect(rows.map(({ from }) => from.toISOString())).toEqual([
      "1970-01-01T00:00:00.000Z",
      "2026-01-31T00:00:00.000Z",
    ]);
  });

  test("every class of usage can be priced, and a model may look like a number", () => {
    const entry = "{ upstream: a, model: 4.10, seconds: 100, requests: 5, reasoning: 7 }";
    const [price] = read({}, prices(entry)).prices;
    expect(price?.model).toBe("4.10");
    expect(price && rateOf(price.rates, "seconds")).toBe(100_000_000n);
    expect(price && rateOf(price.rates, "requests")).toBe(5_000_000n);
  });

  test("a machine is paid by the hour, for one model or for all of its upstream", () => {
    const entries = [
      "{ upstream: a, model: '*', usd_per_hour: 2.49, output_tokens_max: 4096 }",
      "{ upstream: a, model: m, usd_per_hour: 0.1, concurrency: 16 }",
    ];
    expect(read({}, prices(entries.join("\n  - "))).prices).toMatchObject([
      { model: "*", rates: {}, hourly: { picousdPerHour: 2_490_000_000_000n, concurrency: 1 } },
      { model: "m", rates: {}, hourly: { picousdPerHour: 100_000_000_000n, concurrency: 16 } },
    ]);
  });

  test("an override keeps the size of the listed model, unless it states its own", () => {
    const yaml = (more: string) =>
      `upstreams: [${UPSTREAM.replace(" }", ", prices: openai }")}]\n` +
      `prices: [{ upstream: a, model: gpt-4o, input: 1, output: 2${more} }]`;
    expect(read({}, yaml("")).prices[0]).toMatchObject({ outputTokensMax: 16_384 });
    expect(read({}, yaml(", output_tokens_max: 77")).prices[0]).toMatchObject({
      outputTokensMax: 77,
    });
  });
});

test("a bomb of aliases is refused and not unfolded", () => {
  const lines = ["a: &a [x, x, x, x, x, x, x, x, x]"];
  for (let at = 1; at < 12; at += 1) {
    const before = String.fromCharCode(96 + at);
    const name = String.fromCharCode(97 + at);
    lines.push(`${name}: &${name} [${Array.from({ length: 9 }, () => `*${before}`).join(", ")}]`);
  }
  expect(mistakes({}, lines.join("\n")).join("\n")).toMatch(/more values than a configuration has/);
});

test.each([
  ["TOLLGATE_DTA", "TOLLGATE_DATA"],
  ["modles", "models"],
  ["xyz", null],
  ["x".repeat(100), null],
])("the nearest known name to %s is %s", (name, expected) => {
  expect(nearest(name, ["TOLLGATE_DATA", "TOLLGATE_CONFIG", "models", "name"])).toBe(expected);
});
