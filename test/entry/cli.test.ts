import { execFileSync } from "node:child_process";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { json as readJson } from "node:stream/consumers";

import { afterAll, describe, expect, test } from "vitest";

import { createProgram } from "../../src/entry/cli/program.ts";
import { wantsColours, type Terminal } from "../../src/entry/cli/terminal.ts";
import { openPostgres } from "../support/databases.ts";
import { startScriptedMcp } from "../support/scripted-mcp.ts";
import { createPlace, heard, type Ran } from "./command.ts";

const place = createPlace();
afterAll(() => place.remove());

/** A port of this machine on which nothing listens any more. */
const NOWHERE = await freedUrl();
const CANARY = "canary-0123456789-0123456789-0123456789";

function check(ran: Ran, code: number, says: RegExp): void {
  expect(`${ran.out}${ran.err}`).toMatch(says);
  expect(ran.code).toBe(code);
  expect(`${ran.out}${ran.err}`).not.toContain(CANARY);
}

async function freedUrl(): Promise<string> {
  let freed = "";
  await withServer(
    () => {},
    async (url) => {
      freed = url;
    },
  );
  return freed;
}

function refusal(message: string, param: string | null = null): string {
  return JSON.stringify({ error: { message, type: "x", param, code: "x" } });
}

/** A server that answers everything alike, for what Tollgate itself never answers. */
async function withServer(listener: RequestListener, work: (url: string) => Promise<void>) {
  const server = createServer(listener);
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  try {
    await work(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  } finally {
    server.closeAllConnections();
    await new Promise((done) => server.close(done));
  }
}

describe("what was typed wrongly ends with 2 and says how to type it", () => {
  test.each<[readonly string[], RegExp]>([
    [[], /Usage: tollgate \[options\] \[command\]/],
    [["limts"], /unknown command 'limts'\n\(Did you mean limits\?\)/],
    [["limits", "creat"], /unknown command 'creat'\n\(Did you mean create\?\)/],
    [["limits", "create"], /required option '--unit <unit>' not specified/],
    [["limits", "create", "--unit", "eur", "--limit", "1"], /Allowed choices are usd, tokens/],
    [
      ["limits", "create", "--unit", "usd", "--limit", "1,5"],
      /A decimal amount is needed, as 12\.50/,
    ],
    [
      ["limits", "create", "--unit", "usd", "--limit", "0.0000000000001"],
      /This amount is too fine: it has 13 decimals, and 12 are the most/,
    ],
    [
      ["limits", "create", "--unit", "usd", "--limit", "1000000000000000000.5"],
      /This amount is too large: it has 19 digits before the point, and 18 are the most/,
    ],
    [
      ["adjustments", "post", "--reason", "r", "--usd", "-0.0000000000001"],
      /This amount is too fine/,
    ],
    [["adjustments", "post", "--reason", "r", "--usd", "--1"], /A decimal amount|argument missing/],
    [["limits", "create", "--unit", "usd", "--limit", "-1"], /A decimal amount|argument missing/],
    [
      ["keys", "create", "x", "--scope", "root"],
      /Allowed choices are invoke, report, approve, admin/,
    ],
    [
      ["keys", "create", "x", "--expires", "soon"],
      /A date is needed, as 2027-01-31, or a while, as 30d/,
    ],
    [["keys", "list", "--rows", "0"], /A whole number is needed/],
    [
      ["report", "cost-per-outcome", "--focus"],
      /unknown option '--focus'[^]*\n\(--focus is of: report spend\)\n$/,
    ],
    [["decisions", "replay", "--policies", "pol_1"], /--policies is for one decision/],
    [["decisions", "replay", "dec_1", "--run", "r"], /--run is for many decisions/],
    [["decisions", "replay", "dec_1", "--from", "2027-01-01"], /--from is for many decisions/],
    [["runs", "show"], /missing required argument 'run'/],
    [["runs", "set", "r", "--label", "x", "--key", "k"], /A label is name=value/],
    [["completion", "tcsh"], /Allowed choices are bash, zsh, fish/],
    [["tenants", "list", "--url", "x", "--key", "k"], /Not a URL: x/],
    [["tenants", "list", "--url", "http://a:b@c", "--key", "k"], /only host and port/],
  ])("%j", async (words, says) => {
    check(await heard(words), 2, says);
  });

  test("of the process itself", async () => {
    check(await place.run(["limts"]), 2, /unknown command 'limts'/);
  });
});

describe("what cannot be done ends with 1 and says what to do", () => {
  test("nobody listens: how to start it", async () => {
    const ran = await place.run(["tenants", "list", "--url", NOWHERE], { TOLLGATE_KEY: CANARY });
    check(
      ran,
      1,
      /Cannot reach Tollgate at http:\/\/127\.0\.0\.1:\d+ \(ECONNREFUSED\)\. Start it with/,
    );
  });

  test("no key: where one comes from", async () => {
    const ran = await place.run(["tenants", "list"]);
    check(ran, 1, /No key: give one with --key or TOLLGATE_KEY.*\.tollgate\/admin-key/);
  });

  test("the local key is not sent to another machine", async () => {
    mkdirSync(join(place.directory, "data"), { recursive: true });
    writeFileSync(join(place.directory, "data", "admin-key"), `${CANARY}\n`);
    const env = { TOLLGATE_DATA: "data", TOLLGATE_URL: "http://gateway.invalid" };
    check(await place.run(["tenants", "list"], env), 1, /No key for http:\/\/gateway\.invalid/);
  });

  test("the local key is found, and read from the data directory", async () => {
    await withServer(
      (request, response) => {
        const isKnown = request.headers.authorization === `Bearer ${CANARY}`;
        response.writeHead(isKnown ? 200 : 401).end('{"data":[],"next":null}');
      },
      async (url) => {
        const env = { TOLLGATE_DATA: "data", TOLLGATE_URL: url };
        const ran = await place.run(["tenants", "list", "--json"], env);
        expect(ran).toEqual({ code: 0, out: '{"data":[],"next":null}\n', err: "" });
      },
    );
  });

  test.each<[number, string, RegExp]>([
    [
      401,
      refusal("no"),
      /does not know this key\. It comes from TOLLGATE_KEY\..*admin-key in its data/,
    ],
    [403, refusal("Not yours."), /Not yours\. This needs a key with the scope "admin"/],
    [400, refusal("Too long.", "name"), /Too long\. \(name\)/],
    [400, refusal("Invalid 'name': long.", "name"), /Invalid 'name': long\.\n/],
    [404, "<html>", /answered 404 to GET \/api\/keys: is this a Tollgate\?/],
    [200, "<html>", /answered something that is not JSON: is this a Tollgate\?/],
    [500, "{}", /answered 500/],
    [302, "", /redirects elsewhere: name the place itself/],
  ])("an answer of %i with %s", async (status, body, says) => {
    await withServer(
      (_, response) => response.writeHead(status, { location: "http://127.0.0.1:1/" }).end(body),
      async (url) => {
        const env = { TOLLGATE_URL: url, TOLLGATE_KEY: CANARY };
        check(await heard(["keys", "list", "--tenant", "t"], { env }), 1, says);
      },
    );
  });

  test("with --json an error is the API's own document", async () => {
    const document = refusal("Too long.", "name");
    await withServer(
      (_, response) => response.writeHead(400).end(document),
      async (url) => {
        const words = ["keys", "list", "--json", "--url", url, "--key", "k", "--tenant", "t"];
        expect(await place.run(words)).toEqual({ code: 1, out: "", err: `${document}\n` });
      },
    );
  });
});

describe("the tenant of the administration key", () => {
  const tenants = (...names: string[]) => names.map((name) => ({ id: `ten_${name}`, name }));

  test.each<[readonly object[], readonly string[], number, RegExp]>([
    [tenants("only"), [], 0, /^ten_only$/],
    [tenants("a", "default"), [], 0, /^ten_default$/],
    [tenants("a", "b"), [], 2, /Which tenant\? Name it with --tenant: a, b/],
    [tenants("a", "b"), ["--tenant", "b"], 0, /^b$/],
    [[], [], 1, /There is no tenant yet: tollgate tenants create NAME/],
  ])("of %j with %j", async (data, words, code, says) => {
    let asked = "";
    await withServer(
      (request, response) => {
        const url = new URL(request.url ?? "", "http://x");
        if (url.pathname === "/api/keys") asked = url.searchParams.get("tenant") ?? "";
        response.end(
          JSON.stringify({ data: url.pathname === "/api/tenants" ? data : [], next: null }),
        );
      },
      async (url) => {
        const ran = await heard(["keys", "list", "--url", url, "--key", CANARY, ...words]);
        expect(ran.code, ran.err).toBe(code);
        expect(code === 0 ? asked : ran.err).toMatch(says);
      },
    );
  });

  /** Where there are two, one of them `default`; other things are not found. */
  async function onTwo(words: readonly string[], terminal: Partial<Terminal> = {}): Promise<Ran> {
    let ran: Ran = { code: -1, out: "", err: "" };
    await withServer(
      (request, response) => {
        const { pathname, searchParams } = new URL(request.url ?? "", "http://x");
        const data = pathname === "/api/tenants" ? tenants("a", "default") : [];
        const asked = searchParams.get("tenant");
        if (/decisions\/.+/.test(pathname)) {
          response.writeHead(404).end(refusal("There is no such decision.", "decision"));
        } else response.end(JSON.stringify({ data, asked, version: "pol_1", next: null }));
      },
      async (url) => {
        const env = { TOLLGATE_URL: url, TOLLGATE_KEY: CANARY, ...terminal.env };
        ran = await heard(words, { ...terminal, env });
      },
    );
    return ran;
  }

  test("is named by TOLLGATE_TENANT as well, and by --tenant first", async () => {
    const env = { TOLLGATE_TENANT: "acme" };
    const asked = async (...words: string[]) =>
      (
        JSON.parse((await onTwo(["keys", "list", "--json", ...words], { env })).out) as {
          asked: string;
        }
      ).asked;
    expect(await asked()).toBe("acme");
    expect(await asked("--tenant", "other")).toBe("other");
  });

  test("is told to people where it was assumed among several, and to nobody else", async () => {
    const told = "Of the tenant default: name another with --tenant.\n";
    const list = ["keys", "list"];
    expect((await onTwo(list, { isTerminal: true })).err).toMatch(new RegExp(`^${told}`));
    for (const words of [
      [...list, "--json"],
      [...list, "--tenant", "a"],
    ]) {
      expect((await onTwo(words, { isTerminal: true })).err).not.toContain("Of the tenant");
    }
    expect((await onTwo(list)).err).toBe("");
  });

  test("is told where something was looked for in it and is not there", async () => {
    const explain = ["decisions", "explain", "dec_1"];
    const assumed =
      /There is no such decision\. The tenant is `default`: name another with --tenant\.\n$/;
    check(await onTwo(explain), 1, assumed);
    check(await onTwo([...explain, "--tenant", "a"]), 1, /There is no such decision\.\n$/);
  });

  test("stands in the commands that are to be pasted, as does the place", async () => {
    const list = ["keys", "list", "--tenant", "a b'c", "--url"];
    await withServer(
      (_, response) => response.end(JSON.stringify({ data: [], next: null })),
      async (url) => {
        const env = { TOLLGATE_KEY: CANARY, npm_command: "exec" };
        const { err } = await heard([...list, url], { env, isTerminal: true });
        const where = `--url ${url} --tenant 'a b'\\''c'`;
        expect(err).toBe(`No key yet: npx tollgate keys create NAME ${where}\n`);
      },
    );
  });
});

describe("a variable that begins as ours and is none of ours", () => {
  test.each<readonly string[]>([
    ["usage"],
    ["tenants", "list"],
    ["policies", "starter"],
    ["completion", "bash"],
    ["check"],
    ["doctor"],
    ["migrate"],
    ["serve"],
  ])("is refused by %s %s", async (...words) => {
    const env = { TOLLGATE_TENNANT: CANARY, TOLLGATE_URL: NOWHERE };
    const ran = await heard(words, { env });
    check(ran, 1, /TOLLGATE_TENNANT: no such variable\. Did you mean TOLLGATE_TENANT\?/);
  });

  test("and a tenant that is set but empty is not taken for the usual one", async () => {
    check(await heard(["usage"], { env: { TOLLGATE_TENANT: "" } }), 1, /TOLLGATE_TENANT: set but/);
  });
});

describe("output", () => {
  const rows = {
    data: [
      { id: "key_1", name: "a\u001b[2Jb\u202e", scopes: ["invoke", "report"], active: true },
      {
        id: "key_22",
        name: "c",
        scopes: ["admin"],
        active: false,
        expires_at: "2020-01-01T00:00:00Z",
      },
    ],
    next: "key_22",
  };
  const list = async (terminal: Partial<Terminal>, ...words: string[]) => {
    let ran: Ran = { code: -1, out: "", err: "" };
    await withServer(
      (_, response) => response.end(JSON.stringify(rows)),
      async (url) => {
        const all = ["keys", "list", "--url", url, "--key", "k", "--tenant", "t", ...words];
        ran = await heard(all, terminal);
      },
    );
    expect(ran.code).toBe(0);
    return ran;
  };

  test("in a pipe a table is aligned plain text, and the hint is not among the data", async () => {
    const { out, err } = await list({});
    expect(out.split("\n")).toEqual([
      "ID      NAME                 SCOPES          LABELS  TOOLS  STATE    EXPIRES               CREATED",
      "key_1   a\\u{1b}[2Jb\\u{202e}  invoke, report  -       -      active   -                     -",
      "key_22  c                    admin           -       -      expired  2020-01-01T00:00:00Z  -",
      "",
    ]);
    expect(err).toBe("There is more: add --cursor key_22\n");
  });

  test("on a terminal a table has borders, and no escape sequence of a caller's reaches it", async () => {
    const { out } = await list({ isTerminal: true });
    expect(out).toMatch(/│ key_1 /);
    expect(out).not.toContain("\u001b");
    expect(out).not.toContain("\u202e");
  });

  test("colours are the terminal's own", async () => {
    const { out } = await list({ isTerminal: true, hasColours: true });
    expect(out).toContain("\u001b[1mid\u001b[22m");
    expect(out).not.toContain("\u001b[2J");
  });

  test("--json is the answer as it came", async () => {
    const { out } = await list({ isTerminal: true, hasColours: true }, "--json");
    expect(out).toBe(`${JSON.stringify(rows)}\n`);
  });

  test.each<[Record<string, string>, boolean, boolean]>([
    [{}, true, true],
    [{}, false, false],
    [{ NO_COLOR: "1" }, true, false],
    [{ NO_COLOR: "" }, true, true],
    [{ TERM: "dumb" }, true, false],
  ])("colours with %j on a terminal (%s): %s", (env, isTerminal, expected) => {
    expect(wantsColours(env, isTerminal)).toBe(expected);
  });
});

describe("check", () => {
  const file = join(place.directory, "some.yaml");

  test("a sound file is told in one line", async () => {
    writeFileSync(file, "aliases: { fast: demo/x }\n");
    const ran = await place.run(["check", file]);
    check(ran, 0, /^sound {2}.*some\.yaml · no upstream but demo · 1 aliases · 0 prices\n$/);
  });

  test("each mistake is one line that an editor can jump to", async () => {
    writeFileSync(file, `aliases: { fast: demo/x }\nupstream: ${CANARY}\n`);
    const ran = await place.run(["check", "some.yaml"]);
    check(ran, 1, /^some\.yaml:2:1: unknown key upstream\. Did you mean upstreams\?/);
    const json = await place.run(["check", "some.yaml", "--json"]);
    expect(json.code).toBe(1);
    expect(JSON.parse(json.out)).toMatchObject({
      ok: false,
      problems: [{ where: "some.yaml:2:1" }],
    });
  });

  test("a file that is not there is a mistake", async () => {
    check(await place.run(["check", "none.yaml"]), 1, /^none\.yaml: there is no such file\n/);
    const env = { TOLLGATE_CONFIG: "none.yaml" };
    check(await place.run(["check"], env), 1, /^TOLLGATE_CONFIG: there is no file none\.yaml/);
  });

  test("serve refuses the same mistakes before it starts anything", async () => {
    const ran = await place.run(["serve"], { PORT: "x", TOLLGATE_DTA: CANARY });
    check(ran, 1, /^2 mistakes in the configuration:\n {2}TOLLGATE_DTA: .*\n {2}PORT: /);
  });
});

describe("doctor", () => {
  test("a machine with nothing on it is fit to start on", async () => {
    const ran = await place.run(["doctor", "--json"], { PORT: "0" });
    expect(ran.code, ran.out).toBe(0);
    const { data } = JSON.parse(ran.out) as { data: { check: string; status: string }[] };
    expect(data.map(({ check: name, status }) => `${name} ${status}`)).toEqual([
      "node ok",
      "config warn",
      "database ok",
      "port ok",
    ]);
  });

  test("the data folder is looked for as the start makes it, with the folders above it", async () => {
    const deep = await place.run(["doctor"], { PORT: "0", TOLLGATE_DATA: "not/yet/there" });
    check(deep, 0, /database +ok +embedded in .*not\/yet\/there/);
    writeFileSync(join(place.directory, "a-file"), "");
    const file = await place.run(["doctor"], { PORT: "0", TOLLGATE_DATA: "a-file/data" });
    check(file, 1, /database +fail +.*a-file is no folder: choose another with TOLLGATE_DATA/);
    rmSync(join(place.directory, "a-file"));
  });

  test("each thing that keeps Tollgate from running is told with its remedy", async () => {
    await withServer(
      (_, response) => response.writeHead(200).end('{"status":"ready"}'),
      async (url) => {
        const env = {
          PORT: new URL(url).port,
          DATABASE_URL: `postgres://u:${CANARY}@127.0.0.1:1/d`,
        };
        const ran = await place.run(["doctor"], env);
        check(ran, 1, /database +fail +.*ECONNREFUSED.*: check DATABASE_URL/);
        check(ran, 1, /port +fail +.*another program has it; set PORT/);
        check(ran, 1, /2 checks failed/);
      },
    );
  });

  test("a database is told by its version and by how far its schema is", async () => {
    const opened = await openPostgres();
    try {
      if (opened.address.kind !== "url") throw new Error("PostgreSQL is reached by a URL");
      const env = { PORT: "0", DATABASE_URL: opened.address.url };
      check(
        await place.run(["doctor"], env),
        0,
        /database +ok +PostgreSQL \d\d, schema (\d+) of \1\n/,
      );
    } finally {
      await opened.close();
    }
  });

  test("--online asks each upstream, and tells a refused key from one that is away", async () => {
    await withServer(
      (request, response) => {
        const isKnown = request.headers.authorization === "Bearer good";
        response.writeHead(isKnown ? 200 : 401).end("{}");
      },
      async (url) => {
        const upstream = (name: string, base: string, key: string) =>
          `  - { name: ${name}, kind: openai, base_url: '${base}', models: [], api_key: ${key} }\n`;
        writeFileSync(
          join(place.directory, "online.yaml"),
          `upstreams:\n${upstream("a", url, "good")}${upstream("b", url, CANARY)}${upstream("c", NOWHERE, "k")}`,
        );
        const env = { PORT: "0", TOLLGATE_CONFIG: "online.yaml" };
        const ran = await place.run(["doctor", "--online"], env);
        check(ran, 1, /upstream a +ok +.*\/models answered 200/);
        check(ran, 1, /upstream b +fail +.*answered 401: check its api_key/);
        check(ran, 1, /upstream c +fail +.*cannot be reached/);
      },
    );
  });
});

test("doctor --online asks each MCP server for its tools, and tells a wrong path from one that is away", async () => {
  const server = await startScriptedMcp();
  try {
    await withServer(
      (_, response) => response.writeHead(404).end(),
      async (other) => {
        const line = (name: string, url: string) => `  - { name: ${name}, url: '${url}' }\n`;
        const yaml = `mcp_servers:\n${line("a", server.url)}${line("b", other)}${line("c", NOWHERE)}`;
        writeFileSync(join(place.directory, "servers.yaml"), yaml);
        const env = { PORT: "0", TOLLGATE_CONFIG: "servers.yaml" };
        const ran = await place.run(["doctor", "--online"], env);
        check(ran, 1, /config +warn +.*; MCP servers: a, b, c\n/);
        check(ran, 1, /server a +ok +.* lists [1-9]\d* tools\n/);
        check(ran, 1, /server b +fail +.* answered 404: check the path of its url\n/);
        check(ran, 1, /server c +fail +.*: start it, or check its url\n/);
        check(await place.run(["check", "servers.yaml"]), 0, / · MCP servers a, b, c\n$/);
      },
    );
  } finally {
    await server.close();
  }
});

test("a long backtest lists the first thousand changes, and counts the others", async () => {
  const changes = Array.from({ length: 800 }, (_, at) => ({ decision: `dec_${at}` }));
  const part = { decisions: 1_000, changed: 800, changes, changes_left_off: 0, unknowable: 0 };
  const asked: unknown[] = [];
  await withServer(
    (request, response) => {
      void readJson(request).then((body) => {
        const { cursor = null, rows } = body as Record<string, unknown>;
        asked.push([cursor, rows]);
        response.end(JSON.stringify({ ...part, next: cursor === null ? "dec_799" : null }));
      });
    },
    async (url) => {
      const words = ["policies", "backtest", "pol_0123456789ab", "--url", url, "--tenant", "t"];
      const env = { TOLLGATE_KEY: "tg_live_x" };
      const told = await heard(words, { env });
      check(told, 0, /^changed +1600$/m);
      check(told, 0, /^changes not listed +600$/m);
      expect(told.out.match(/dec_/g)).toHaveLength(1_000);
      const { out } = await heard([...words, "--json"], { env });
      expect(JSON.parse(out)).toMatchObject({ changed: 1_600, changes_left_off: 600, next: null });
    },
  );
  const parts = [
    [null, 1_000],
    ["dec_799", 1_000],
  ];
  expect(asked).toEqual([...parts, ...parts]);
});

describe("completion", () => {
  const completed = async (...words: string[]) => {
    const script = (await heard(["completion", "bash"])).out;
    const line = `${script}\nCOMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _tollgate; echo "\${COMPREPLY[@]}"`;
    const args = ["-c", line, "bash", "tollgate", ...words];
    return execFileSync("bash", args, { encoding: "utf8" }).trim();
  };

  test.each([
    [["li"], "limits"],
    [["limits", ""], "list create change remove"],
    [["limits", "create", "--unit", ""], "usd tokens requests attempts in_flight"],
    [["--json", "limits", "ch"], "change"],
    [["limits", "create", "--on"], "--on-exceed"],
    [["tenants", "set-mode", "t", "s"], "strict"],
  ])("bash completes %j to %s", async (words, expected) => {
    expect(await completed(...words)).toMatch(new RegExp(`^${expected}`));
  });

  test.each([
    ["npx", ["tollgate", "li"], "limits"],
    ["npx", ["tollgate", "limits", "create", "--unit", ""], "usd tokens"],
    ["npx", ["toll"], "tollgate"],
    ["npx", ["vitest", "li"], ""],
  ] as const)("bash completes behind %s %j to %s", async (program, words, expected) => {
    const script = (await heard(["completion", "bash"])).out;
    expect(script).toMatch(/complete -o default -F _tollgate_npx npx$/m);
    const line = `${script}\nCOMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _tollgate_npx; echo "\${COMPREPLY[@]}"`;
    const out = execFileSync("bash", ["-c", line, "bash", program, ...words], { encoding: "utf8" });
    expect(out.trim()).toMatch(new RegExp(`^${expected}${expected === "" ? "$" : ""}`));
  });

  test("fish is offered the options of every command behind each, and a command's own behind it", async () => {
    const { out } = await heard(["completion", "fish"]);
    expect(out).toMatch(/^complete -c tollgate -l json$/m);
    expect(out).toMatch(
      /^complete -c tollgate -n 'test \(__tollgate_path\) = "limits create"' -l unit -x -a 'usd /m,
    );
  });

  test("zsh is given no length of a slice that begins with a letter: to zsh that is a modifier", async () => {
    const { out } = await heard(["completion", "zsh"]);
    expect(out).toContain('"${COMP_WORDS[@]:1:$((COMP_CWORD-1))}"');
    expect(out).not.toMatch(/\$\{[^}]*:\d+:[A-Za-z]/);
  });

  test.each(["bash", "zsh", "fish"])("the script for %s names every command", async (shell) => {
    const { out } = await heard(["completion", shell]);
    const quiet = { env: {}, out: () => {}, err: () => {}, isTerminal: false };
    const program = createProgram({ ...quiet, hasColours: false, columns: 80 }, "1.2.3");
    const paths = program.commands.flatMap((command) => [
      command.name(),
      ...command.commands.map((child) => `${command.name()} ${child.name()}`),
    ]);
    expect(paths).toContain("policies backtest");
    for (const path of paths) expect(out).toMatch(new RegExp(`["']${path}["']`));
  });
});

test("help names the exit codes and where the key comes from, and is no error", async () => {
  const ran = await place.run(["--help"]);
  check(ran, 0, /Exit codes: 0 done; 1 refused, failed or not reachable; 2 typed wrongly/);
  check(ran, 0, /The key comes from --key, TOLLGATE_ADMIN_KEY, TOLLGATE_KEY/);
  check(await place.run(["limits", "create", "--help"]), 0, /Global Options:[^]*--tenant <tenant>/);
});

test("the version is the package's", async () => {
  expect((await place.run(["--version"])).out).toMatch(/^\d+\.\d+\.\d+\n$/);
});
