import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { isList, isRecord } from "../../src/lib/json.ts";
import { scanJson, stringAt } from "../../src/lib/json-scan.ts";

const BOUNDS = { depthMax: 8, valuesMax: 100 };

type Place = readonly [kind: string, value: unknown, name: string | null];

/** In the order of the text. */
function placesIn(value: unknown, name: string | null): readonly Place[] {
  if (typeof value === "string") return [["string", value, name]];
  if (typeof value === "number") return [["number", value, name]];
  if (isList(value)) return value.flatMap((item) => placesIn(item, null));
  if (!isRecord(value)) return [];
  return Object.entries(value).flatMap(([member, each]) => [
    ["name", member, null] as const,
    ...placesIn(each, member),
  ]);
}

function longestIn(value: unknown): number {
  if (isList(value)) return Math.max(value.length, ...value.map(longestIn));
  if (!isRecord(value)) return 0;
  return Math.max(0, ...Object.values(value).map(longestIn));
}

function at(value: unknown, path: readonly string[]): unknown {
  return path.reduce<unknown>(
    (inner, name) => Object.getOwnPropertyDescriptor(inner, name)?.value,
    value,
  );
}

describe("a scan of a JSON text", () => {
  test("finds every string, number and name where it stands, and the longest list", () => {
    const spaces = fc.constantFrom("", " ", "\t");
    const property = fc.property(fc.jsonValue({ maxDepth: 5 }), spaces, (value, space) => {
      const text = JSON.stringify(value, null, space);
      const scan = scanJson(text, { depthMax: 128, valuesMax: 100_000 });
      if (scan.kind === "refused") throw new Error(scan.why);
      const places = scan.places.map(({ kind, start, end, name }) => {
        const read =
          kind === "number" ? Number(text.slice(start, end)) : stringAt(text, start, end);
        return [kind, read, name];
      });
      const parsed: unknown = JSON.parse(text);
      expect(places).toEqual(placesIn(parsed, null));
      expect(scan.longest?.items ?? 0).toBe(longestIn(parsed));
      if (scan.longest !== null) {
        expect(at(parsed, scan.longest.path)).toHaveLength(scan.longest.items);
      }
    });
    fc.assert(property, { numRuns: 500 });
  });

  test.each([
    ["too_deep", `${"[".repeat(9)}${"]".repeat(9)}`],
    ["too_many", JSON.stringify(Array.from({ length: 100 }, () => null))],
    ["duplicate", String.raw`{"a":[{"b":1,"\u0062":2}]}`],
  ])("refuses what is %s", (why, text) => {
    expect(scanJson(text, BOUNDS)).toEqual({ kind: "refused", why });
  });

  test.each([
    `${"[".repeat(8)}${"]".repeat(8)}`,
    JSON.stringify(Array.from({ length: 99 }, () => null)),
    '[{"a":1},{"a":{"a":1}}]',
  ])("takes what is just within its bounds: %s", (text) => {
    expect(scanJson(text, BOUNDS).kind).toBe("scanned");
  });
});
