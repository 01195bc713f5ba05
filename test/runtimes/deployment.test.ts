import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, expect, inject, test } from "vitest";
import { SCHEMA_VERSION } from "../../src/store/applied-version.ts";
import { open, type Sql } from "../../src/store/database.ts";
import { createPlace, type Place } from "../entry/command.ts";
import { call } from "../http/http-call.ts";
import { chatAnswer } from "../support/openai-answers.ts";
import { startScriptedUpstream, type ScriptedUpstream } from "../support/scripted-upstream.ts";
import { urlOf } from "../support/templates.ts";
import { MODEL } from "../support/tollgate.ts";
import { bundleWorker, startWorker } from "./workers.ts";

/** The steps of `docs/workers.md` on a database that Tollgate has never seen. */

let place: Place;
let upstream: ScriptedUpstream;
let server: Sql;
let database: Sql;
let url: string;
const name = `deployed_${randomUUID().replaceAll("-", "")}`;

beforeAll(async () => {
  place = createPlace();
  upstream = await startScriptedUpstream();
  server = open(urlOf(inject("postgres"), "postgres"), 1);
  await server.unsafe(`create database ${name}`);
  const address = urlOf(inject("postgres"), name);
  if (address.kind !== "url") throw new Error("PostgreSQL has a URL");
  url = address.url;
  database = open(address, 1);
});
afterAll(async () => {
  await database?.end();
  await server?.unsafe(`drop database if exists ${name} with (force)`);
  await server?.end();
  await upstream?.close();
  place?.remove();
});

test("`tollgate migrate` wants a database that is not its own", async () => {
  const ran = await place.run(["migrate"]);
  expect(ran.code).toBe(1);
  expect(ran.err).toMatch(/Set DATABASE_URL/u);
});

test("`tollgate migrate` says why a database cannot be had, without its password", async () => {
  const away = "postgres://u:password-canary@127.0.0.1:1/d";
  const ran = await place.run(["migrate"], { DATABASE_URL: away });
  expect(ran.code).toBe(1);
  expect(ran.err).toMatch(/the database cannot be used: .*\(ECONNREFUSED\): check DATABASE_URL/u);
  expect(ran.err).not.toContain("canary");
});

test("a Worker serves an empty database as soon as it was migrated, which may be repeated", async () => {
  const first = await place.run(["migrate", "--json"], { DATABASE_URL: url });
  expect(first.err).toBe("");
  const told = JSON.parse(first.out) as { readonly prices: number };
  expect(told).toMatchObject({ from: 0, to: SCHEMA_VERSION });
  expect(told.prices).toBeGreaterThan(1_000);
  const prices = async () => Number((await database`select count(*) from prices`)[0]?.["count"]);
  const pepper = async () => (await database`select pepper from installation`)[0]?.["pepper"];
  const before = [await prices(), await pepper()];
  const again = await place.run(["migrate"], { DATABASE_URL: url });
  expect(again.out).toMatch(new RegExp(`^schema version ${SCHEMA_VERSION}, as it was`, "u"));
  expect([await prices(), await pepper()]).toEqual(before);

  const bundle = await bundleWorker();
  const worker = await startWorker({ bundle, databaseUrl: url, upstream: upstream.url });
  try {
    expect((await call(`${worker.url}/readyz`)).status).toBe(200);
    upstream.next({ kind: "json", body: chatAnswer(MODEL, "ok", { input: 3, output: 2 }) });
    const tenant = await worker.tenant();
    const request = { model: MODEL, messages: [{ role: "user" as const, content: "Hi" }] };
    const answer = await tenant.client.chat.completions.create(request);
    expect(answer.choices[0]?.message.content).toBe("ok");
  } finally {
    await worker.close();
  }
});
