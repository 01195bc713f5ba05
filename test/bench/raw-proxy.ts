/**
 * The least that a Node process can do and still be an HTTP proxy: node:http on one side,
 * `undici.dispatch` on the other, nothing read, nothing counted. It is the bar for a gateway on Node.
 *
 * Started by fork with the upstream's origin as its argument; says its port over IPC.
 */
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

const [origin = ""] = process.argv.slice(2);
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

const handlerFor = (response: ServerResponse): Dispatcher.DispatchHandler => ({
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
  },
  onResponseError() {
    if (response.headersSent) response.destroy();
    else response.writeHead(502).end();
  },
});

const forward = (request: IncomingMessage, response: ServerResponse, body: Buffer): void => {
  pool.dispatch(
    {
      path: request.url ?? "/",
      method: request.method ?? "GET",
      headers: withoutHopByHop(request.rawHeaders),
      body: body.length === 0 ? null : body,
    },
    handlerFor(response),
  );
};

const server = createServer(
  { keepAliveTimeout: 120_000, requestTimeout: 0 },
  (request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => forward(request, response, Buffer.concat(chunks)));
  },
);
tellPort(server);
