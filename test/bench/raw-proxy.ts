/**
 * The least that a Node process can do and still be an HTTP proxy: node:http on one side,
 * `undici.dispatch` on the other, nothing read, nothing counted. It is the bar for a gateway on Node.
 *
 * Started by fork with the upstream's origin as its argument; says its port over IPC. With the URL of a database behind
 * it, each call is forwarded once a row for it has committed, and has another row when it ended: the bar for a gateway
 * that decides before it spends.
 */
import { randomUUID } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { Pool, type Dispatcher } from "undici";
import { tellPort } from "./child.ts";

/** Beside the 256 connections that the bench opens, none need wait for another. */
const UPSTREAM_CONNECTIONS_MAX = 1_024;
const HOP_BY_HOP = new Set([
  "connection",
  "keep-alive",
  "transfer-encoding",
  "upgrade",
  "te",
  "trailer",
  "host",
  "expect",
]);

const [origin = "", databaseUrl] = process.argv.slice(2);
// Loaded only where it is used: what the bare proxy weighs is measured, too.
const rows =
  databaseUrl === undefined
    ? null
    : (await import("./durable-rows.ts")).openDurableRows(databaseUrl);
const nothing = (): void => undefined;
const pool = new Pool(origin, {
  connections: UPSTREAM_CONNECTIONS_MAX,
  headersTimeout: 0,
  bodyTimeout: 0,
});

const withoutHopByHop = (raw: readonly string[]): string[] => {
  const kept: string[] = [];
  for (let at = 0; at + 1 < raw.length; at += 2) {
    const [name = "", value = ""] = [raw[at], raw[at + 1]];
    if (!HOP_BY_HOP.has(name.toLowerCase())) kept.push(name, value);
  }
  return kept;
};

const textOf = (raw: Dispatcher.DispatchController["rawHeaders"]): string[] =>
  Array.isArray(raw) ? raw.map((part) => part.toString("latin1")) : [];

const handlerFor = (response: ServerResponse, onEnd: () => void): Dispatcher.DispatchHandler => ({
  onRequestStart(controller) {
    response.on("close", () => {
      if (!response.writableFinished) controller.abort(new Error("the client is gone"));
    });
    response.on("drain", () => controller.resume());
  },
  onResponseStart(controller, status) {
    response.writeHead(status, withoutHopByHop(textOf(controller.rawHeaders)));
  },
  onResponseData(controller, chunk) {
    if (!response.write(chunk)) controller.pause();
  },
  onResponseEnd() {
    response.end();
    onEnd();
  },
  onResponseError() {
    if (response.headersSent) response.destroy();
    else response.writeHead(502).end();
    onEnd();
  },
});

const forward = (
  request: IncomingMessage,
  response: ServerResponse,
  body: Buffer,
  onEnd: () => void,
): void => {
  pool.dispatch(
    {
      path: request.url ?? "/",
      method: request.method ?? "GET",
      headers: withoutHopByHop(request.rawHeaders),
      body: body.length === 0 ? null : body,
    },
    handlerFor(response, onEnd),
  );
};

const server = createServer(
  { keepAliveTimeout: 120_000, requestTimeout: 0 },
  (request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const body = Buffer.concat(chunks);
      if (rows === null) return forward(request, response, body, nothing);
      const callId = randomUUID();
      // What cannot be written ends the process, and the bench with it.
      void rows.decide(callId).then(() => {
        forward(request, response, body, () => void rows.settle(callId));
      });
    });
  },
);
tellPort(server);
