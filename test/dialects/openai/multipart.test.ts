import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { boundaryOf, multipartFieldReader } from "../../../src/dialects/openai/multipart.ts";

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
  return { fields: reader.fields(), unclear: reader.unclear(), isDone: reader.isDone() };
}

describe("fields of a form", () => {
  const sound = Buffer.from(
    `\r\n--${BOUNDARY.slice(0, -1)}\r\n\r\n-${"\u0000ÿ".repeat(50)}--${BOUNDARY}`,
  );
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

test.each([
  [`multipart/form-data; boundary=${BOUNDARY}`, BOUNDARY],
  ['Multipart/Form-Data; charset=utf-8; boundary="a b"', "a b"],
  ["multipart/form-data", null],
  ["application/json; boundary=x", null],
  [`multipart/form-data; boundary=${"x".repeat(71)}`, null],
])("the boundary of %s", (header, boundary) => expect(boundaryOf(header)).toBe(boundary));
