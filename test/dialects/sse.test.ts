import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { beginsEvents, createEventSplitter, joinData, readEvent } from "../../src/dialects/sse.ts";

type Split = {
  readonly events: readonly string[];
  readonly oversized: string;
  readonly rest: string;
};

function split(chunks: readonly Uint8Array[], bytesMax = 10_000): Split {
  const events: Buffer[] = [];
  const oversized: Uint8Array[] = [];
  const splitter = createEventSplitter(
    {
      event: (bytes) => events.push(Buffer.from(bytes)),
      trail: (bytes) => {
        events.push(Buffer.concat([events.pop() ?? Buffer.alloc(0), bytes]));
      },
      oversized: (bytes) => oversized.push(bytes),
    },
    bytesMax,
  );
  for (const chunk of chunks) splitter.push(chunk);
  const rest = Buffer.from(splitter.take()).toString("latin1");
  return {
    events: events.map((event) => event.toString("latin1")),
    oversized: Buffer.concat(oversized).toString("latin1"),
    rest,
  };
}

describe("events", () => {
  const rows: readonly [string, readonly string[], string][] = [
    ["data: a\n\ndata: b\n\n", ["data: a\n\n", "data: b\n\n"], ""],
    ["data: a\r\n\r\ndata: b\r\n\r\n", ["data: a\r\n\r\n", "data: b\r\n\r\n"], ""],
    ["data: a\r\rdata: b\r\r", ["data: a\r\r", "data: b\r\r"], ""],
    ["a\r\n\rb\n\r\nc\r\n\n", ["a\r\n\r", "b\n\r\n", "c\r\n\n"], ""],
    [": c\n\n\ndata: a\n\ndata", [": c\n\n", "\n", "data: a\n\n"], "data"],
    ["", [], ""],
  ];
  test.each(rows)("%j, cut at any byte", (text, events, rest) => {
    const bytes = Buffer.from(text);
    const expected = { events, oversized: "", rest };
    for (let cut = 0; cut <= bytes.length; cut += 1)
      expect(split([bytes.subarray(0, cut), bytes.subarray(cut)])).toEqual(expected);
    expect(split(Array.from(bytes, (byte) => Uint8Array.of(byte)))).toEqual(expected);
  });

  test("no byte is lost or moved, whatever comes and however it is cut", () => {
    const text = fc
      .array(fc.constantFrom("\n", "\r", "\r\n", "data: x", ":", "é"))
      .map((parts) => Buffer.from(parts.join("")));
    fc.assert(
      fc.property(text, fc.array(fc.nat()), (bytes, cuts) => {
        const places = [
          0,
          ...cuts.map((cut) => cut % (bytes.length + 1)).toSorted((a, b) => a - b),
          bytes.length,
        ];
        const chunks = places.slice(1).map((end, index) => bytes.subarray(places[index], end));
        const whole = split([bytes]);
        expect(split(chunks)).toEqual(whole);
        expect(whole.events.join("") + whole.rest).toBe(bytes.toString("latin1"));
      }),
      { numRuns: 2_000 },
    );
  });

  test("one that is too long passes in pieces, and the next is an event again", () => {
    const long = Buffer.from(`data: ${"a".repeat(100)}\n\ndata: b\n\n`);
    const heard = split(
      Array.from(long, (byte) => Uint8Array.of(byte)),
      50,
    );
    expect(heard).toEqual({
      events: ["data: b\n\n"],
      oversized: `data: ${"a".repeat(100)}\n\n`,
      rest: "",
    });
  });
});

test.each([
  ["data: a\n\n", "a", null],
  ["data:a\r\ndata\r\ndata:  b\r\n\r\n", "a\n\n b", null],
  ["\uFEFFevent: error\rdata: x\r\r", "x", "error"],
  [": data: no\nid: 1\ndatax: y\nretry: 5\n\n", "", null],
])("the fields of %j", (text, data, name) => {
  const bytes = new TextEncoder().encode(text);
  const fields = readEvent(bytes);
  expect(new TextDecoder().decode(joinData(bytes, fields.data))).toBe(data);
  expect(
    fields.name === null
      ? null
      : text.replace("\uFEFF", "   ").slice(fields.name.start, fields.name.end),
  ).toBe(name);
});

describe("the first bytes of an answer", () => {
  const begins = (text: string, encoding: BufferEncoding = "utf8"): boolean | null =>
    beginsEvents(Buffer.from(text, encoding));
  test.each(["data:x", "data: {", "event: a", "id:1", "retry: 5", ": note", ":"])(
    "are those of a stream: %j",
    (text) => {
      for (const before of ["", "\n", "\r\n\r\n", "\ufeff", "\ufeff\r"])
        expect(begins(before + text)).toBe(true);
    },
  );
  test.each(["{", "[", "<html>", "database", "dat:", "ID3", " data: x", "events", "WEBVTT", "\0"])(
    "are those of something else: %j",
    (text) => expect(begins(text)).toBe(false),
  );
  test.each(["", "\n\r\n", "d", "data", "even", "i", "retry", "\ufeff", "\ufeff\nda"])(
    "do not say it yet: %j",
    (text) => expect(begins(text)).toBe(null),
  );
  test("do not say it in the middle of a byte order mark", () => {
    expect(begins("ef", "hex")).toBe(null);
    expect(begins("efbb", "hex")).toBe(null);
    expect(begins("efbb7b", "hex")).toBe(false);
  });
  test("are those of a stream where lines end and nothing stands in them", () => {
    expect(begins("\n".repeat(600))).toBe(true);
  });
});
