/**
 * An OpenAI upstream whose own cost is negligible: it speaks HTTP on bare sockets, and every answer is
 * a buffer made at start.
 *
 * A stream leaves in a few writes, each on its own turn of the event loop, and each holding several
 * HTTP chunks framed beforehand, one per event. So a gateway still sees one chunk per event, while the
 * upstream pays a handful of system calls: on a machine that all processes share, an upstream which
 * wrote sixty times would itself be what is measured.
 *
 * Started by fork; says its port over IPC. `GET /served` tells how many calls it answered. With `hold`
 * as its argument a stream stops after its first event until `POST /release`: open streams, to be
 * weighed. With `paced` each event leaves alone, at an even pace, and tells when.
 */
import { createServer, type Socket } from "node:net";
import { tellPort } from "./child.ts";
import { holdsTrue, memberNamed, readRequest, REQUEST_BYTES_MAX } from "./request-reader.ts";
import {
  CHUNK_EVERY_MS,
  jsonAnswer,
  MODEL,
  nowMicros,
  sseEvents,
  STAMP_DIGITS,
  STAMP_MARK,
  stampedEvents,
} from "./scenario.ts";

const EVENTS_PER_WRITE = 10;
/** Beside the request under way, as much as one more may wait on a connection. */
const WAITING_BYTES_MAX = 2 * REQUEST_BYTES_MAX;

/** What OpenAI's answers hold beside their content; clients keep idle connections for the time told. */
const COMMON = [
  `date: ${new Date().toUTCString()}`,
  "connection: keep-alive",
  "keep-alive: timeout=120",
  "x-request-id: req_bench",
  "openai-processing-ms: 1",
];

const answerOf = (status: string, body: string | Buffer): Buffer => {
  const bytes = Buffer.from(body);
  const head = [
    `HTTP/1.1 ${status}`,
    "content-type: application/json",
    `content-length: ${bytes.length}`,
    ...COMMON,
  ];
  return Buffer.concat([Buffer.from(`${head.join("\r\n")}\r\n\r\n`), bytes]);
};

const STREAM_HEAD = Buffer.from(
  `${[
    "HTTP/1.1 200 OK",
    "content-type: text/event-stream; charset=utf-8",
    "transfer-encoding: chunked",
    ...COMMON,
  ].join("\r\n")}\r\n\r\n`,
);

const framed = (event: Buffer): Buffer =>
  Buffer.concat([Buffer.from(`${event.length.toString(16)}\r\n`), event, Buffer.from("\r\n")]);

/** The head with the first event, so that the time to the first chunk is that of one event; then groups. */
const writesOf = (events: readonly Buffer[]): readonly Buffer[] => {
  const frames = [...events.map(framed), Buffer.from("0\r\n\r\n")];
  const writes = [Buffer.concat([STREAM_HEAD, ...frames.slice(0, 1)])];
  for (let at = 1; at < frames.length; at += EVENTS_PER_WRITE) {
    writes.push(Buffer.concat(frames.slice(at, at + EVENTS_PER_WRITE)));
  }
  return writes;
};

/** The head with the first event, then each event alone; the last write ends the stream. */
const pacedWritesOf = (events: readonly Buffer[]): readonly Buffer[] =>
  events.map((event, at) =>
    Buffer.concat([
      ...(at === 0 ? [STREAM_HEAD] : []),
      framed(event),
      ...(at === events.length - 1 ? [Buffer.from("0\r\n\r\n")] : []),
    ]),
  );

/** A copy that says when it is sent, where there is room for it. */
const stamped = (bytes: Buffer): Buffer => {
  const at = bytes.indexOf(STAMP_MARK);
  if (at === -1) return bytes;
  const copy = Buffer.from(bytes);
  copy.write(String(nowMicros()).padStart(STAMP_DIGITS, "0"), at + STAMP_MARK.length, "latin1");
  return copy;
};

const JSON_ANSWER = answerOf("200 OK", jsonAnswer());
const WITHOUT_USAGE = writesOf(sseEvents(false));
const WITH_USAGE = writesOf(sseEvents(true));
const MODELS = answerOf(
  "200 OK",
  JSON.stringify({
    object: "list",
    data: [{ id: MODEL, object: "model", created: 0, owned_by: "openai" }],
  }),
);
const UNKNOWN = answerOf(
  "404 Not Found",
  '{"error":{"message":"unknown path","type":"invalid_request"}}',
);
const STREAM = memberNamed("stream");
const INCLUDE_USAGE = memberNamed("include_usage");

const PACED = pacedWritesOf(stampedEvents(false));
const PACED_WITH_USAGE = pacedWritesOf(stampedEvents(true));

const holds = process.argv[2] === "hold";
const isPaced = process.argv[2] === "paced";
/** Streams that stand after their first event. */
let held: (() => void)[] = [];
let served = 0;

/** `next` is called when the last byte was written. */
const sendStream = (socket: Socket, writes: readonly Buffer[], next: () => void): void => {
  let at = 0;
  const step = (): void => {
    const bytes = writes[at];
    if (socket.destroyed || bytes === undefined) return;
    at += 1;
    socket.write(isPaced ? stamped(bytes) : bytes);
    if (at === writes.length) next();
    else if (isPaced) setTimeout(step, CHUNK_EVERY_MS);
    else if (at === 1 && holds) held.push(step);
    else setImmediate(step);
  };
  step();
};

const release = (): Buffer => {
  const streams = held;
  held = [];
  for (const step of streams) step();
  return answerOf("200 OK", JSON.stringify({ released: streams.length }));
};

const answerTo = (method: string, path: string): Buffer => {
  if (method === "GET" && path === "/served") return answerOf("200 OK", JSON.stringify({ served }));
  if (method === "GET" && path === "/v1/models") return MODELS;
  if (method === "POST" && path === "/release") return release();
  return UNKNOWN;
};

/** Answers the requests of one connection in their order, one at a time. */
const serve = (socket: Socket): void => {
  /** What has come and is not answered; null when there is nothing. */
  let waiting: Buffer | null = null;
  let isAnswering = false;

  const answerAll = (): void => {
    while (waiting !== null && !isAnswering) {
      const read = readRequest(waiting, 0);
      if (read.kind === "more") return;
      if (read.kind === "bad") {
        socket.end(answerOf("400 Bad Request", JSON.stringify({ error: { message: read.why } })));
        waiting = null;
        return;
      }
      waiting = read.end === waiting.length ? null : waiting.subarray(read.end);
      const { keepsAlive } = read;
      isAnswering = true;
      answer(read.method, read.path, read.body, () => {
        isAnswering = false;
        if (!keepsAlive) socket.end();
      });
    }
  };

  const answer = (method: string, path: string, body: Buffer, done: () => void): void => {
    if (method !== "POST" || !path.startsWith("/v1/chat/completions")) {
      socket.write(answerTo(method, path));
      return done();
    }
    served += 1;
    if (!holdsTrue(body, STREAM)) {
      socket.write(JSON_ANSWER);
      return done();
    }
    const [withUsage, without] = isPaced ? [PACED_WITH_USAGE, PACED] : [WITH_USAGE, WITHOUT_USAGE];
    sendStream(socket, holdsTrue(body, INCLUDE_USAGE) ? withUsage : without, () => {
      done();
      answerAll();
    });
  };

  socket.on("data", (bytes: Buffer) => {
    waiting = waiting === null ? bytes : Buffer.concat([waiting, bytes]);
    if (waiting.length > WAITING_BYTES_MAX) socket.destroy();
    else answerAll();
  });
  // A client that is gone took its answer along or not: either way there is nobody to tell.
  socket.on("error", () => socket.destroy());
};

tellPort(createServer({ noDelay: true }, serve));
