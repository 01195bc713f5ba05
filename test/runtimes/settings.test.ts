import { expect, test } from "vitest";
import { ConfigError } from "../../src/entry/config.ts";
import { databaseUrlOf, readSettings } from "../../src/entry/worker/settings.ts";

const KEY = "0123456789abcdef0123456789abcdef";
const URL = "postgres://u:database-canary@127.0.0.1:5432/d";
const YAML = `upstreams:
  - { name: up, kind: openai, base_url: "https://up.test/v1", api_key: "\${UP_KEY}", models: ["*"] }
`;
const SOUND = { HYPERDRIVE: { connectionString: URL }, TOLLGATE_ADMIN_KEY: KEY };

type Row = {
  readonly name: string;
  readonly bindings: Readonly<Record<string, unknown>>;
  /** Where each mistake is, and what its sentence holds. */
  readonly told: readonly (readonly [where: string, message: RegExp])[];
};

const MISTAKES: readonly Row[] = [
  {
    name: "nothing at all",
    bindings: {},
    told: [
      ["HYPERDRIVE", /required/u],
      ["TOLLGATE_ADMIN_KEY", /wrangler secret put/u],
    ],
  },
  {
    name: "a misspelt variable",
    bindings: { ...SOUND, TOLLGATE_YML: YAML },
    told: [["TOLLGATE_YML", /no such variable on Workers. Did you mean TOLLGATE_YAML/u]],
  },
  {
    name: "a variable of Node's that means nothing here",
    bindings: { ...SOUND, TOLLGATE_CONFIG: "./tollgate.yaml" },
    told: [["TOLLGATE_CONFIG", /no such variable on Workers/u]],
  },
  {
    name: "a short administration key",
    bindings: { ...SOUND, TOLLGATE_ADMIN_KEY: "short-canary" },
    told: [["TOLLGATE_ADMIN_KEY", /at least 32/u]],
  },
  {
    name: "a mistake in the text of the configuration, with its place",
    bindings: { ...SOUND, TOLLGATE_YAML: "upstreams:\n  - name: Up Canary\n" },
    told: [
      ["TOLLGATE_YAML:2:5", /models/u],
      ["TOLLGATE_YAML:2:5", /kind/u],
      ["TOLLGATE_YAML:2:5", /base_url/u],
      ["TOLLGATE_YAML:2:11", /name/u],
    ],
  },
  {
    name: "an upstream's key that is no secret of the Worker",
    bindings: { ...SOUND, TOLLGATE_YAML: YAML },
    told: [["TOLLGATE_YAML:2:72", /UP_KEY/u]],
  },
  {
    name: "an empty variable",
    bindings: { ...SOUND, LOG_LEVEL: "" },
    told: [["LOG_LEVEL", /set but empty/u]],
  },
];

test.each(MISTAKES)("$name is told with its place, and without its secrets", (row) => {
  const { bindings, told } = row;
  let error: unknown;
  try {
    readSettings(bindings, null);
  } catch (thrown) {
    error = thrown;
  }
  expect(error).toBeInstanceOf(ConfigError);
  const { problems, message } = error as ConfigError;
  const places = problems.map(({ where }) => where).toSorted();
  expect(places).toEqual(told.map(([where]) => where).toSorted());
  for (const [where, what] of told) {
    expect(problems.filter((each) => each.where === where && what.test(each.message))).not.toEqual(
      [],
    );
  }
  expect(message).not.toMatch(/canary/u);
});

test("Hyperdrive's database goes before a variable's", () => {
  const bindings = { ...SOUND, DATABASE_URL: "postgres://elsewhere/e" };
  expect(databaseUrlOf(bindings)).toBe(URL);
  const { HYPERDRIVE: _, ...without } = bindings;
  expect(databaseUrlOf(without)).toBe("postgres://elsewhere/e");
});

test("the text of the configuration comes from the variable, else from the program", () => {
  const own = YAML.replace("name: up", "name: own");
  const bindings = { ...SOUND, UP_KEY: "sk-up" };
  const named = (given: object) =>
    readSettings({ ...bindings, ...given }, own).config.upstreams.map(({ name, apiKey }) => [
      name,
      apiKey,
    ]);
  expect(named({})).toEqual([["own", "sk-up"]]);
  expect(named({ TOLLGATE_YAML: YAML })).toEqual([["up", "sk-up"]]);
});

test("an upstream's key that is a secret is enough for OpenAI", () => {
  const { config } = readSettings({ ...SOUND, OPENAI_API_KEY: "sk-openai" }, null);
  expect(config.upstreams.map(({ name }) => name)).toEqual(["openai"]);
});
