/** Every report by every grouping, added up as whoever reads it would, from each format. */
import { picousdFromUsd } from "../../src/core/money.ts";
import type { Tenant, Tollgate } from "../support/tollgate.ts";

type Line = Readonly<Record<string, unknown>>;

/** A sum that was read from a report, and what it must be; both in pico-dollars. */
export type Claim = { readonly of: string; readonly sum: bigint; readonly truth: bigint };

/** Null: all tenants, as the installation's key may ask. */
type Whose = { readonly tenant: Tenant | null; readonly ledger: bigint };

const COST = "cost_usd";

/** A period around all that a test does, on whatever clock. */
export function period(): string {
  const day = (days: number) => new Date(Date.now() + days * 86_400_000).toISOString().slice(0, 10);
  return `from=${day(-400)}&to=${day(400)}`;
}

/** Every sum that reports state of a tenant's money, by these groupings or by all that each report has. */
export async function claimsOf(
  tollgate: Tollgate,
  whose: Whose,
  by: readonly string[] | null = null,
): Promise<readonly Claim[]> {
  const key = whose.tenant?.key ?? tollgate.adminKey;
  const read = async (path: string): Promise<string> => {
    const url = `${tollgate.url}/api/reports/${path}${path.includes("?") ? "&" : "?"}${period()}`;
    const answer = await fetch(url, { headers: { authorization: `Bearer ${key}` } });
    const text = await answer.text();
    if (answer.status !== 200) throw new Error(`${path}: ${answer.status} ${text}`);
    return text;
  };
  const asked = whose.tenant === null ? ["spend"] : ["spend", "cost-per-outcome"];
  const claims: Claim[] = [];
  for (const report of asked) {
    for (const grouping of by ?? (await groupingsOf(tollgate.url, key, report))) {
      const path = `${report}?group_by=${grouping}`;
      for (const sum of await sumsOf(read, path)) {
        claims.push({ of: `${path} ${sum.of}`, sum: sum.sum, truth: whose.ledger });
      }
    }
  }
  claims.push({
    of: "focus",
    sum: focusSum(await read("spend?format=focus")),
    truth: whose.ledger,
  });
  if (whose.tenant === null) return claims;
  return [...claims, ...(await wasteClaims(read, whose.ledger)), ...(await runClaims(read, whose))];
}

type Read = (path: string) => Promise<string>;

/** What a report can be grouped by, as it says itself: each alone, and each with the three behind it. */
async function groupingsOf(url: string, key: string, report: string): Promise<readonly string[]> {
  const answer = await fetch(`${url}/api/reports/${report}?group_by=no`, {
    headers: { authorization: `Bearer ${key}` },
  });
  const text = await answer.text();
  const named = /it can be by ([^.]+)\./u.exec(text)?.[1]?.split(", ");
  if (named === undefined) throw new Error(`${report} does not say its groupings: ${text}`);
  const all = named.map((name) => name.replace("<name>", "team"));
  const together = all.map((_, at) =>
    [0, 1, 2, 3].map((by) => all[(at + by) % all.length]).join(","),
  );
  return [...all, ...together];
}

/**
 * The rows of a report, what was left off, and what is not attributed; where it is grouped by one thing, from all
 * three formats.
 */
async function sumsOf(read: Read, path: string) {
  const json = JSON.parse(await read(path)) as Line;
  const whole = costOf(json["total"]) + unattributed(json);
  const rows = total(json["rows"]) + costOf(json["left_off"]) + unattributed(json);
  const stated = [
    { of: "total", sum: whole },
    { of: "rows", sum: rows },
  ];
  if (path.includes(",")) return stated;
  const lines = (await read(`${path}&format=ndjson`))
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as Line);
  const last = lines.at(-1);
  if (last?.["line"] !== "report") throw new Error("the last line is the report");
  const ndjson = total(lines.slice(0, -1)) + costOf(last["left_off"]) + unattributed(last);
  const csv = columnOf(await read(`${path}&format=csv`), COST);
  return [...stated, { of: "ndjson", sum: ndjson }, { of: "csv", sum: csv }];
}

/** The columns of waste add up to what it says was wasted; its total is all that was spent. */
async function wasteClaims(read: Read, ledger: bigint): Promise<readonly Claim[]> {
  const json = JSON.parse(await read("waste")) as Line;
  const stated = costOf(json["total"], "waste_usd");
  const rows = total(json["rows"], "waste_usd") + costOf(json["left_off"], "waste_usd");
  const runs = JSON.parse(await read("runs?limit=1000")) as Line;
  return [
    { of: "waste total", sum: costOf(json["total"]), truth: ledger },
    { of: "waste rows", sum: rows, truth: stated },
    { of: "waste csv", sum: columnOf(await read("waste?format=csv"), "waste_usd"), truth: stated },
    { of: "waste of runs", sum: total(runs["rows"], "waste_usd"), truth: stated },
  ];
}

/** Page by page, and at once. */
async function runClaims(read: Read, { ledger }: Whose): Promise<readonly Claim[]> {
  let paged = 0n;
  let cursor: unknown = null;
  do {
    const more = typeof cursor === "string" ? `&cursor=${encodeURIComponent(cursor)}` : "";
    const page = JSON.parse(await read(`runs?limit=2${more}`)) as Line;
    paged += total(page["rows"]);
    cursor = page["next"];
  } while (cursor !== null);
  const json = JSON.parse(await read("runs?limit=1000")) as Line;
  const lines = (await read("runs?limit=1000&format=ndjson")).trimEnd().split("\n");
  const ndjson = total(lines.slice(0, -1).map((line) => JSON.parse(line) as Line));
  const csv = columnOf(await read("runs?limit=1000&format=csv"), COST);
  return [
    { of: "runs by page", sum: paged, truth: ledger },
    { of: "runs total", sum: costOf(json["total"]), truth: ledger },
    { of: "runs ndjson", sum: ndjson, truth: ledger },
    { of: "runs csv", sum: csv, truth: ledger },
  ];
}

function focusSum(text: string): bigint {
  const [billed, effective] = ["BilledCost", "EffectiveCost"].map((name) => columnOf(text, name));
  if (billed === undefined || billed !== effective) throw new Error("they are the same cost");
  return billed;
}

function unattributed(report: Line): bigint {
  return "unattributed_usd" in report ? costOf(report, "unattributed_usd") : 0n;
}

function total(rows: unknown, column = COST): bigint {
  if (!Array.isArray(rows)) throw new Error("a report has rows");
  return (rows as readonly unknown[]).reduce<bigint>((sum, row) => sum + costOf(row, column), 0n);
}

/** Nothing where there is no such line. */
function costOf(line: unknown, column = COST): bigint {
  if (line === null || line === undefined) return 0n;
  const cost = (line as Line)[column];
  if (typeof cost !== "string") throw new Error(`a line has ${column}: ${JSON.stringify(line)}`);
  return picousdFromUsd(cost);
}

/** All of a column of a CSV; an empty cell is nothing. */
function columnOf(text: string, column: string): bigint {
  const [header, ...lines] = csvLines(text);
  const at = header?.indexOf(column) ?? -1;
  if (at === -1) throw new Error(`no column ${column}`);
  return lines
    .map((cells) => cells[at] ?? "")
    .reduce((sum, cell) => sum + (cell === "" ? 0n : picousdFromUsd(cell)), 0n);
}

/** RFC 4180, of cells without line breaks. */
export function csvLines(text: string): readonly (readonly string[])[] {
  return text
    .split("\r\n")
    .filter((line) => line !== "")
    .map((line) =>
      [...`,${line}`.matchAll(/,(?:"((?:[^"]|"")*)"|([^,]*))/gu)].map(
        ([, quoted, plain]) => quoted?.replaceAll('""', '"') ?? plain ?? "",
      ),
    );
}
