import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { OUTCOME_IMPORT_BYTES_MAX, OUTCOME_ROWS_MAX } from "../../src/core/limits-finance.ts";
import { describeEachDatabase } from "../support/databases.ts";
import { createTestManagement, type Json, type Management } from "../support/management.ts";

const CSV = "text/csv";
const NDJSON = "application/x-ndjson";

describeEachDatabase("an import of outcomes", (database) => {
  let api: Management;
  let tenant: Awaited<ReturnType<Management["newTenant"]>>;
  beforeAll(async () => {
    api = await createTestManagement(database.db);
  });
  beforeEach(async () => {
    tenant = await api.newTenant();
    await api.call(tenant.key, "POST", "/api/outcome-types", { name: "done" });
    for (const run of ["r", "s"]) await api.call(tenant.key, "PUT", `/api/runs/${run}`, {});
  });
  afterAll(() => api.close());

  const send = (text: string | Uint8Array<ArrayBuffer>, media: string, query = "") =>
    api.send(`/api/outcomes/import${query}`, {
      method: "POST",
      headers: { authorization: `Bearer ${tenant.key}`, "content-type": media },
      body: text,
    });
  const results = (body: Json): unknown =>
    body.results.map(({ line, result, param }: Json) =>
      param === null ? [line, result] : [line, result, param],
    );
  const listed = async (): Promise<Json[]> =>
    // In the order of their keys and statuses: ids of one millisecond have none.
    (await api.call(tenant.key, "GET", "/api/outcomes")).body.data.toSorted((a: Json, b: Json) =>
      `${a.run} ${a.key}` < `${b.run} ${b.key}` ? -1 : 1,
    );

  test("tells of each row of a CSV file what became of it, by its line", async () => {
    const text =
      "\u{feff}run,operation,type,status,key,value_usd,weight,evidence,occurred_at\r\n" +
      'r,,done,success,T-1,"4.50",2,"closed, ""by""\r\nthe customer",2026-01-02T03:04:05Z\r\n' +
      "r,,done,success,T-2,,,,\r\n" +
      "\r\n" +
      "r,,done,success,T-2,,,,\r\n" +
      "r,,done,failure,T-2,,,,\r\n" +
      "none,,done,success,,,,,\r\n" +
      "r,,sale,success,,,,,\r\n" +
      "r,a:b,done,success,,,,,\r\n" +
      ",,done,success,,,,,\r\n" +
      "s,,done,success,,,many,,\r\n" +
      "s,,done,success,,much,,,\r\n" +
      "s,,done,success,,,,,yesterday\r\n" +
      "s,,done\r\n" +
      "s,,done,won,,,,,";
    const { status, body } = await send(text, `${CSV}; charset=utf-8`);
    expect(status).toBe(200);
    expect(body).toMatchObject({
      dry_run: false,
      rows: 13,
      accepted: 2,
      repeated: 1,
      not_matched: 10,
    });
    expect(results(body)).toEqual([
      [2, "accepted"],
      [4, "accepted"],
      [6, "repeated"],
      [7, "not_matched", "supersedes"],
      [8, "not_matched", "run"],
      [9, "not_matched", "type"],
      [10, "not_matched", "run"],
      [11, "not_matched", "run"],
      [12, "not_matched", "weight"],
      [13, "not_matched", "value_usd"],
      [14, "not_matched", "occurred_at"],
      [15, "not_matched"],
      [16, "not_matched", "status"],
    ]);
    expect(body.results[1].outcome).toBe(body.results[2].outcome);
    expect(body.results[5].reason).toContain("tollgate outcome-types create sale");
    expect(body.results[11].reason).toBe("The row has 3 cells, and the header names 9 columns.");
    expect(await listed()).toMatchObject([
      {
        run: "r",
        key: "T-1",
        value_usd: "4.50",
        weight: 2,
        evidence: 'closed, "by"\r\nthe customer',
        occurred_at: "2026-01-02T03:04:05.000Z",
      },
      { run: "r", key: "T-2", value_usd: null, weight: 1, evidence: "" },
    ]);
  });

  test("takes NDJSON with exact amounts, and again without another row", async () => {
    const text =
      '{"run":"r","type":"done","status":"success","value_usd":0.100000000001,"key":null}\n' +
      "\n" +
      '{"run":"s","type":"done","status":"success"}\r\n' +
      "{broken\n" +
      "[]\n" +
      '{"run":"r","run":"s","type":"done","status":"success"}\n' +
      '{"run":"r","type":"done","status":"success","cost":1}\n' +
      `{"run":"r","type":"done","status":"success","value_usd":${"1".repeat(65)}}`;
    const first = await send(text, NDJSON);
    expect(results(first.body)).toEqual([
      [1, "accepted"],
      [3, "accepted"],
      [4, "not_matched"],
      [5, "not_matched"],
      [6, "not_matched", "run"],
      [7, "not_matched", "cost"],
      [8, "not_matched"],
    ]);
    expect((await listed())[0].value_usd).toBe("0.100000000001");
    const again = await send(text, NDJSON);
    expect(again.body).toMatchObject({ accepted: 0, repeated: 2, not_matched: 5 });
    expect(await listed()).toHaveLength(2);
  });

  test("corrects what a row names, and takes a report of rejected rows back in", async () => {
    const { body } = await send("run,type,status\nr,done,success", CSV);
    const text =
      "run,type,status,supersedes,reject_line,reject_reason\n" +
      `r,done,reversed,${body.results[0].outcome},2,"There is no such run"`;
    expect((await send(text, CSV)).body).toMatchObject({ accepted: 1 });
    const held = (await listed()).filter(({ superseded_by: by }) => by === null);
    expect(held).toMatchObject([{ status: "reversed" }]);
  });

  test("writes nothing in a dry run, and says what it would have", async () => {
    const text = "run,type,status\nr,done,success\nr,done,success\nnone,done,success";
    const { body } = await send(text, CSV, "?dry_run=true");
    expect(body).toMatchObject({ dry_run: true, accepted: 1, repeated: 1, not_matched: 1 });
    expect(await listed()).toEqual([]);
  });

  test("takes as many rows as it says, and refuses one more whole", async () => {
    const rows = Array.from({ length: OUTCOME_ROWS_MAX + 1 }, (_, at) => `r,done,success,${at}`);
    const text = (count: number) => ["run,type,status,key", ...rows.slice(0, count)].join("\n");
    const over = await send(text(OUTCOME_ROWS_MAX + 1), CSV);
    expect([over.status, over.body.error.message]).toEqual([
      400,
      expect.stringContaining("send it in parts"),
    ]);
    expect(await listed()).toEqual([]);
    const all = await send(text(OUTCOME_ROWS_MAX), CSV);
    expect(all.body).toMatchObject({ rows: OUTCOME_ROWS_MAX, accepted: OUTCOME_ROWS_MAX });
  });

  test.each([
    // Read and flawed one by one, each of these files held the process for half a minute and more.
    ["lines of JSON", "1\n".repeat(2_000_000), NDJSON],
    ["short rows", `run,type,status\n${"a\n".repeat(2_000_000)}`, CSV],
    ["rows, and then no CSV", `run,type,status\n${"a\n".repeat(OUTCOME_ROWS_MAX + 1)}"`, CSV],
  ] as const)("of too many %s is refused before a row is looked at", async (_, text, media) => {
    const { status, body } = await send(text, media);
    expect([status, body.error.message]).toEqual([
      400,
      expect.stringContaining("send it in parts"),
    ]);
  });

  test.each([
    ["a column that there is not", "run;type;status\nr;done;success", CSV, 400, "run;type;status"],
    ["a text that is no CSV", "a".repeat(100_000), CSV, 400, "a".repeat(256)],
    ["a column twice", "run,run,type,status\n", CSV, 400, "run"],
    ["a quote that is not closed", 'run,type,status\n"r,done,success', CSV, 400, null],
    ["a row of commas alone", `run,type,status\n${",".repeat(1_000)}`, CSV, 400, null],
    ["nothing", "", CSV, 400, null],
    ["JSON", "{}", "application/json", 415, "content-type"],
    ["bytes that are no UTF-8", Uint8Array.of(0xff, 0xfe), NDJSON, 400, null],
    ["too much", " ".repeat(OUTCOME_IMPORT_BYTES_MAX + 1), NDJSON, 413, null],
  ] as const)("of %s is refused whole", async (_, text, media, status, param) => {
    const answer = await send(text, media);
    expect([answer.status, answer.body.error.param]).toEqual([status, param]);
    expect(await listed()).toEqual([]);
  });

  test("of another tenant's runs matches nothing", async () => {
    const other = await api.newTenant();
    await api.call(other.key, "PUT", "/api/runs/theirs", {});
    const { body } = await send("run,type,status\ntheirs,done,success", CSV);
    expect(results(body)).toEqual([[2, "not_matched", "run"]]);
    const named = await send("run,type,status\nr,done,success", CSV, `?tenant=${other.id}`);
    expect(named.status).toBe(404);
  });
});
