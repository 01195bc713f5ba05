import { once } from "node:events";
import { connect, createServer, type AddressInfo, type Socket } from "node:net";
import { Webhook } from "standardwebhooks";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import type { Sql } from "../../src/store/database.ts";
import { answersFromMemory } from "../../src/store/installation.ts";
import { insertDelivery } from "../../src/store/outbox.ts";
import { insertWebhook } from "../../src/store/webhooks.ts";
import { call } from "../http/http-call.ts";
import { newId } from "../support/approvals.ts";
import { describeOnPostgres, type TestDatabase } from "../support/databases.ts";
import { installedSeal } from "../support/installed-seal.ts";
import { chatAnswer } from "../support/openai-answers.ts";
import { startReceiver } from "../support/receiver.ts";
import { startScriptedUpstream } from "../support/scripted-upstream.ts";
import { MODEL } from "../support/tollgate.ts";
import { bundleWorker, startWorker, type Bundle, type Worker } from "./workers.ts";

/** What is of Workers alone: what they lack, and what they say when they cannot serve. */

const messageOf = (text: string): string =>
  (JSON.parse(text) as { readonly error: { readonly message: string } }).error.message;

const urlOf = ({ address }: TestDatabase): string => {
  if (address.kind !== "url") throw new Error("workerd reaches PostgreSQL only");
  return address.url;
};

let bundle: Bundle;
beforeAll(async () => {
  bundle = await bundleWorker();
});

describeOnPostgres("a Worker", (database) => {
  let worker: Worker;
  beforeAll(async () => {
    worker = await startWorker({ bundle, databaseUrl: urlOf(database) });
  });
  afterAll(() => worker?.close());

  test.each([
    ["/metrics", /counts of one process/u],
    ["/docs", /GET \/openapi\.json/u],
    ["/docs/swagger-ui.css", /GET \/openapi\.json/u],
    ["/console", /on Node with the same database shows it/u],
    ["/console/sign-in", /on Node with the same database shows it/u],
  ])("%s is not there, and a sentence says why", async (path, sentence) => {
    const called = await call(worker.url + path);
    expect(called.status).toBe(404);
    expect(messageOf(called.text)).toMatch(sentence);
  });

  test("describes its API, and is ready and alive", async () => {
    expect((await call(`${worker.url}/openapi.json`)).status).toBe(200);
    expect((await call(`${worker.url}/readyz`)).text).toMatch(/"status":"ready"/u);
    expect((await call(`${worker.url}/healthz`)).status).toBe(200);
  });

  test("sends what stands in the outbox when the clock comes round, signed", async () => {
    const { admin } = database.db;
    const receiver = await startReceiver();
    try {
      const { id: tenantId } = await worker.tenant();
      const webhookId = `whk_${newId()}`;
      const place = { purpose: "webhook_secret", tenantId, rowId: webhookId } as const;
      const secret = Buffer.from("the secret of the receiver");
      const sealedSecret = (await installedSeal(admin)).seal(place, secret);
      const webhook = { tenantId, webhookId, url: receiver.url, kinds: ["ping"], sealedSecret };
      await insertWebhook(admin, { ...webhook, createdBy: "test" });
      const deliveryId = `dlv_${newId()}`;
      await insertDelivery(admin, { tenantId, deliveryId, webhookId, kind: "ping", body: "{}" });
      await worker.sweep();
      expect(receiver.messages).toHaveLength(1);
      const { body, headers } = receiver.messages[0]!;
      const verified = new Webhook(secret.toString("base64")).verify(body, headers);
      expect(verified).toEqual({});
      const [row] = await admin`select state from deliveries where delivery_id = ${deliveryId}`;
      expect(row?.["state"]).toBe("delivered");
    } finally {
      await receiver.close();
    }
  });

  test("has no demo models", async () => {
    const tenant = await worker.tenant();
    const request = { model: "demo/chat", messages: [] };
    await expect(tenant.client.chat.completions.create(request)).rejects.toMatchObject({
      status: 404,
      code: "model_not_found",
    });
  });

  test.each([
    ["announced", {}],
    ["in chunks", { "transfer-encoding": "chunked" }],
  ])("refuses a body %s that is larger than an isolate can read", async (_, how) => {
    const tenant = await worker.tenant();
    const body = JSON.stringify({
      model: MODEL,
      messages: [{ role: "user", content: "x".repeat(4 * 1024 * 1024) }],
    });
    const answer = await fetch(`${worker.url}/v1/chat/completions`, {
      method: "POST",
      headers: { authorization: `Bearer ${tenant.key}`, "content-type": "application/json" },
      body: "transfer-encoding" in how ? new Blob([body]).stream() : body,
      duplex: "half",
    });
    expect(answer.status).toBe(413);
    expect(messageOf(await answer.text())).toMatch(/the most that Tollgate reads on Workers/u);
  });

  test("does not say where its client is", async () => {
    const tenant = await worker.tenant();
    const called = await call(`${worker.url}/v1/models`, {
      headers: { authorization: `Bearer ${tenant.key}` },
    });
    expect(called.headers).not.toHaveProperty("cf-connecting-ip");
  });
});

describeOnPostgres("a Worker that cannot serve", (database) => {
  let worker: Worker | undefined;
  afterEach(async () => {
    await worker?.close();
    worker = undefined;
  });

  const refused = async (path: string, sentence: RegExp) => {
    const called = await call(`${worker!.url}${path}`, {
      headers: { authorization: "Bearer tg_unknown" },
    });
    expect(called.status).toBe(503);
    expect(messageOf(called.text)).toMatch(sentence);
    expect(called.headers["retry-after"]).toBeDefined();
    expect((await call(`${worker!.url}/healthz`)).status).toBe(200);
  };

  test("for want of an administration key tells its log what to set, and its clients nothing", async () => {
    const bindings = { TOLLGATE_ADMIN_KEY: null };
    worker = await startWorker({ bundle, databaseUrl: urlOf(database), bindings });
    await refused("/v1/models", /not configured here: the Worker's log says/u);
    expect(worker.output()).toContain("wrangler secret put TOLLGATE_ADMIN_KEY");
  });

  test("because the schema is older names the command, and serves once it was given", async () => {
    const { db } = database;
    const [last] = await db.admin`
      delete from drizzle.__drizzle_migrations
      where id = (select max(id) from drizzle.__drizzle_migrations) returning hash, created_at`;
    worker = await startWorker({ bundle, databaseUrl: urlOf(database) });
    await refused("/readyz", /npx tollgate migrate/u);
    await refused("/v1/models", /npx tollgate migrate/u);
    await db.admin`
      insert into drizzle.__drizzle_migrations (hash, created_at)
      values (${String(last?.["hash"])}, ${String(last?.["created_at"])})`;
    expect((await call(`${worker.url}/readyz`)).status).toBe(200);
  });

  test("because its database is away answers 503, and never 401", async () => {
    worker = await startWorker({ bundle, databaseUrl: "postgres://u:p@127.0.0.1:1/d" });
    await refused("/v1/models", /cannot record its decision/u).catch((e) => {
      console.log(worker!.output());
      throw e;
    });
    await refused("/readyz", /cannot record its decision/u);
  });
});

describeOnPostgres("a query cache before the database", (database) => {
  /** What Hyperdrive does with its cache on: a read is answered as it was the first time. */
  const cached = (sql: Sql): Sql => {
    const answers = new Map<string, unknown>();
    const tagged = async (parts: TemplateStringsArray, ...values: never[]) => {
      const text = parts.join("?");
      if (!text.trim().startsWith("select")) return sql(parts, ...values);
      const known = `${text} ${JSON.stringify(values)}`;
      if (!answers.has(known)) answers.set(known, await sql(parts, ...values));
      return answers.get(known);
    };
    return tagged as never;
  };

  test("is found out, and its absence too", async () => {
    const { admin } = database.db;
    expect(await answersFromMemory(cached(admin), "rep_probe_1")).toBe(true);
    expect(await answersFromMemory(admin, "rep_probe_2")).toBe(false);
    expect(await admin`select 1 from replicas`).toHaveLength(0);
  });
});

describeOnPostgres("a Worker whose database goes and comes", (database) => {
  test("answers 503 meanwhile, at every door, and then as before", async () => {
    const line = await startLine(urlOf(database));
    const upstream = await startScriptedUpstream();
    upstream.otherwise({
      kind: "json",
      body: chatAnswer(MODEL, "ok", { input: 3, output: 2 }),
    });
    const worker = await startWorker({ bundle, databaseUrl: line.url, upstream: upstream.url });
    try {
      const tenant = await worker.tenant();
      const authorization = { authorization: `Bearer ${tenant.key}` };
      const chat = () =>
        call(`${worker.url}/v1/chat/completions`, {
          method: "POST",
          headers: { ...authorization, "content-type": "application/json" },
          body: JSON.stringify({ model: MODEL, messages: [{ role: "user", content: "Hi" }] }),
        });
      const doors: Readonly<Record<string, () => Promise<{ readonly status: number }>>> = {
        chat,
        api: () =>
          call(`${worker.url}/api/tenants`, {
            headers: { authorization: `Bearer ${worker.adminKey}` },
          }),
        ready: () => call(`${worker.url}/readyz`),
      };
      const statuses = async () =>
        Object.fromEntries(
          await Promise.all(
            Object.entries(doors).map(async ([name, go]) => [name, (await go()).status]),
          ),
        );
      expect(await statuses()).toEqual({ chat: 200, api: 200, ready: 200 });
      const before = upstream.journal.length;
      line.cut();
      expect(await statuses()).toEqual({ chat: 503, api: 503, ready: 503 });
      expect(await statuses()).toEqual({ chat: 503, api: 503, ready: 503 });
      expect(upstream.journal.length).toBe(before);
      line.mend();
      expect(await statuses()).toEqual({ chat: 200, api: 200, ready: 200 });
    } finally {
      await worker.close();
      await upstream.close();
      await line.close();
    }
  });
});

/** A line to the database that can be cut: what was on it is reset, and nobody gets through. */
async function startLine(databaseUrl: string) {
  const target = new URL(databaseUrl);
  const sockets = new Set<Socket>();
  let isCut = false;
  const server = createServer((incoming) => {
    if (isCut) {
      incoming.resetAndDestroy();
      return;
    }
    const outgoing = connect(Number(target.port), target.hostname);
    for (const socket of [incoming, outgoing]) {
      sockets.add(socket);
      socket.on("close", () => sockets.delete(socket));
      socket.on("error", () => {
        incoming.destroy();
        outgoing.destroy();
      });
    }
    incoming.pipe(outgoing).pipe(incoming);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const cut = () => {
    isCut = true;
    for (const socket of sockets) socket.resetAndDestroy();
  };
  return {
    url: Object.assign(new URL(databaseUrl), { port: String(port) }).toString(),
    cut,
    mend: () => {
      isCut = false;
    },
    close: async () => {
      cut();
      server.close();
      await once(server, "close");
    },
  };
}
