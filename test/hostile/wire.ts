/** Requests that no library would send: bytes on a socket, and answers read without a library's help. */
import { connect, type Socket } from "node:net";

export type WireAnswer = {
  readonly status: number;
  /** Names in lower case; of several of one name, the last. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
};

/** What nobody answered within this time is a hang, and hanging is what is being tested. */
const ANSWER_MS_MAX = 30_000;

export type WireOptions = {
  /** Answers to wait for; more are read only until the connection ends. */
  readonly answers?: number;
  /** Ends our half after the last byte, as a client that has nothing more to say. */
  readonly half?: boolean;
};

/**
 * Sends the pieces one after the other and reads the answers. A server that closes before all was
 * written is no error here: what it said before counts.
 */
export async function exchange(
  url: string,
  pieces: Iterable<string | Uint8Array> | AsyncIterable<string | Uint8Array>,
  { answers = 1, half = false }: WireOptions = {},
): Promise<WireAnswer[]> {
  const { hostname, port } = new URL(url);
  const socket = connect({ host: hostname, port: Number(port) });
  const received: Buffer[] = [];
  const done = Promise.withResolvers<void>();
  const timer = setTimeout(
    () => done.reject(new Error(`no answer: ${Buffer.concat(received).toString("latin1")}`)),
    ANSWER_MS_MAX,
  );
  socket.on("data", (part: Buffer) => {
    received.push(part);
    if (readAnswers(Buffer.concat(received)).length >= answers) done.resolve();
  });
  socket.on("error", () => done.resolve());
  socket.on("close", () => done.resolve());
  try {
    void write(socket, pieces, half);
    await done.promise;
  } finally {
    clearTimeout(timer);
    socket.destroy();
  }
  return readAnswers(Buffer.concat(received));
}

async function write(
  socket: Socket,
  pieces: Iterable<string | Uint8Array> | AsyncIterable<string | Uint8Array>,
  half: boolean,
): Promise<void> {
  for await (const piece of pieces) {
    if (socket.destroyed) return;
    const bytes = typeof piece === "string" ? Buffer.from(piece, "latin1") : piece;
    await new Promise<void>((resolve) => {
      const closed = (): void => resolve();
      socket.once("close", closed);
      socket.write(bytes, () => {
        socket.off("close", closed);
        resolve();
      });
    });
  }
  if (half) socket.end();
}

/** The whole answers at the front of what came; what is cut off is none. 1xx are not counted. */
function readAnswers(bytes: Buffer): WireAnswer[] {
  const found: WireAnswer[] = [];
  let rest = bytes;
  for (;;) {
    const end = rest.indexOf("\r\n\r\n");
    if (end < 0) return found;
    const [line = "", ...lines] = rest.subarray(0, end).toString("latin1").split("\r\n");
    const status = Number(/^HTTP\/1\.1 (\d{3})/.exec(line)?.[1] ?? Number.NaN);
    const headers = Object.fromEntries(
      lines.map((each) => {
        const colon = each.indexOf(":");
        return [each.slice(0, colon).toLowerCase(), each.slice(colon + 1).trim()];
      }),
    );
    const read = readBody(rest.subarray(end + 4), headers);
    if (read === null) return found;
    if (status >= 200 || Number.isNaN(status)) {
      found.push({ status, headers, body: read.body.toString("utf8") });
    }
    rest = read.rest;
  }
}

type Read = { readonly body: Buffer; readonly rest: Buffer } | null;

function readBody(bytes: Buffer, headers: Readonly<Record<string, string>>): Read {
  if (headers["transfer-encoding"] === "chunked") return readChunks(bytes);
  const length = Number(headers["content-length"] ?? 0);
  if (bytes.length < length) return null;
  return { body: bytes.subarray(0, length), rest: bytes.subarray(length) };
}

function readChunks(bytes: Buffer): Read {
  const parts: Buffer[] = [];
  let at = 0;
  for (;;) {
    const end = bytes.indexOf("\r\n", at);
    if (end < 0) return null;
    const size = Number.parseInt(bytes.subarray(at, end).toString("latin1"), 16);
    if (bytes.length < end + 2 + size + 2) return null;
    if (size === 0) return { body: Buffer.concat(parts), rest: bytes.subarray(end + 4) };
    parts.push(bytes.subarray(end + 2, end + 2 + size));
    at = end + 2 + size + 2;
  }
}

/** The head of a request: lines, then the empty one. */
export function head(line: string, headers: Readonly<Record<string, string>> = {}): string {
  const lines = Object.entries({ host: "gate", ...headers }).map(
    ([name, value]) => `${name}: ${value}`,
  );
  return [line, ...lines, "", ""].join("\r\n");
}
