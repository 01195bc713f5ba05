import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { assert } from "../lib/assert.ts";
import { CREATED, json, type Answer } from "./answer.ts";
import { chatCompletion } from "./chat.ts";
import { textCompletion } from "./completions.ts";
import { createEmbeddings } from "./embeddings.ts";
import { DemoRefusal, isFields, textOf, type Fields } from "./fields.ts";
import { createResponse } from "./responses.ts";

/** A demo of more than a megabyte is a load test, for which this is not the upstream. */
const REQUEST_BYTES_MAX = 1024 * 1024;

/** A client that cannot send a megabyte over loopback in this time has stopped sending. */
const REQUEST_MS_MAX = 30_000;

const CHAT_MODELS = ["demo-chat", "demo-small"];
const EMBEDDING_MODELS = ["demo-embedding"];

type Handler = { readonly models: readonly string[]; readonly answer: (body: Fields) => Answer };

/** What can be posted, and by which models it is answered. */
const HANDLERS: Readonly<Record<string, Handler>> = {
  "/chat/completions": { models: CHAT_MODELS, answer: chatCompletion },
  "/responses": { models: CHAT_MODELS, answer: createResponse },
  "/completions": { models: CHAT_MODELS, answer: textCompletion },
  "/embeddings": { models: EMBEDDING_MODELS, answer: createEmbeddings },
};

export type DemoUpstream = {
  /** The base URL to configure, with `/v1`; on loopback, on a port of the system's choosing. */
  readonly url: string;
  readonly close: () => Promise<void>;
};

/**
 * Starts the built-in upstream: a real HTTP server that speaks the OpenAI wire, so that a first call
 * needs no provider key and passes everything that a paid one passes. It is deterministic, labels
 * every answer, takes any credential and keeps nothing.
 */
export async function startDemoUpstream(): Promise<DemoUpstream> {
  const server = createServer({ requestTimeout: REQUEST_MS_MAX }, (request, response) => {
    void serve(request, response);
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    // Exclusive: each of several processes has its own, and ends it by itself.
    server.listen({ port: 0, host: "127.0.0.1", exclusive: true }, resolve);
  });
  const address = server.address();
  assert(address !== null && typeof address === "object", "the demo upstream listens on a port");
  return { url: `http://127.0.0.1:${address.port}/v1`, close: () => close(server) };
}

async function close(server: Server): Promise<void> {
  await new Promise<void>((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}

/** Answers one request, whatever happens: this server stands for a foreign one and must not fall. */
async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
  try {
    const url = request.url ?? "/";
    const path = new URL(url, "http://demo").pathname.replace(/^\/v1(?=\/)/u, "");
    const answer = request.method === "GET" ? list(path) : await post(request, path);
    await send(response, answer);
  } catch (error) {
    await send(response, phrase(error));
  }
}

function list(path: string): Answer {
  const models = [...CHAT_MODELS, ...EMBEDDING_MODELS].map((id) => ({
    id,
    object: "model",
    created: CREATED,
    owned_by: "tollgate-demo",
  }));
  if (path === "/models") return json({ object: "list", data: models });
  const name = /^\/models\/(?<id>[\w.-]+)$/u.exec(path)?.groups?.["id"];
  if (name === undefined) throw unknownUrl("GET", path);
  const model = models.find(({ id }) => id === name);
  if (model === undefined) throw unknownModel(name);
  return json(model);
}

async function post(request: IncomingMessage, path: string): Promise<Answer> {
  const handler = Object.hasOwn(HANDLERS, path) ? HANDLERS[path] : undefined;
  if (handler === undefined || request.method !== "POST") {
    throw unknownUrl(request.method ?? "", path);
  }
  const body = parse(await read(request));
  const model = textOf(body["model"]);
  if (model === "") {
    throw new DemoRefusal(400, "you must provide a model parameter", "model", null);
  }
  if (!handler.models.includes(model)) throw unknownModel(model);
  return handler.answer(body);
}

async function read(request: IncomingMessage): Promise<string> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of request) {
    assert(chunk instanceof Uint8Array, "no encoding is set on a request");
    bytes += chunk.byteLength;
    if (bytes > REQUEST_BYTES_MAX) {
      const message = `The demo upstream takes at most ${REQUEST_BYTES_MAX} bytes.`;
      throw new DemoRefusal(413, message, null, "request_too_large");
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}

function parse(text: string): Fields {
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch (cause) {
    const message = "We could not parse the JSON body of your request.";
    throw new DemoRefusal(400, `${message} (${String(cause)})`, null, null);
  }
  if (isFields(body)) return body;
  throw new DemoRefusal(400, "The body of your request must be a JSON object.", null, null);
}

function unknownModel(model: string): DemoRefusal {
  const message = `The model '${model}' does not exist or you do not have access to it.`;
  return new DemoRefusal(404, message, "model", "model_not_found");
}

function unknownUrl(method: string, path: string): DemoRefusal {
  return new DemoRefusal(404, `Unknown request URL: ${method} ${path}.`, null, "unknown_url");
}

function phrase(error: unknown): Answer {
  if (!(error instanceof DemoRefusal)) {
    const message = "The demo upstream failed to answer.";
    const body = { error: { message, type: "server_error", param: null, code: null } };
    return { kind: "json", status: 500, body };
  }
  const { message, param, code, status } = error;
  return {
    kind: "json",
    status,
    body: { error: { message, type: "invalid_request_error", param, code } },
  };
}

async function send(response: ServerResponse, answer: Answer): Promise<void> {
  if (response.destroyed || response.headersSent) return;
  const common = { "x-request-id": "req_tollgate_demo", "openai-version": "2020-10-01" };
  if (answer.kind === "json") {
    const bytes = Buffer.from(JSON.stringify(answer.body));
    const headers = { "content-type": "application/json", "content-length": bytes.byteLength };
    // A refusal of a body that is still arriving closes: the rest of it cannot be a next request.
    const end = answer.status === 413 ? { connection: "close" } : {};
    response.writeHead(answer.status, { ...common, ...headers, ...end }).end(bytes);
    return;
  }
  response.writeHead(200, { ...common, "content-type": "text/event-stream; charset=utf-8" });
  for (const event of answer.events) {
    if (response.destroyed) return;
    await new Promise<void>((resolve) => {
      // Called with an error when the reader has gone: the loop then sees it.
      response.write(event, () => resolve());
    });
  }
  response.end();
}
