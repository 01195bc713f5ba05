import { randomUUID } from "node:crypto";
import { createServer } from "node:http";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { UNKNOWN_GRACE_MS } from "../../src/core/limits.ts";
import { errorAnswer, type Tokens } from "../support/openai-answers.ts";
import { describeOnPglite, describeOnPostgres, type TestDatabase } from "../support/databases.ts";
import { resetClock, shiftClock } from "../support/clock.ts";
import {
  startScriptedUpstream,
  type Script,
  type ScriptedUpstream,
} from "../support/scripted-upstream.ts";
import { priceOf } from "../support/prices.ts";
import { MODEL, startTollgate, UPSTREAM, type Tenant, type Tollgate } from "../support/tollgate.ts";
import { checkLedger, stateOf } from "./endings-ledger.ts";
import { ENDPOINTS, titleOf, type Endpoint } from "./endpoints.ts";
import { call, until, type Called, type Leave } from "./http-call.ts";

/**
 * Every way in which an attempt can end, on every endpoint, streamed and not. Whatever happens: the
 * client is told the truth, nothing stays reserved, each admitted attempt is settled exactly once, the
 * meters are the sum of the settlements, and the next call finds room.
 */

/**
 * What the client gets. `same`: the upstream's answer, unchanged. `told`: a clean end after an error
 * event and without the marker of a complete stream. `broken`: a connection cut, where the head of an
 * answer that is no stream had gone out. `left`: the client hung up itself.
 */
type Seen = "same" | "told" | "502" | "504" | "broken" | "left";

/** Seen by the client, then `ending/basis` of each attempt in the ledger. */
type Outcome = readonly [seen: Seen, ...attempts: string[]];

type Row = {
  readonly name: string;
  /** Of which gateway: one whose upstream has little time, or is not there. */
  readonly by?: "hasty" | "away";
  /** A model of its own, where the gateway remembers something of it. */
  readonly model?: (endpoint: Endpoint) => string;
  /** What the upstream plays. `opened` resolves once the client has left. */
  readonly plays: (endpoint: Endpoint, opened: Promise<unknown>) => readonly Script[];
  readonly leave?: (endpoint: Endpoint) => Leave | undefined;
  readonly stream: Outcome;
  readonly whole: Outcome;
  /** Of the pass-through, where it is another. */
  readonly passStream?: Outcome;
  readonly passWhole?: Outcome;
  /** Of streams on which the gateway asks for usage, where it is another. */
  readonly injected?: Outcome;
};

/** Ample for what such an upstream does say, on a loaded machine. */
const HASTY_MS = 1_000;

const USAGE: Tokens = { input: 12, output: 7 };

const answers = (endpoint: Endpoint, usage: Tokens | null = USAGE, rest: object = {}): Script =>
  endpoint.stream
    ? { kind: "sse", frames: endpoint.frames(usage), ...rest }
    : { kind: "json", body: endpoint.answer(usage), ...rest };

const UNKNOWN = "unknown/presumed";

const fails = (status: number, type: string, headers: Record<string, string> = {}): Row => ({
  name: `upstream answers ${status}`,
  plays: () => [
    { kind: "json", status, headers, body: errorAnswer(`said ${status}`, type, "scripted") },
  ],
  // After a 500 nobody knows whether it ran; every other status here says that it did not.
  stream: ["same", status === 500 ? UNKNOWN : "failed/none"],
  whole: ["same", status === 500 ? UNKNOWN : "failed/none"],
});

/** The bytes up to the middle of the second half, so that a cut hits an event and not its end. */
const cutAt = (endpoint: Endpoint): number => {
  const text = endpoint.stream
    ? endpoint.frames(USAGE).join("")
    : JSON.stringify(endpoint.answer(USAGE));
  return Math.floor(text.length / 2);
};

/** Upstreams that give no answer, or one that says no. */
const FAILED: readonly Row[] = [
  {
    name: "upstream refuses the connection",
    by: "away",
    plays: () => [],
    stream: ["502", "released/none"],
    whole: ["502", "released/none"],
  },
  fails(400, "invalid_request_error"),
  fails(401, "authentication_error", { "www-authenticate": "Bearer" }),
  fails(404, "not_found_error"),
  fails(429, "rate_limit_error", { "retry-after": "7", "x-ratelimit-remaining-requests": "0" }),
  fails(500, "server_error", { "x-should-retry": "false" }),
  fails(503, "server_error", { "retry-after-ms": "70" }),
  {
    name: "upstream resets before the head",
    plays: () => [{ kind: "reset" }],
    stream: ["502", UNKNOWN],
    whole: ["502", UNKNOWN],
  },
  {
    name: "upstream closes before the head",
    plays: () => [{ kind: "close" }],
    stream: ["502", UNKNOWN],
    whole: ["502", UNKNOWN],
  },
];

/** Answers that break off, on either side. */
const BROKEN_OFF: readonly Row[] = [
  {
    name: "upstream resets before the first chunk",
    plays: (endpoint) => [answers(endpoint, USAGE, { resetAtByte: 0 })],
    stream: ["told", UNKNOWN],
    whole: ["502", UNKNOWN],
    passWhole: ["broken", UNKNOWN],
  },
  {
    name: "upstream resets in the middle",
    plays: (endpoint) => [answers(endpoint, USAGE, { resetAtByte: cutAt(endpoint) })],
    stream: ["told", UNKNOWN],
    whole: ["502", UNKNOWN],
    passWhole: ["broken", UNKNOWN],
  },
  {
    name: "upstream closes in the middle",
    plays: (endpoint) => [
      endpoint.stream
        ? { kind: "sse", frames: endpoint.frames(USAGE).slice(0, 3), last: "truncate" }
        : answers(endpoint, USAGE, { contentLength: 100_000 }),
    ],
    stream: ["told", UNKNOWN],
    whole: ["502", UNKNOWN],
    passWhole: ["broken", UNKNOWN],
  },
  {
    name: "upstream ends politely before it is complete",
    plays: (endpoint) => [
      endpoint.stream
        ? { kind: "sse", frames: endpoint.frames(USAGE).slice(0, 3) }
        : {
            kind: "bytes",
            frames: [JSON.stringify(endpoint.answer(USAGE)).slice(0, cutAt(endpoint))],
            contentLength: cutAt(endpoint),
          },
    ],
    stream: ["told", UNKNOWN],
    whole: ["502", UNKNOWN],
    passStream: ["same", "succeeded/none"],
    passWhole: ["same", "succeeded/none"],
  },
  {
    name: "upstream never answers",
    by: "hasty",
    plays: () => [{ kind: "stall" }],
    stream: ["504", UNKNOWN],
    whole: ["504", UNKNOWN],
  },
  {
    name: "upstream stalls in the middle",
    by: "hasty",
    plays: (endpoint) => [
      endpoint.stream
        ? { kind: "sse", frames: endpoint.frames(USAGE).slice(0, 3), last: "stall" }
        : {
            kind: "bytes",
            contentLength: 10_000,
            frames: ['{"id":"x"', { bytes: "}", gate: new Promise<never>(() => undefined) }],
          },
    ],
    stream: ["told", UNKNOWN],
    whole: ["504", UNKNOWN],
    passWhole: ["broken", UNKNOWN],
  },
  {
    name: "client leaves before the head",
    plays: (endpoint, opened) => [answers(endpoint, USAGE, { headersGate: opened })],
    leave: () => "before_head",
    stream: ["left", "succeeded/computed"],
    whole: ["left", "succeeded/computed"],
    passStream: ["left", "aborted/none"],
    passWhole: ["left", "aborted/none"],
  },
  {
    name: "client leaves in the middle",
    plays: (endpoint) => [
      endpoint.stream
        ? { kind: "sse", frames: endpoint.frames(USAGE).slice(0, 3), last: "stall" }
        : {
            kind: "bytes",
            contentLength: 10_000,
            frames: ['{"id":"x"', { bytes: "}", gate: new Promise<never>(() => undefined) }],
          },
    ],
    leave: ({ stream, name }) =>
      stream || name === "pass-through" ? { atByte: 1 } : "before_head",
    stream: ["left", UNKNOWN],
    whole: ["left", UNKNOWN],
    passStream: ["left", "aborted/none"],
    passWhole: ["left", "aborted/none"],
    by: "hasty",
  },
  {
    name: "client leaves after the last byte",
    plays: (endpoint) => [answers(endpoint, USAGE, endpoint.stream ? { last: "stall" } : {})],
    leave: ({ stream, marker }) => (stream ? { after: marker } : undefined),
    stream: ["left", "succeeded/computed"],
    whole: ["same", "succeeded/computed"],
    passStream: ["left", "aborted/none"],
    passWhole: ["same", "succeeded/none"],
  },
];

/** Whether its marker is looked for: what passes through is not read, and nobody knows where it ends. */
const isRead = ({ stream, name }: Endpoint): boolean => stream && name !== "pass-through";

/** Answers that come to their end, whatever stands in them. */
const COMPLETE: readonly Row[] = [
  {
    name: "upstream sends nothing that can be read",
    plays: (endpoint) => [
      endpoint.stream
        ? { kind: "sse", frames: ["data: {not json\n\n", "nonsense\n\n", "event:\ndata\n\n"] }
        : {
            kind: "bytes",
            frames: ["<html>"],
            contentLength: 6,
            headers: { "content-type": "text/html" },
          },
    ],
    stream: ["told", UNKNOWN],
    whole: ["same", "succeeded/presumed"],
    passStream: ["same", "succeeded/none"],
    passWhole: ["same", "succeeded/none"],
  },
  {
    name: "upstream sends garbage between sound events",
    plays: (endpoint) => [
      endpoint.stream
        ? {
            kind: "sse",
            frames: endpoint
              .frames(USAGE)
              .flatMap((frame) => [": note\n\n", "data: {not json\n\n", frame]),
          }
        : answers(endpoint),
    ],
    stream: ["same", "succeeded/computed"],
    whole: ["same", "succeeded/computed"],
    passStream: ["same", "succeeded/none"],
    passWhole: ["same", "succeeded/none"],
  },
  {
    name: "upstream tells no usage",
    plays: (endpoint) => [answers(endpoint, null)],
    stream: ["same", "succeeded/estimated"],
    whole: ["same", "succeeded/estimated"],
    passStream: ["same", "succeeded/none"],
    passWhole: ["same", "succeeded/none"],
  },
  {
    name: "upstream tells zero usage",
    plays: (endpoint) => [answers(endpoint, { input: 0, output: 0 })],
    stream: ["same", "succeeded/computed"],
    whole: ["same", "succeeded/computed"],
    passStream: ["same", "succeeded/none"],
    passWhole: ["same", "succeeded/none"],
  },
  {
    name: "upstream tells more usage than was reserved",
    plays: (endpoint) => [answers(endpoint, { input: 3_000, output: 2_000 })],
    stream: ["same", "succeeded/computed"],
    whole: ["same", "succeeded/computed"],
    passStream: ["same", "succeeded/none"],
    passWhole: ["same", "succeeded/none"],
  },
  {
    name: "upstream breaks off behind the end of its answer",
    plays: (endpoint) => [answers(endpoint, USAGE, isRead(endpoint) ? { last: "truncate" } : {})],
    stream: ["same", "succeeded/computed"],
    whole: ["same", "succeeded/computed"],
    passStream: ["same", "succeeded/none"],
    passWhole: ["same", "succeeded/none"],
  },
  {
    name: "upstream never closes its answer",
    by: "hasty",
    plays: (endpoint) => [answers(endpoint, USAGE, isRead(endpoint) ? { last: "stall" } : {})],
    stream: ["same", "succeeded/computed"],
    whole: ["same", "succeeded/computed"],
    passStream: ["same", "succeeded/none"],
    passWhole: ["same", "succeeded/none"],
  },
  {
    name: "upstream does not know stream_options",
    model: ({ name }) => `old-${name}`,
    plays: (endpoint) => [
      {
        kind: "json",
        status: 400,
        body: errorAnswer("Unknown field: stream_options", "invalid_request_error", null),
      },
      ...(endpoint.injects ? [answers(endpoint, null)] : []),
    ],
    stream: ["same", "failed/none"],
    whole: ["same", "failed/none"],
    injected: ["same", "failed/none", "succeeded/estimated"],
  },
  {
    name: "all goes well",
    plays: (endpoint) => [answers(endpoint)],
    stream: ["same", "succeeded/computed"],
    whole: ["same", "succeeded/computed"],
    passStream: ["same", "succeeded/none"],
    passWhole: ["same", "succeeded/none"],
  },
];

function outcomeOf(row: Row, { name, stream, injects }: Endpoint): Outcome {
  if (injects && row.injected !== undefined) return row.injected;
  const usual = stream ? row.stream : row.whole;
  if (name !== "pass-through") return usual;
  const [seen, ...attempts] = (stream ? row.passStream : row.passWhole) ?? usual;
  // What is free owes nothing, whether it ran or not.
  return [seen, ...attempts.map((attempt) => (attempt === UNKNOWN ? "failed/none" : attempt))];
}

type World = {
  readonly database: TestDatabase;
  readonly upstream: ScriptedUpstream;
  readonly usual: Tollgate;
};

/** The world as one row needs it: `asked` is the gateway on which its attempts end. */
type Stage = World & {
  readonly row: Row;
  readonly endpoints: readonly Endpoint[];
  readonly asked: Tollgate;
};

const GROUPS = { "without an answer": FAILED, "half way": BROKEN_OFF, "with its answer": COMPLETE };

// A database for each group: a gateway keeps what it knows of all tenants, and reads it anew with each of them.
for (const [how, rows] of Object.entries(GROUPS)) {
  const name = `an attempt that ends ${how}`;
  describeOnPostgres(name, (database) => suiteOf(database, rows, ENDPOINTS));
  // Endpoints differ on the wire. Of the database they ask the same.
  describeOnPglite(name, (database) => suiteOf(database, rows, ENDPOINTS.filter(isChat)));
}

function isChat({ name }: Endpoint): boolean {
  return name === "chat";
}

function suiteOf(
  database: TestDatabase,
  rows: readonly Row[],
  endpoints: readonly Endpoint[],
): void {
  let world: World;
  beforeAll(async () => {
    const upstream = await startScriptedUpstream();
    const models = [MODEL, ...ENDPOINTS.map(({ name }) => `old-${name}`)];
    const prices = [...new Set(models)].map((model) => priceOf({ upstream: UPSTREAM, model }));
    const usual = await startTollgate({ database, upstream: upstream.url, prices });
    world = { database, upstream, usual };
  });
  afterAll(async () => {
    await world.usual.close();
    await world.upstream.close();
  });

  describe.each([...rows])("because $name", (row) => {
    let stage: Stage;
    let ended: Ended;
    beforeAll(async () => {
      stage = { ...world, row, endpoints, asked: await gatewayOf(row, world) };
      ended = await endAll(stage);
    });
    afterAll(async () => {
      if (stage.asked !== world.usual) await stage.asked.close();
    });
    test.each(endpoints.map((endpoint) => [titleOf(endpoint), endpoint] as const))(
      "is told, settled once and holds nothing: %s",
      async (_, endpoint) => check(stage, await (ended.get(endpoint) ?? missing())),
    );
  });
}

/** One whose upstream has little time, or is not there, runs only as long as its row. */
async function gatewayOf({ by }: Row, { database, upstream, usual }: World): Promise<Tollgate> {
  if (by === undefined) return usual;
  if (by === "away") return startTollgate({ database, upstream: await nobody() });
  return startTollgate({ database, upstream: upstream.url, timeoutMs: HASTY_MS });
}

/** A loopback address where nobody listens. */
async function nobody(): Promise<string> {
  const server = createServer();
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  const address = server.address();
  await new Promise((done) => server.close(done));
  if (address === null || typeof address === "string") throw new Error("no port");
  return `http://127.0.0.1:${address.port}/v1`;
}

type Case = { readonly endpoint: Endpoint; readonly tenant: Tenant };

/** What became of a row on each endpoint; a case that went wrong rejects. */
type Ended = ReadonlyMap<Endpoint, Promise<Case>>;

function missing(): never {
  throw new Error("this endpoint was not asked");
}

/**
 * A row's endpoints are asked side by side, each by a tenant of its own, as tenants ask. The clock is the
 * database's and moves for all of them: so they wait for each other before it does.
 */
async function endAll(stage: Stage): Promise<Ended> {
  const { database, usual, row, asked, endpoints } = stage;
  const ended = new Map(endpoints.map((endpoint) => [endpoint, end(stage, endpoint)]));
  const cases = (await Promise.allSettled(ended.values())).flatMap((result) =>
    result.status === "fulfilled" ? [result.value] : [],
  );
  const left = cases.filter(({ endpoint }) => outcomeOf(row, endpoint).includes(UNKNOWN));
  if (left.length > 0) {
    await shiftClock(database.db, UNKNOWN_GRACE_MS + 60_000);
    await asked.gateway.sweep();
    for (const { tenant } of left) {
      await until(async () => (await stateOf(asked, tenant)).unknown === 0);
    }
    await resetClock(database.db);
  }
  // The next call knows its tenant, whichever gateway made it.
  await usual.gateway.authority.refresh();
  return ended;
}

/** One attempt up to its ending: what its client saw, and what is held where nobody knows how it ended. */
async function end(stage: Stage, endpoint: Endpoint): Promise<Case> {
  const { upstream, row, asked: tollgate } = stage;
  // One run takes all of the day's small quota here, by design.
  const tenant = await tollgate.tenant({ guards: "off" });
  await limitAll(tenant);
  const [seen, ...attempts] = outcomeOf(row, endpoint);
  const opened = Promise.withResolvers<void>();
  const arrived = Promise.withResolvers<void>();
  const scripts = row.plays(endpoint, opened.promise);
  const played = scripts.values();
  const name = randomUUID();
  upstream.onHeader(name, () => {
    arrived.resolve();
    return played.next().value ?? { kind: "stall" };
  });
  const leave = row.leave?.(endpoint);
  const model = row.model?.(endpoint) ?? MODEL;
  const called = await call(`${tollgate.url}${endpoint.path}`, {
    method: endpoint.method,
    headers: {
      authorization: `Bearer ${tenant.key}`,
      "content-type": "application/json",
      "x-script": name,
      "tollgate-run": "run of the test",
    },
    body: endpoint.body === null ? null : JSON.stringify({ ...endpoint.body, model }),
    leaveAfter: arrived.promise,
    ...(leave === undefined ? {} : { leave }),
  });
  // One that is cut at once is cut before the upstream says anything.
  const isCut = attempts.every((attempt) => attempt.startsWith("aborted"));
  if (isCut) await until(async () => (await stateOf(tollgate, tenant)).running === 0);
  opened.resolve();
  checkSeen(seen, called, endpoint, scripts.at(-1));

  await until(async () => (await stateOf(tollgate, tenant)).running === 0);
  const held = await stateOf(tollgate, tenant);
  const unknown = attempts.filter((attempt) => attempt === UNKNOWN).length;
  expect(held.unknown).toBe(unknown);
  if (unknown > 0) {
    // Nobody flies it any more: its room is given back, its money is not.
    await until(async () => (await stateOf(tollgate, tenant)).reserved["in_flight"] === 0);
    if (endpoint.name !== "pass-through") expect(held.reserved["usd"]).toBeGreaterThan(0);
  }
  return { endpoint, tenant };
}

async function check(stage: Stage, { endpoint, tenant }: Case): Promise<void> {
  const { upstream, usual, row, asked } = stage;
  const [, ...attempts] = outcomeOf(row, endpoint);
  await checkLedger(asked, tenant, attempts);
  await upstream.quiet();

  // The next call finds room for itself, though only one may be in flight.
  upstream.otherwise(answers(endpoint));
  const next = await call(`${usual.url}${endpoint.path}`, {
    method: endpoint.method,
    headers: { authorization: `Bearer ${tenant.key}` },
    body: endpoint.body === null ? null : JSON.stringify(endpoint.body),
  });
  expect([next.status, next.end]).toEqual([200, "whole"]);
}

/** Room for this call and another, and for one at a time. */
async function limitAll(tenant: Tenant): Promise<void> {
  await Promise.all([
    tenant.limit({ scope: "tenant", unit: "usd", limit: "0.000001" }),
    tenant.limit({ scope: "each_run", unit: "usd", limit: "0.000001" }),
    tenant.limit({ scope: "key", id: tenant.keyId, unit: "tokens", limit: 9_000 }),
    tenant.limit({ scope: "tenant", unit: "requests", window: "day", limit: 3 }),
    tenant.limit({ scope: "tenant", unit: "in_flight", limit: 1 }),
  ]);
}

function checkSeen(seen: Seen, called: Called, endpoint: Endpoint, script?: Script): void {
  const { status, headers, text, end } = called;
  if (seen === "left") {
    expect(end).toBe("left");
    return;
  }
  expect(end).toBe(seen === "broken" ? "broken" : "whole");
  // The head of an answer that is passed on leaves with its first byte.
  if (seen === "broken" && status === 0) return;
  expect(headers["x-request-id"]).toMatch(/^req_./);
  expect(headers["tollgate-decision"]).toMatch(/^dec_[0-9a-z]{26}$/);
  expect(headers["tollgate-verdict"]).toBe("allow");
  expect(headers["tollgate-run"]).toBe("run of the test");
  expect(headers["tollgate-upstream"]).toBe("up");
  if (seen === "502" || seen === "504") {
    expect([status, headers["content-type"]]).toEqual([Number(seen), "application/json"]);
    const { error } = JSON.parse(text) as { error: Record<string, unknown> };
    expect(error).toMatchObject({ type: "server_error", param: null });
    expect(error["code"]).toMatch(/^upstream_(unreachable|outcome_unknown)$/);
    expect(error["message"]).toMatch(/^The upstream `up` gave no answer \(.+\)\. It /);
    if (endpoint.name === "pass-through") expect(error["message"]).not.toContain("reserved");
    return;
  }
  if (seen === "same") {
    checkSame(called, endpoint, script);
    return;
  }
  expect(status).toBe(200);
  if (seen !== "told") return;
  expect(text).not.toContain(endpoint.marker);
  const events = text.split(/\n\n/u).filter((event) => event !== "");
  const last = events.at(-1) ?? "";
  const data = JSON.parse(/^data: (.*)$/mu.exec(last)?.[1] ?? "null") as Record<string, unknown>;
  if (endpoint.name === "responses") {
    expect(last).toMatch(/^event: error\n/);
    const whole = events.slice(0, -1).filter((event) => /"sequence_number":\d+/u.test(event));
    const sequence = Math.max(
      -1,
      ...whole
        .filter((event) => isJson(/^data: (.*)$/mu.exec(event)?.[1]))
        .map((event) => Number(/"sequence_number":(\d+)/u.exec(event)?.[1])),
    );
    expect(data).toMatchObject({ type: "error", sequence_number: sequence + 1 });
    expect(data["message"]).toMatch(/upstream/iu);
  } else {
    expect(data).toMatchObject({ error: { type: "server_error", code: "upstream_error" } });
  }
}

function isJson(text: string | undefined): boolean {
  try {
    JSON.parse(text ?? "");
    return true;
  } catch {
    return false;
  }
}

/** The upstream's answer with its status, headers and bytes, but for the usage that only we asked for. */
function checkSame({ status, headers, text }: Called, endpoint: Endpoint, script?: Script): void {
  if (script === undefined || !("headers" in script || "body" in script || "frames" in script)) {
    throw new Error("this script gives no answer");
  }
  expect(status).toBe(script.status ?? 200);
  expect(headers["x-request-id"]).toBe("req_scripted");
  expect(headers["openai-processing-ms"]).toBe("7");
  for (const [name, value] of Object.entries(script.headers ?? {})) {
    expect(headers[name]).toBe(value);
  }
  const sent =
    script.kind === "json"
      ? JSON.stringify(script.body)
      : [...(script.frames as string[])].join("");
  expect(text).toBe(endpoint.injects ? unasked(sent) : sent);
  if (script.kind !== "sse") expect(headers["content-length"]).toBe(String(text.length));
}

/** What an upstream sends that was not asked for usage. */
function unasked(stream: string): string {
  return stream
    .replaceAll(/data: [^\n]*"choices":\[\][^\n]*\n\n/gu, "")
    .replaceAll(',"usage":null', "");
}
