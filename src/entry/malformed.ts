/**
 * Answers what never becomes a request of the app: broken HTTP, headers beyond the limit, CONNECT.
 * Node's own answer to these is a bare status line, from which nobody learns what to mend.
 */
import { STATUS_CODES, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { Socket } from "node:net";
import type { Duplex } from "node:stream";

import { RequestError } from "@hono/node-server";

import { InputError } from "../core/errors.ts";
import type { Phrased } from "../dialects/dialect.ts";
import { phraseThrown } from "../http/errors.ts";

export function answerMalformed(server: Server, newId: () => string): void {
  // An answer under way must not have another one written into it: such a connection is only closed. What
  // has ended is forgotten when the next request comes, which costs less than to listen to each.
  const underWay = new WeakMap<Duplex, readonly ServerResponse[]>();
  server.on("request", ({ socket }: IncomingMessage, response: ServerResponse) => {
    const before = underWay.get(socket)?.filter((each) => !each.closed) ?? [];
    underWay.set(socket, [...before, response]);
  });
  server.on("clientError", (error: Error, socket: Duplex) => {
    const hasBegun =
      underWay.get(socket)?.some((each) => !each.closed && each.headersSent) === true;
    const isOpen = socket instanceof Socket && socket.writable && codeOf(error) !== "ECONNRESET";
    if (hasBegun || !isOpen) socket.destroy();
    else endWith(socket, inputErrorFrom(error), newId());
  });
  server.on("connect", ({ socket }: IncomingMessage) => {
    // node:http has let go of it: an error that nobody hears would end the process.
    socket.on("error", () => socket.destroy());
    const message = "Tollgate is no proxy for CONNECT: use it as the base URL of an API client.";
    endWith(socket, new InputError("method_not_allowed", null, message), newId());
  });
  server.on("checkExpectation", (request: IncomingMessage, response: ServerResponse) => {
    const message = `Expect: ${request.headers.expect} is not known here: only 100-continue is, or send none.`;
    const requestId = `req_${newId()}`;
    const phrased = phraseThrown(new InputError("unmet_expectation", "expect", message), requestId);
    response.writeHead(phrased.status, headersOf(phrased, requestId)).end(phrased.body);
  });
}

/** Node takes chunks apart and passes other codings on as they are: nobody here could read such a body. */
export function refuseTransferCoding({ headers }: IncomingMessage): void {
  const coding = headers["transfer-encoding"];
  if (coding === undefined || coding.toLowerCase() === "chunked") return;
  const message = `Transfer-Encoding ${coding} is not read here: send the body as it is, or chunked.`;
  throw new InputError("unsupported_encoding", "transfer-encoding", message);
}

/** For what was thrown before there was a request: the adapter found no URL in it, or we refused it. */
export function answerUnread(newId: () => string): (error: unknown) => Response {
  return (error) => {
    const requestId = `req_${newId()}`;
    const mistake = error instanceof RequestError ? inputErrorFrom(error) : error;
    const { status, headers, body } = phraseThrown(mistake, requestId);
    return new Response(body, { status, headers: { ...headers, "x-request-id": requestId } });
  };
}

/** What Node's parser found wrong, or what the adapter could not make a URL of. */
function inputErrorFrom(error: Error): InputError {
  switch (codeOf(error)) {
    case "HPE_HEADER_OVERFLOW":
      return new InputError(
        "headers_too_large",
        null,
        "The headers of the request are too many: send at most 900 of them, of 64 KiB together.",
      );
    case "ERR_HTTP_REQUEST_TIMEOUT":
      return new InputError(
        "request_timeout",
        null,
        "The headers of the request did not arrive in time: send them at once.",
      );
    default: {
      const reason = "reason" in error && typeof error.reason === "string" ? error.reason : null;
      const message = `The request is not HTTP/1.1 that can be read here (${reason ?? error.message}). Send a well-formed head with one Host, a percent-encoded path, and the body that it announces.`;
      return new InputError("malformed_request", null, message);
    }
  }
}

function codeOf(error: Error): string {
  return "code" in error && typeof error.code === "string" ? error.code : "";
}

function headersOf(phrased: Phrased, requestId: string): Record<string, string> {
  return {
    ...phrased.headers,
    "x-request-id": requestId,
    "content-length": String(Buffer.byteLength(phrased.body)),
    connection: "close",
  };
}

function endWith(socket: Socket, error: InputError, id: string): void {
  const requestId = `req_${id}`;
  const phrased = phraseThrown(error, requestId);
  const lines = Object.entries(headersOf(phrased, requestId)).map(
    ([name, value]) => `${name}: ${value}\r\n`,
  );
  const reason = STATUS_CODES[phrased.status] ?? "";
  socket.write(`HTTP/1.1 ${phrased.status} ${reason}\r\n${lines.join("")}\r\n${phrased.body}`);
  socket.destroySoon();
}
