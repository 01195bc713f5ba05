import { describe, expect, test } from "vitest";
import { holdsTrue, memberNamed, readRequest, REQUEST_BYTES_MAX } from "./request-reader.ts";

const BODY = '{"model":"m","stream":true}';
const sized = (extra = ""): string =>
  `POST /v1/chat HTTP/1.1\r\nhost: x\r\nContent-Length: ${BODY.length}\r\n${extra}\r\n${BODY}`;
const chunked = (size: number, extension = "", trailer = ""): string => {
  const [a, b] = [BODY.slice(0, size), BODY.slice(size)];
  const chunk = (text: string): string => `${text.length.toString(16)}${extension}\r\n${text}\r\n`;
  return `POST /v1/chat HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n${chunk(a)}${chunk(b)}0\r\n${trailer}\r\n`;
};
const get = "GET /served HTTP/1.1\r\nhost: x\r\n\r\n";

const WHOLE = [
  { name: "a length", text: sized(), keepsAlive: true },
  { name: "a request to close", text: sized("Connection: close\r\n"), keepsAlive: false },
  { name: "HTTP/1.0", text: sized().replace("1.1", "1.0"), keepsAlive: false },
  { name: "chunks", text: chunked(13), keepsAlive: true },
  { name: "chunks with extensions", text: chunked(1, "; a=b"), keepsAlive: true },
  { name: "chunks with trailers", text: chunked(20, "", "x-a: 1\r\nx-b: 2\r\n"), keepsAlive: true },
];

describe("a request is whole with its last byte and not before, with", () => {
  test.each(WHOLE)("$name", ({ text, keepsAlive }) => {
    const bytes = Buffer.from(text);
    for (let length = 0; length < bytes.length; length += 1) {
      expect(readRequest(bytes.subarray(0, length), 0)).toEqual({ kind: "more" });
    }
    const read = readRequest(Buffer.from(`${get}${text}${get}`), get.length);
    if (read.kind !== "whole") throw new Error(JSON.stringify(read));
    expect(read.body.toString()).toBe(BODY);
    expect(read).toMatchObject({ method: "POST", path: "/v1/chat", keepsAlive });
    expect(read.end).toBe(get.length + bytes.length);
  });
});

const BAD = [
  { name: "no request line", text: "hello\r\n\r\n" },
  { name: "another coding", text: chunked(3).replace("chunked", "gzip") },
  { name: "no size", text: chunked(3).replace("\r\n3\r", "\r\nx\r") },
  { name: "a chunk that is longer", text: chunked(3).replace("\r\n3\r", "\r\n2\r") },
  {
    name: "a size without end",
    text: chunked(3).replace("\r\n3\r\n", `\r\n3${"3".repeat(9_000)}`),
  },
  { name: "a length beyond the limit", text: sized().replace(`${BODY.length}`, "9999999") },
  {
    name: "a head beyond the limit",
    text: `GET / HTTP/1.1\r\nx: ${"a".repeat(REQUEST_BYTES_MAX)}`,
  },
];

describe("a request is refused for", () => {
  test.each(BAD)("$name", ({ text }) => {
    expect(readRequest(Buffer.from(text), 0).kind).toBe("bad");
  });
});

test("a member is true only where it is a member and true", () => {
  const stream = memberNamed("stream");
  const holds = (text: string): boolean => holdsTrue(Buffer.from(text), stream);
  for (const text of ['{"stream":true}', '{"stream" : \n true}', '{"a":"stream","stream":true}']) {
    expect(holds(text)).toBe(true);
  }
  const quoted = JSON.stringify({ content: '{"stream":true}' });
  for (const text of [
    "{}",
    '{"stream":false}',
    '{"stream":',
    '{"a":"stream"}',
    quoted,
    '{"stream":tru',
  ]) {
    expect(holds(text)).toBe(false);
  }
});
