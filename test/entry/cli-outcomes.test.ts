import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { afterAll, beforeAll, expect, test } from "vitest";

import { startServed, type Place, type Ran, type Served } from "./command.ts";

let served: Served;
let place: Place;
let tollgate: Served["tollgate"];

beforeAll(async () => {
  served = await startServed();
  ({ place, tollgate } = served);
  await check(["outcome-types", "create", "ticket_resolved"]);
  for (const run of ["r", "s"]) await check(["runs", "set", run]);
});

afterAll(() => served.close());

/** Runs a command and expects it to say this, in order and line by line. */
async function check(words: readonly string[], ...says: readonly RegExp[]): Promise<string> {
  const { code, out, err } = await tollgate(...words);
  expect(code, err).toBe(0);
  for (const pattern of says) expect(`${out}${err}`).toMatch(pattern);
  return out;
}

test("an outcome type is declared, listed, loses its value, and is removed", async () => {
  const create = ["outcome-types", "create", "sale"];
  await check([...create, "--value", "3.5", "--description", "Sold."], /value +3\.50/, /Sold\./);
  await check(["outcome-types", "list"], /^NAME +VALUE +DESCRIPTION/, /sale +3\.50 +Sold\./);
  expect(await check([...create, "--no-value"], /Sold\./)).not.toContain("value");
  await check(["outcome-types", "remove", "sale"], /^Removed sale\.$/m);
  expect(await check(["outcome-types", "list"])).not.toContain("sale");
  expect((await tollgate(...create, "--value", "much")).code).toBe(2);
});

test("an outcome is recorded, is no news again, is corrected, and listed with its history", async () => {
  const record = ["outcomes", "record", "r", "--type", "ticket_resolved", "--item", "T-1"];
  const success = [...record, "--status", "success", "--value", "4.5", "--weight", "2"];
  const out = await check(success, /outcome +out_/, /of +r/, /value +4\.50/, /weight +2/);
  const [id = ""] = /out_\w+/.exec(out) ?? [];
  await check(success, new RegExp(id), /recorded before: nothing was written/);
  const other = [...record, "--status", "reversed"];
  const clash = await tollgate(...other);
  expect([clash.code, clash.err]).toEqual([1, expect.stringContaining(id)]);
  await check([...other, "--supersedes", id], /status +reversed/, new RegExp(`supersedes +${id}`));
  await check(
    ["outcomes", "list", "--run", "r", "--type", "ticket_resolved"],
    /^OUTCOME +TYPE +STATUS +OF +KEY/,
    /ticket_resolved +reversed +r +T-1/,
    /ticket_resolved +success +r +T-1 +4\.50 .* out_/,
  );
  expect(await check(["outcomes", "list", "--status", "failure"])).not.toContain("out_");
});

test.each([
  ["neither run nor operation", []],
  ["a run and an operation", ["r", "--operation", "refund:1"]],
  ["an operation without a key", ["--operation", "refund"]],
  ["a weight that is none", ["r", "--weight", "1001"]],
])("an outcome of %s is typed wrongly", async (_, words) => {
  const said = ["--type", "ticket_resolved", "--status", "success"];
  expect((await tollgate("outcomes", "record", ...words, ...said)).code).toBe(2);
});

const file = (name: string, text: string | Uint8Array): string => {
  writeFileSync(join(place.directory, name), text);
  return name;
};
const read = (name: string): string => readFileSync(join(place.directory, name), "utf8");
const importing = (name: string, ...words: string[]): Promise<Ran> =>
  tollgate("outcomes", "import", name, ...words);

test("a large file is imported in parts, and each row that does not match is told by its line", async () => {
  const rows = Array.from({ length: 2_500 }, (_, at) => {
    const run = at === 1_100 ? "none" : at % 2 === 0 ? "r" : "s";
    return `${run},ticket_resolved,success,"bulk ${at}","line one\r\nline two"`;
  });
  const name = file("bulk.csv", ["run,type,status,key,evidence", ...rows].join("\r\n"));
  const dry = await importing(name, "--dry-run");
  expect(dry.out).toContain("2500 rows: 2499 accepted, 1 not matched. Nothing was written");
  const first = await importing(name, "--rejects", "rejects.csv");
  expect([first.code, first.err]).toEqual([3, "error: 1 of 2500 rows did not match.\n"]);
  expect(first.out).toMatch(/2202 +not_found +run +There is no run `none`/);
  expect(read("rejects.csv")).toMatch(
    /^run,type,status,key,evidence,reject_line,reject_reason\nnone,ticket_resolved,success,bulk 1100,"line one\r\nline two",2202,"?There is no run/,
  );
  // Mended, the file of rejected rows is imported as it is, and the first one again is no news.
  await check(["runs", "set", "none"]);
  const mended = await importing("rejects.csv", "--rejects", "again.csv");
  expect([mended.code, mended.out]).toEqual([0, "1 rows: 1 accepted.\n"]);
  expect(read("again.csv")).toBe("run,type,status,key,evidence,reject_line,reject_reason\n");
  const again = await importing(name, "--json");
  expect([again.code, JSON.parse(again.out)]).toEqual([
    0,
    {
      dry_run: false,
      rows: 2_500,
      accepted: 0,
      repeated: 2_500,
      not_matched: 0,
      not_sent: 0,
      rejected: [],
    },
  ]);
});

test("lines of JSON keep every digit on their way through the rejects", async () => {
  const row = { run: "r", type: "sale", status: "success" };
  const amount = `${JSON.stringify(row).slice(0, -1)},"value_usd":0.100000000001}`;
  const name = file("rows.jsonl", `${amount}\n\n{broken\n`);
  const first = await importing(name, "--rejects", "rejects.ndjson");
  expect(first.code).toBe(3);
  const [one = "", other = ""] = read("rejects.ndjson").split("\n");
  expect(one).toContain('"value_usd":0.100000000001');
  expect(JSON.parse(one)).toMatchObject({ ...row, reject_line: 1 });
  expect(JSON.parse(other)).toMatchObject({ reject_text: "{broken", reject_line: 3 });
  await check(["outcome-types", "create", "sale"]);
  const mended = await importing(file("mended.ndjson", one));
  expect([mended.code, mended.out]).toEqual([0, "1 rows: 1 accepted.\n"]);
});

test.each([
  ["a file that is not there", "none.csv", null, 1, /ENOENT/],
  ["a file of which nobody knows what it is", "rows.txt", "a", 2, /--format/],
  ["a file that is not UTF-8", "utf16.csv", Uint8Array.of(0xff, 0xfe, 0x41), 1, /not UTF-8/],
  ["a quote that is not closed", "quote.csv", 'run\n"r', 1, /Line 2 is no CSV/],
  ["other separators", "semicolons.csv", "run;type\nr;sale", 1, /no column 'run;type'/],
  ["an empty file", "empty.csv", "", 1, /The file is empty/],
])("an import of %s says so, and records nothing", async (_, name, content, code, why) => {
  if (content !== null) file(name, content);
  const ran = await importing(name);
  expect([ran.code, ran.out]).toEqual([code, ""]);
  expect(ran.err).toMatch(why);
});

test("rejects never overwrite the file that is imported", async () => {
  const name = file("same.csv", "run,type,status\nnone,sale,success");
  expect((await importing(name, "--rejects", `./${name}`)).code).toBe(2);
  expect(read(name)).toContain("none,sale");
});
