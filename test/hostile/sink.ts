/** An upstream in a process of its own would be slower to start; this one reads nothing of a body. */
import { once } from "node:events";
import { createServer } from "node:http";
import { chatAnswer } from "../support/openai-answers.ts";

export type Sink = { readonly url: string; readonly close: () => Promise<void> };

/** Swallows any body and answers a small chat; with `x-without: usage` it tells no usage. */
export async function startSink(model: string): Promise<Sink> {
  const server = createServer((request, response) => {
    request.resume();
    request.once("end", () => {
      const usage = request.headers["x-without"] === "usage" ? null : { input: 1, output: 1 };
      response.writeHead(200, { "content-type": "application/json" });
      response.end(JSON.stringify(chatAnswer(model, "ok", usage)));
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no loopback port");
  return {
    url: `http://127.0.0.1:${address.port}/v1`,
    close: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}
