import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startServed, type Served } from "./command.ts";

/** One Tollgate for the file, started as people start it, with three calls of one run and one of another. */
let served: Served;
let tollgate: Served["tollgate"];

beforeAll(async () => {
  served = await startServed();
  ({ tollgate } = served);
  for (const [run, team] of [
    ["a", "search"],
    ["a", "search"],
    ["a", "search"],
    ["b", "sales"],
  ] as const) {
    const answer = await fetch(`${served.url}/v1/chat/completions`, {
      method: "POST",
      headers: {
        authorization: `Bearer ${served.firstKey}`,
        "content-type": "application/json",
        "tollgate-run": run,
        "tollgate-labels": `team=${team}`,
      },
      body: JSON.stringify({
        model: "demo/chat",
        max_completion_tokens: 50,
        messages: [{ role: "user", content: "Hello" }],
      }),
    });
    expect(answer.status).toBe(200);
    await answer.text();
  }
});

afterAll(() => served.close());

async function out(...words: string[]): Promise<string> {
  const { code, out: text, err } = await tollgate(...words);
  expect(code, err).toBe(0);
  return text;
}

test("spend shows who called just now, as a table, as JSON and as CSV", async () => {
  const table = await out("report", "spend", "--group-by", "run,model");
  expect(table).toMatch(
    /^tenant +ten_.*\nfrom +20.*\nto +20.*\ntime zone +UTC\nas of +20.*\namounts +in USD\n/,
  );
  expect(table).toMatch(
    /RUN +MODEL +ATTEMPTS[\s\S]*\na +\S+ +3[\s\S]*\nb +\S+ +1[\s\S]*total\nattempts +4/,
  );
  const report = JSON.parse(await out("report", "spend", "--group-by", "label:team", "--json"));
  expect(report.rows.map((row: { groups: unknown }) => row.groups)).toEqual([
    { "label:team": "search" },
    { "label:team": "sales" },
  ]);
  const csv = await out("report", "spend", "--group-by", "run", "--csv");
  expect(csv).toMatch(/^line,run,attempts,[^\r]*\r\nrow,a,3,/);
  expect(await out("report", "spend", "--focus")).toMatch(/^BilledCost,BillingCurrency,/);
  expect(await out("report", "spend", "--all-tenants", "--group-by", "tenant")).toMatch(/TENANT/);
  const none = await tollgate("report", "spend", "--of-key", "key_none");
  expect([none.code, none.err]).toEqual([1, expect.stringContaining("There is no key 'key_none'")]);
});

test("cost per outcome, waste, runs and budgets each have their table", async () => {
  expect(await out("report", "cost-per-outcome")).toMatch(
    /runs without outcome +2\nunattributed +0\.0/,
  );
  expect(await out("report", "waste")).toMatch(/total\nattempts +4/);
  expect(await out("report", "runs", "--rows", "1")).toMatch(/RUN +CUSTOMER[\s\S]*\na +/);
  await out("limits", "create", "--unit", "usd", "--limit", "5", "--window", "month");
  expect(await out("report", "budgets")).toMatch(
    /LIMIT +SCOPE[\s\S]*\nlim_\S+ +tenant - +.*usd +month +5\.00/,
  );
});

test("spend and waste tell what each tool cost, by calls, retries, refusals and failures", async () => {
  const post = async (path: string, body: object) => {
    const answer = await fetch(`${served.url}/api/${path}`, {
      method: "POST",
      headers: { authorization: `Bearer ${served.firstKey}`, "content-type": "application/json" },
      body: JSON.stringify(body),
    });
    expect(answer.status).toBe(200);
    return (await answer.json()) as { readonly attempt_id: string };
  };
  const ask = { kind: "tool", name: "search", run: "tools", step: "look", estimate_usd: "0.02" };
  for (const [how, report] of [
    ["fail", { error: "It broke.", executed: "yes" }],
    ["fail", { error: "It broke.", executed: "yes" }],
    ["complete", {}],
  ] as const) {
    const { attempt_id: attempt } = await post("gate", ask);
    await post(`attempts/${attempt}/${how}`, report);
  }
  expect(await out("report", "spend", "--group-by", "tool")).toMatch(
    /TOOL +ATTEMPTS +BLOCKED +REPEATED +RETRIES +FAILED +UNPRICED +COST +OF FAILED +WASTE .*[^]*\nsearch +3 +0 +0 +2 +2 +0 +0\.06 +0\.04 +0\.02 /,
  );
  expect(await out("report", "waste", "--tool", "search")).toMatch(
    /\n- +- +search +3 +0 +0 +2 +2 /,
  );
});

test("a period is named, in a fiscal year too", async () => {
  const period = ["--period", "this_year", "--fiscal-year-start", "4"];
  const report = JSON.parse(await out("report", "spend", ...period, "--json"));
  expect(report.from).toMatch(/^20\d\d-04-01T00:00:00.000Z$/);
  expect(report.to).toMatch(/^20\d\d-04-01T00:00:00.000Z$/);
});

test("a schedule is created, listed, changed and removed", async () => {
  const words = ["report", "schedules"];
  const terms = ["--every", "month", "--time-zone", "Europe/Berlin", "--group-by", "customer"];
  const create = [...words, "create", "spend by customer", "--report", "spend", ...terms];
  const created = await out(...create, "--of-key", "key_a");
  expect(created).toMatch(/report +spend\nquery +key=key_a group_by=customer\nevery +month\n/);
  const id = /id +(rsc_\S+)/.exec(created)?.[1] ?? "";
  const changed = await out(...words, "change", id, "--name", "weekly", "--every", "week");
  expect(changed).toMatch(/name +weekly[\s\S]*query +key=key_a group_by=customer\nevery +week\n/);
  expect(await out(...words, "list")).toMatch(/^ID +NAME[\s\S]*\nrsc_\S+ +weekly +spend +/);
  expect(await out(...words, "remove", id)).toBe(`Removed ${id}.\n`);
  expect(await out(...words, "list", "--json")).toMatch(/"data":\[\]/);
  const wrong = await tollgate(...words, "create", "x", "--report", "runs", "--every", "day");
  expect(wrong.code).toBe(2);
});

test("a report is written to a file, and never over one that is there", async () => {
  const words = ["report", "spend", "--csv", "--output", "spend.csv"];
  expect(await out(...words)).toBe("");
  expect(readFileSync(join(served.place.directory, "spend.csv"), "utf8")).toMatch(
    /^line,attempts,/,
  );
  const again = await tollgate(...words);
  expect([again.code, again.err]).toEqual([
    1,
    expect.stringMatching(/^error: Nothing was written/),
  ]);
});

test("a period is closed, listed, and has not drifted", async () => {
  const period = ["--from", "2020-01-01", "--to", "2020-02-01"];
  const id = /closing +(cls_\S+)/.exec(await out("report", "close", ...period))?.[1] ?? "";
  expect(await out("report", "closings")).toContain(id);
  expect(await out("report", "drift", id)).toContain(id);
  expect(await out("report", "spend", "--closing", id)).toContain(`closed     ${id}`);
  expect((await tollgate("report", "close", ...period)).code).toBe(1);
  expect((await tollgate("report", "close", "--from", "May", "--to", "June")).code).toBe(2);
});

test("the ledger adds up, of one tenant and of all", async () => {
  expect(await out("ledger", "check")).toMatch(
    /settled +0\.\d+[\s\S]*outcomes and unattributed +0\.\d+ +0\.00[\s\S]*It adds up\./,
  );
  const { code, err } = await tollgate("ledger", "check", "--all-tenants");
  expect([code, err]).toEqual([0, expect.stringMatching(/^1: default …/)]);
});

test("two formats at once are refused", async () => {
  expect((await tollgate("report", "spend", "--csv", "--json")).code).toBe(1);
});

test("help and completion name the columns of group_by, the words of closed lists, and the invoices", async () => {
  const flat = async (...words: string[]) => (await out(...words)).replaceAll(/\s+/gu, " ");
  expect(await flat("report", "--help")).toMatch(
    /cost-per-outcome .*agree with the invoices.*reconciliation .*schedules/,
  );
  expect(await flat("report", "waste", "--help")).toMatch(
    /up to four with commas between: type, key, .*label:<name>, .*tenant, ending, basis, reason/,
  );
  const completion = await out("completion", "bash");
  expect(completion).toContain('"report spend --ending") words="succeeded failed');
  expect(completion).toContain('"report runs --sort") words="cost waste attempts started"');
  expect(completion).toContain('"report schedules create --basis") words="computed');
  expect(completion).toMatch(/"report waste"\) words="[^"]*--group-by/);
  const wrong = await tollgate("report", "spend", "--ending", "fail");
  expect([wrong.code, wrong.err]).toEqual([2, expect.stringContaining("Allowed choices are")]);
});
