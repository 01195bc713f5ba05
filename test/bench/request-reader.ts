/**
 * Reads just enough of an HTTP/1.1 request for the mock upstream: where it goes, how long it is, and
 * what its body asks for. Pure: given all bytes that have come, it says whether a request is whole.
 */

export type Reading =
  | { readonly kind: "more" }
  | { readonly kind: "bad"; readonly why: string }
  | {
      readonly kind: "whole";
      readonly method: string;
      readonly path: string;
      readonly keepsAlive: boolean;
      /** Without the framing of chunks. */
      readonly body: Buffer;
      /** Where the next request begins. */
      readonly end: number;
    };

const HEAD_END = Buffer.from("\r\n\r\n");
const CRLF = Buffer.from("\r\n");
/** More than any request of the bench; a longer one is a mistake of the bench itself. */
export const REQUEST_BYTES_MAX = 1024 * 1024;
const MORE: Reading = { kind: "more" };

const REQUEST_LINE = /^([A-Z]+) (\S+) HTTP\/1\.([01])\r\n/u;
const LENGTH = /\ncontent-length[ \t]*:[ \t]*(\d{1,9})[ \t]*\r\n/iu;
const CODING = /\ntransfer-encoding[ \t]*:[ \t]*([^\r\n]*?)[ \t]*\r\n/iu;
const CONNECTION = /\nconnection[ \t]*:[ \t]*([^\r\n]*?)[ \t]*\r\n/iu;

/** The request that begins at `at`. */
export const readRequest = (bytes: Buffer, at: number): Reading => {
  const headEnd = bytes.indexOf(HEAD_END, at);
  if (headEnd === -1) return bytes.length - at > REQUEST_BYTES_MAX ? tooLong() : MORE;
  const head = bytes.toString("latin1", at, headEnd + CRLF.length);
  const line = REQUEST_LINE.exec(head);
  if (line === null) return { kind: "bad", why: `no request line: ${head.slice(0, 80)}` };
  const bodyAt = headEnd + HEAD_END.length;
  const coding = CODING.exec(head)?.[1]?.toLowerCase();
  if (coding !== undefined && coding !== "chunked") {
    return { kind: "bad", why: `unknown transfer coding ${coding}` };
  }
  const read =
    coding === undefined
      ? readSized(bytes, bodyAt, Number(LENGTH.exec(head)?.[1] ?? 0))
      : readChunks(bytes, bodyAt);
  if (read.kind !== "whole") return bytes.length - at > REQUEST_BYTES_MAX ? tooLong() : read;
  const connection = CONNECTION.exec(head)?.[1]?.toLowerCase() ?? "";
  const keepsAlive =
    line[3] === "1" ? !connection.includes("close") : connection.includes("keep-alive");
  return {
    kind: "whole",
    method: line[1] ?? "",
    path: line[2] ?? "",
    keepsAlive,
    body: read.body,
    end: read.end,
  };
};

const tooLong = (): Reading => ({ kind: "bad", why: `more than ${REQUEST_BYTES_MAX} bytes` });

type Body = Exclude<Reading, { readonly kind: "whole" }> | Whole;
type Whole = { readonly kind: "whole"; readonly body: Buffer; readonly end: number };

const readSized = (bytes: Buffer, from: number, size: number): Body => {
  const end = from + size;
  if (size > REQUEST_BYTES_MAX) return tooLong();
  return end > bytes.length ? MORE : { kind: "whole", body: bytes.subarray(from, end), end };
};

const CHUNK_SIZE = /^([0-9a-f]{1,8})[ \t]*(?:;.*)?$/iu;
/** Of a chunk's size with its extension. */
const LINE_BYTES_MAX = 8 * 1024;

const readChunks = (bytes: Buffer, from: number): Body => {
  const parts: Buffer[] = [];
  let at = from;
  while (at < bytes.length) {
    const lineEnd = bytes.indexOf(CRLF, at);
    if (lineEnd === -1) return bytes.length - at > LINE_BYTES_MAX ? noChunks() : MORE;
    const digits = CHUNK_SIZE.exec(bytes.toString("latin1", at, lineEnd))?.[1];
    if (digits === undefined) return noChunks();
    const size = Number.parseInt(digits, 16);
    const dataAt = lineEnd + CRLF.length;
    if (size === 0) {
      const end = endOfTrailer(bytes, dataAt);
      return end === null ? MORE : { kind: "whole", body: Buffer.concat(parts), end };
    }
    const dataEnd = dataAt + size;
    at = dataEnd + CRLF.length;
    if (at > bytes.length) return MORE;
    if (bytes[dataEnd] !== CRLF[0] || bytes[dataEnd + 1] !== CRLF[1]) return noChunks();
    parts.push(bytes.subarray(dataAt, dataEnd));
  }
  return MORE;
};

const noChunks = (): Body => ({ kind: "bad", why: "chunks that are none" });

/** Trailer lines up to an empty one; null when that has not come. */
const endOfTrailer = (bytes: Buffer, from: number): number | null => {
  if (bytes[from] === CRLF[0] && bytes[from + 1] === CRLF[1]) return from + CRLF.length;
  const end = bytes.indexOf(HEAD_END, from);
  return end === -1 ? null : end + HEAD_END.length;
};

const COLON = 58;
const TRUE = Buffer.from("true");

/** A name as JSON writes it. Inside a text its quotes would be escaped, so it cannot stand there. */
export const memberNamed = (name: string): Buffer => Buffer.from(`"${name}"`);

/** Whether a JSON body holds this member with the value true, at any depth: sought, not parsed. */
export const holdsTrue = (body: Buffer, member: Buffer): boolean => {
  for (let at = body.indexOf(member); at !== -1; at = body.indexOf(member, at + 1)) {
    const colonAt = afterSpace(body, at + member.length);
    if (body[colonAt] !== COLON) continue;
    const valueAt = afterSpace(body, colonAt + 1);
    if (body.indexOf(TRUE, valueAt) === valueAt) return true;
  }
  return false;
};

const afterSpace = (bytes: Buffer, from: number): number => {
  let at = from;
  while (bytes[at] === 32 || bytes[at] === 9 || bytes[at] === 10 || bytes[at] === 13) at += 1;
  return at;
};
