import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { indexOfNeedle, needleOf } from "../../../src/dialects/openai/byte-search.ts";
import { boundaryOf, isJsonType } from "../../../src/dialects/openai/form-headers.ts";
import { formDigest, multipartFieldReader } from "../../../src/dialects/openai/multipart.ts";

const NAMES = ["model", "stream", "n", "response_format"];
const BOUNDARY = "----formdata-undici-0123";

function form(parts: readonly [string, string | Uint8Array][]): Uint8Array {
  const pieces: Uint8Array[] = [];
  for (const [headers, body] of parts) {
    pieces.push(
      Buffer.from(`--${BOUNDARY}\r\n${headers}\r\n\r\n`),
      Buffer.from(body),
      Buffer.from("\r\n"),
    );
  }
  return Buffer.concat([...pieces, Buffer.from(`--${BOUNDARY}--\r\n`)]);
}

function disposition(name: string, more = ""): string {
  return `Content-Disposition: form-data; name="${name}"${more}`;
}

function read(chunks: readonly Uint8Array[]): object {
  const reader = multipartFieldReader(BOUNDARY, NAMES);
  for (const chunk of chunks) reader.push(chunk);
  return {
    fields: reader.fields(),
    unclear: reader.unclear(),
    isDone: reader.isDone(),
    problem: reader.problem(),
  };
}

describe("fields of a form", () => {
  const sound = Buffer.from(`\r\n--${BOUNDARY.slice(0, -1)}\r\n\r\n-${"\u0000ÿ".repeat(50)}--`);
  const file = `${disposition("file", '; filename="a.mp3"')}\r\nContent-Type: audio/mpeg`;
  const bytes = form([
    [file, sound],
    [disposition("n"), ""],
    [`content-type: text/plain\r\n${disposition("model")}`, "whisper-1"],
    ["content-disposition: form-data; name=stream", "true"],
    [disposition("prompt"), "model"],
  ]);
  const expected = {
    fields: { n: "", model: "whisper-1", stream: "true" },
    unclear: [],
    isDone: true,
    problem: null,
  };

  test("are found wherever the bytes are cut", () => {
    expect(read([bytes])).toEqual(expected);
    for (let cut = 0; cut <= bytes.length; cut += 1)
      expect(read([bytes.subarray(0, cut), bytes.subarray(cut)])).toEqual(expected);
    expect(read(Array.from(bytes, (byte) => Uint8Array.of(byte)))).toEqual(expected);
  });

  test("that come twice, too long, or as files are told as unclear", () => {
    expect(
      read([
        form([
          [disposition("model"), "a"],
          [disposition("model"), "b"],
        ]),
      ]),
    ).toMatchObject({ fields: { model: "a" }, unclear: ["model"] });
    expect(read([form([[disposition("model"), "a".repeat(1_025)]])])).toMatchObject({
      fields: {},
      unclear: ["model"],
    });
    const long = form([
      [disposition("model"), "a".repeat(50_000)],
      [disposition("n"), "2"],
    ]);
    expect(
      read(
        Array.from({ length: 51 }, (_, index) => long.subarray(index * 1_000, (index + 1) * 1_000)),
      ),
    ).toMatchObject({ fields: { n: "2" }, unclear: ["model"] });
    expect(read([form([[disposition("model", '; filename="x"'), "a"]])])).toMatchObject({
      fields: {},
      unclear: ["model"],
    });
    expect(read([Buffer.from("no form at all")])).toEqual({
      fields: {},
      unclear: [],
      isDone: false,
      problem: "The form does not end with its closing boundary",
    });
  });

  test("any bytes in any pieces are read without a throw, and alike", () => {
    const piece = fc.oneof(
      fc.uint8Array(),
      fc
        .constantFrom(`--${BOUNDARY}`, "\r\n", "\r\n\r\n", "--", disposition("model"), "x")
        .map((text) => new Uint8Array(Buffer.from(text))),
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 30 }), (pieces) => {
        expect(read(pieces)).toEqual(read([Buffer.concat(pieces)]));
      }),
      { numRuns: 2_000 },
    );
  });
});

describe("a form that servers read differently is told as a problem", () => {
  const part = `--${BOUNDARY}\r\n${disposition("n")}\r\n\r\n1\r\n`;
  const hidden = `${disposition("n")}\r\n\r\n128\r\n`;
  const end = `--${BOUNDARY}--\r\n`;
  const many = `--${BOUNDARY}\r\n${disposition("x")}\r\n\r\n\r\n`.repeat(128);
  const rows: readonly [string, string][] = [
    ["more parts than are read", many + part + end],
    ["spaces behind a boundary", `${part}--${BOUNDARY} \r\n${hidden}${end}`],
    ["a line feed behind a boundary", `${part}--${BOUNDARY}\n${hidden}${end}`],
    ["a longer boundary", `${part}--${BOUNDARY}x\r\n${hidden}${end}`],
    ["a boundary after a line feed", `${part.slice(0, -2)}\n--${BOUNDARY}\r\n${hidden}${end}`],
    ["text before the first boundary", `x\r\n${part}${end}`],
    ["a part behind the end", part + end + part + end],
    ["no end", part],
    ["no body", `--${BOUNDARY}\r\n${disposition("x")}\r\n\r\n${part}${end}`],
    ["no headers", `--${BOUNDARY}\r\n\r\n1\r\n${end}`],
    ["no name", `--${BOUNDARY}\r\nContent-Disposition: form-data\r\n\r\n1\r\n${end}`],
    ["a folded header", part.replace("; name", ";\r\n name") + end],
    ["a space before the colon", part.replace("Disposition:", "Disposition :") + end],
    ["a bare line feed", part.replace("; name", ";\n name") + end],
    ["two dispositions", part.replace("\r\n\r\n", `\r\n${disposition("x")}\r\n\r\n`) + end],
    ["two names", part.replace('"n"', '"x"; name="n"') + end],
    ["name*", part.replace('"n"', "\"x\"; name*=utf-8''n") + end],
    ["a quoted pair", part.replace('"n"', '"\\n"') + end],
    ["an open quote", part.replace('"n"', '"n') + end],
    ["another disposition", part.replace("form-data", "attachment") + end],
    ["base64", part.replace("\r\n\r\n", "\r\nContent-Transfer-Encoding: base64\r\n\r\n") + end],
    ["endless headers", `--${BOUNDARY}\r\nx: ${"y".repeat(9_000)}\r\n\r\n1\r\n${end}`],
    ["a boundary in headers", `--${BOUNDARY}\r\nx: --${BOUNDARY}\r\n${hidden}${end}`],
  ];
  test.each(rows)("%s", (_name, text) => {
    const bytes = Buffer.from(text);
    expect(read([bytes])).toMatchObject({ problem: expect.any(String) });
    expect(read(Array.from(bytes, (byte) => Uint8Array.of(byte)))).toEqual(read([bytes]));
  });

  test("names that some servers take for a wanted one are unclear", () => {
    for (const name of ["N", " n", "n[]", "n[0]"]) {
      expect(read([form([[disposition(name), "128"]])])).toMatchObject({
        unclear: ["n"],
        problem: null,
      });
    }
  });
});

describe("a search reads each byte a bounded number of times", () => {
  const encoder = new TextEncoder();

  test("and finds what a plain search finds", () => {
    const text = fc.string({ unit: fc.constantFrom("a", "b", "-") });
    fc.assert(
      fc.property(
        text,
        fc.string({ unit: "binary-ascii" }),
        text,
        text,
        (before, gap, mid, wanted) => {
          const hay = before + gap.repeat(20) + mid;
          const found = indexOfNeedle(encoder.encode(hay), needleOf(encoder.encode(wanted)));
          expect(found).toBe(wanted === "" ? -1 : hay.indexOf(wanted));
        },
      ),
      { numRuns: 2_000 },
    );
  });

  /** Counts the reads and the native searches of an array of bytes. */
  function counted(bytes: Uint8Array): { bytes: Uint8Array; work: () => number } {
    let work = 0;
    const proxy = new Proxy(bytes, {
      get: (target, name) => {
        if (name === "length") return target.length;
        if (name === "indexOf") {
          return (byte: number, from: number): number => {
            const found = target.indexOf(byte, from);
            work += (found < 0 ? target.length : found) - from;
            return found;
          };
        }
        work += 1;
        return target[Number(name)];
      },
    });
    return { bytes: proxy, work: () => work };
  }

  test.each([
    ["-".repeat(70) + "x", "-"],
    ["-x".repeat(35) + "y", "-x"],
    [`--${BOUNDARY}`, `--${BOUNDARY.slice(0, -1)}`],
    [`--${BOUNDARY}`, `-${"x".repeat(64)}`],
    [`--${BOUNDARY}`, "x"],
  ])("%s in a run of %s", (wanted, unit) => {
    const hay = counted(encoder.encode(unit.repeat(Math.ceil(20_000 / unit.length))));
    expect(indexOfNeedle(hay.bytes, needleOf(encoder.encode(wanted)))).toBe(-1);
    expect(hay.work()).toBeLessThan(5 * hay.bytes.length);
  });

  test("so a large form of broken parts ends", () => {
    const broken = Buffer.from(`--${BOUNDARY}\r\n${"\r".repeat(20)}`.repeat(90_000));
    expect(read([broken])).toMatchObject({ isDone: true, problem: expect.any(String) });
    const dashes = Buffer.from(`--${BOUNDARY}\r\n${disposition("x")}\r\n\r\n`);
    const long = Buffer.concat([dashes, Buffer.alloc(4 * 1024 * 1024, "\r\n--")]);
    expect(read([long])).toMatchObject({ isDone: false, problem: expect.any(String) });
  });
});

test.each([
  [`multipart/form-data; boundary=a; boundary=b`, null],
  [`multipart/form-data; boundary=a; boundary*0=b`, null],
  [`multipart/form-data; boundary="a\\b"`, null],
  [`multipart/form-data; boundary=a b`, null],
  [`multipart/form-data; boundary="a "`, null],
  [`multipart/form-data; boundary=${BOUNDARY}`, BOUNDARY],
  ['Multipart/Form-Data; charset=utf-8; boundary="a b"', "a b"],
  ["multipart/form-data", null],
  ["application/json; boundary=x", null],
  [`multipart/form-data; boundary=${"x".repeat(71)}`, null],
])("the boundary of %s", (header, boundary) => expect(boundaryOf(header)).toBe(boundary));

test.each([
  ["", true],
  ["application/json", true],
  ["Application/JSON; charset=UTF-8", true],
  ['application/json;charset="utf-8"', true],
  ["application/json; odata=verbose", true],
  ["application/vnd.api+json", true],
  ["text/json", true],
  ["application/json; charset=utf-16", false],
  ["application/json; charset=utf-8; charset=utf-7", false],
  ["application/json; charset*=utf-7", false],
  ["application/json; charset = utf-16", false],
  ["application/json, charset=utf-16", false],
  ["text/plain;charset=UTF-8", false],
  ["application/x-www-form-urlencoded", false],
  ["multipart/form-data; boundary=x", false],
  ["application/jsonp", false],
])("%s is JSON in UTF-8: %s", (header, isJson) => expect(isJsonType(header)).toBe(isJson));

test("a form is the same under another boundary, and under none if anything else differs", () => {
  const part = (boundary: string, body: string) =>
    `--${boundary}\r\n${disposition("file")}\r\n\r\n${body}\r\n`;
  const digest = (boundary: string, ...bodies: readonly string[]) => {
    const parts = bodies.map((body) => part(boundary, body)).join("");
    return formDigest(boundary, Buffer.from(`${parts}--${boundary}--\r\n`));
  };
  expect(digest("b1", "x", "y")).toBe(digest("another", "x", "y"));
  const others = [
    digest("b1", "x", "z"),
    digest("b1", "xy"),
    // One part, in which the bytes of the two stand, also without their boundary.
    digest("b2", `x\r\n${part("b1", "y")}`),
    digest("b2", `x\r\n${part("", "y").replace("--", "")}`),
  ];
  expect(new Set([digest("b1", "x", "y"), ...others]).size).toBe(5);
});
