/**
 * An OpenAI upstream whose own cost is negligible: every answer is a buffer made at start.
 *
 * A stream leaves in a few writes, each on its own turn of the event loop, and each holding several
 * HTTP chunks framed beforehand, one per event. So a gateway still sees one chunk per event, while the
 * upstream pays a handful of system calls: on a machine that all processes share, an upstream which
 * wrote sixty times would itself be what is measured.
 *
 * Started by fork; says its port over IPC. `GET /served` tells how many calls it answered.
 */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { tellPort } from "./child.ts";
import { jsonAnswer, MODEL, sseEvents } from "./scenario.ts";

const EVENTS_PER_WRITE = 10;
/** More than any request of the bench; a longer body is a mistake of the bench itself. */
const BODY_BYTES_MAX = 1024 * 1024;

const framed = (event: Buffer): Buffer =>
  Buffer.concat([Buffer.from(`${event.length.toString(16)}\r\n`), event, Buffer.from("\r\n")]);

/** The first event alone, so that the time to the first chunk is that of one event; then groups. */
const writesOf = (events: readonly Buffer[]): readonly Buffer[] => {
  const frames = [...events.map(framed), Buffer.from("0\r\n\r\n")];
  const writes = [Buffer.concat(frames.slice(0, 1))];
  for (let at = 1; at < frames.length; at += EVENTS_PER_WRITE) {
    writes.push(Buffer.concat(frames.slice(at, at + EVENTS_PER_WRITE)));
  }
  return writes;
};

const json = jsonAnswer();
const jsonHeaders = [
  ["content-type", "application/json"],
  ["content-length", String(json.length)],
  ["x-request-id", "req_bench"],
  ["openai-processing-ms", "1"],
].flat();
const sseHeaders = [
  "content-type",
  "text/event-stream; charset=utf-8",
  "x-request-id",
  "req_bench",
];
const withoutUsage = writesOf(sseEvents(false));
const withUsage = writesOf(sseEvents(true));
const models = JSON.stringify({
  object: "list",
  data: [{ id: MODEL, object: "model", created: 0, owned_by: "openai" }],
});
let served = 0;

const sendStream = (response: ServerResponse, writes: readonly Buffer[]): void => {
  response.writeHead(200, sseHeaders);
  response.flushHeaders();
  // The writes carry their own chunk framing, terminator included: node must add none.
  response.chunkedEncoding = false;
  let next = 0;
  const step = (): void => {
    const bytes = writes[next];
    next += 1;
    if (response.destroyed) return;
    if (bytes === undefined) {
      response.end();
      return;
    }
    response.write(bytes);
    setImmediate(step);
  };
  step();
};

const answerCall = (body: Buffer, response: ServerResponse): void => {
  served += 1;
  if (!body.includes('"stream"')) {
    response.writeHead(200, jsonHeaders);
    response.end(json);
    return;
  }
  const asked = JSON.parse(body.toString("utf8")) as {
    stream?: boolean;
    stream_options?: { include_usage?: boolean };
  };
  if (asked.stream !== true) {
    response.writeHead(200, jsonHeaders);
    response.end(json);
    return;
  }
  sendStream(response, asked.stream_options?.include_usage === true ? withUsage : withoutUsage);
};

const sendJson = (response: ServerResponse, status: number, text: string): void => {
  response.writeHead(status, { "content-type": "application/json" });
  response.end(text);
};

const onRequest = (request: IncomingMessage, response: ServerResponse): void => {
  const chunks: Buffer[] = [];
  let bytes = 0;
  request.on("data", (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes > BODY_BYTES_MAX) request.destroy();
    else chunks.push(chunk);
  });
  request.on("end", () => {
    const path = request.url ?? "";
    const first = chunks[0];
    const body = chunks.length === 1 && first !== undefined ? first : Buffer.concat(chunks);
    if (request.method === "POST" && path.startsWith("/v1/chat/completions")) {
      answerCall(body, response);
    } else if (path === "/served") sendJson(response, 200, JSON.stringify({ served }));
    else if (path === "/v1/models") sendJson(response, 200, models);
    else sendJson(response, 404, '{"error":{"message":"unknown path","type":"invalid_request"}}');
  });
};

const server = createServer({ keepAliveTimeout: 120_000, requestTimeout: 0 }, onRequest);
tellPort(server);
