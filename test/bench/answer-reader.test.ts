import { describe, expect, test } from "vitest";
import {
  expectAnswer,
  faultOfAnswer,
  feed,
  feedEnd,
  newAnswerReader,
  type AnswerReader,
} from "./answer-reader.ts";

const BODY = "hello, world: [DONE]\n\n";
const TAIL = Buffer.from(BODY.slice(-8));
const OK = "HTTP/1.1 200 OK\r\n";
const SIZED = `${OK}content-type: text/plain\r\nContent-Length: ${BODY.length}\r\n\r\n${BODY}`;

const chunked = (sizes: readonly number[], extra = "", trailer = ""): string => {
  let rest = BODY;
  const chunks = sizes.map((size) => {
    const text = rest.slice(0, size);
    rest = rest.slice(size);
    return `${text.length.toString(16)}${extra}\r\n${text}\r\n`;
  });
  const all = [...chunks, ...(rest === "" ? [] : [`${rest.length.toString(16)}\r\n${rest}\r\n`])];
  return `${OK}Transfer-Encoding: Chunked\r\n\r\n${all.join("")}0\r\n${trailer}\r\n`;
};

const newReader = (): AnswerReader => newAnswerReader(BODY.length, TAIL);

/** Feeds the parts from one buffer that is used again, as the connection's reads are. */
const feedAll = (reader: AnswerReader, parts: readonly Buffer[]): AnswerReader => {
  const buffer = Buffer.from(SIZED.repeat(8));
  for (const part of parts) {
    part.copy(buffer);
    feed(reader, buffer, part.length);
  }
  return reader;
};

/** The whole text at once, in two parts cut at every byte, and byte by byte. */
const splits = (text: string): readonly (readonly Buffer[])[] => {
  const bytes = Buffer.from(text, "latin1");
  const twos = Array.from(bytes, (_, at) => [bytes.subarray(0, at), bytes.subarray(at)]);
  return [[bytes], ...twos, Array.from(bytes, (byte) => Buffer.from([byte]))];
};

type Case = {
  readonly name: string;
  readonly text: string;
  readonly fault: string | null;
  readonly ends?: true;
  readonly closes?: true;
};

const check = ({ text, fault, ends, closes }: Case): void => {
  for (const parts of splits(text)) {
    const reader = feedAll(newReader(), parts);
    if (ends) feedEnd(reader);
    expect(reader.state).toBe(reader.fault === null ? "whole" : "broken");
    if (fault === null) expect(faultOfAnswer(reader)).toBeNull();
    else expect(faultOfAnswer(reader)).toContain(fault);
    if (reader.fault === null) expect(reader.keepsAlive).toBe(closes !== true);
  }
};

const body = `\r\n\r\n${BODY}`;
const WHOLE: readonly Case[] = [
  { name: "a length", text: SIZED, fault: null },
  {
    name: "a length told twice alike",
    text: SIZED.replace("\r\nC", `\r\ncontent-length: 22\r\nC`),
    fault: null,
  },
  { name: "one chunk", text: chunked([BODY.length]), fault: null },
  { name: "chunks of every size", text: chunked([1, 2, 3, 10]), fault: null },
  { name: "chunk extensions", text: chunked([1, 20], ';name="v,1"'), fault: null },
  { name: "trailers", text: chunked([7], "", "x-a: 1\r\nx-b: 22\r\n"), fault: null },
  {
    name: "no length, ended by closing",
    text: `${OK}x: y${body}`,
    fault: null,
    ends: true,
    closes: true,
  },
  {
    name: "connection: close",
    text: SIZED.replace("\r\nC", "\r\nconnection: Close\r\nC"),
    fault: null,
    closes: true,
  },
  { name: "HTTP/1.0", text: SIZED.replace("1.1", "1.0"), fault: null, closes: true },
  {
    name: "HTTP/1.0 kept alive",
    text: SIZED.replace("1.1", "1.0").replace("\r\nC", "\r\nConnection: Keep-Alive\r\nC"),
    fault: null,
  },
  {
    name: "an interim answer before it",
    text: `HTTP/1.1 100 Continue\r\n\r\n${SIZED}`,
    fault: null,
  },
  { name: "a status without a phrase", text: SIZED.replace(" OK", ""), fault: null },
];

const REFUSED: readonly Case[] = [
  { name: "another status", text: SIZED.replace("200", "402"), fault: "status 402" },
  {
    name: "a shorter body",
    text: `${OK}content-length: 3\r\n\r\nabc`,
    fault: "3 bytes instead of",
  },
  { name: "no body", text: "HTTP/1.1 204 No Content\r\n\r\n", fault: "status 204" },
  { name: "an empty body", text: `${OK}content-length: 0\r\n\r\n`, fault: "0 bytes instead of" },
  { name: "a longer body", text: `${OK}content-length: 23${body}!`, fault: "23 bytes instead of" },
  { name: "another end", text: SIZED.replace("DONE", "GONE"), fault: "another end" },
  {
    name: "another end in chunks",
    text: chunked([16, 1]).replace("D\r", "G\r"),
    fault: "another end",
  },
  { name: "bytes after a sized answer", text: `${SIZED}H`, fault: "bytes after the end" },
  { name: "bytes after a chunked answer", text: `${chunked([4])}\n`, fault: "bytes after the end" },
  { name: "no HTTP", text: "SSH-2.0-x\r\n\r\n", fault: "no status line" },
  {
    name: "two lengths",
    text: SIZED.replace("\r\nC", "\r\ncontent-length: 5\r\nC"),
    fault: "two lengths",
  },
  { name: "no number as length", text: `${OK}content-length: -1${body}`, fault: "no length" },
  {
    name: "a length beside chunks",
    text: chunked([4]).replace("\r\nT", "\r\ncontent-length: 22\r\nT"),
    fault: "beside chunks",
  },
  {
    name: "another coding",
    text: chunked([4]).replace("Chunked", "gzip, chunked"),
    fault: "transfer coding",
  },
  {
    name: "a chunk that is longer",
    text: chunked([4]).replace("4\r", "3\r"),
    fault: "longer than its size",
  },
  {
    name: "a chunk that is shorter",
    text: chunked([4]).replace("4\r", "5\r"),
    fault: "longer than its size",
  },
  { name: "no digits", text: chunked([4]).replace("4\r", "x\r"), fault: "no chunk size" },
  { name: "a size without CR", text: chunked([4]).replace("4\r", "4"), fault: "without CR" },
  { name: "an empty size", text: chunked([4]).replace("4\r", "\r"), fault: "no chunk size" },
  {
    name: "a chunk too large",
    text: chunked([4]).replace("4\r", "100000000\r"),
    fault: "too large",
  },
  { name: "nothing at all", text: "", fault: "before the answer", ends: true },
  { name: "a cut head", text: SIZED.slice(0, 30), fault: "cut after 0", ends: true },
  { name: "a cut body", text: SIZED.slice(0, -1), fault: "cut after 21", ends: true },
  { name: "cut chunks", text: chunked([4]).slice(0, -2), fault: "cut after 22", ends: true },
];

describe("an answer, however it is split, is whole with", () => {
  test.each(WHOLE)("$name", check);
});

describe("an answer, however it is split, is refused for", () => {
  test.each(REFUSED)("$name", check);
});

test("answers follow each other on one connection, whatever the first one was", () => {
  const reader = newReader();
  for (const text of [SIZED, chunked([3]), SIZED.replace("DONE", "GONE"), SIZED]) {
    feedAll(reader, [Buffer.from(text)]);
    expect(faultOfAnswer(reader)).toBe(text.includes("GONE") ? "another end than expected" : null);
    expectAnswer(reader);
  }
});

test("a head, a trailer and an extension that do not end are broken off", () => {
  const long = Buffer.from("a".repeat(70_000));
  for (const start of [
    `${OK}x: `,
    chunked([4]).slice(0, -2),
    chunked([4]).replace(/\r\n0\r\n\r\n$/u, "\r\n0;"),
  ]) {
    const reader = newReader();
    feed(reader, Buffer.from(start), start.length);
    for (let i = 0; i < 2; i += 1) feed(reader, long, long.length);
    expect(faultOfAnswer(reader)).toContain("without end");
  }
});
