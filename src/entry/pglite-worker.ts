/** The embedded database, in a thread of its own so that its work never takes the event loop that serves. */
import { parentPort, workerData } from "node:worker_threads";

import { PGlite } from "@electric-sql/pglite";
import { PGLiteSocketServer } from "@electric-sql/pglite-socket";

type WorkerData = { readonly dataDir: string; readonly socket: string };

const { dataDir, socket }: WorkerData = workerData;
const database = await PGlite.create(dataDir);
// The gate, the administration and drizzle each hold a connection; the rest is room for reconnecting.
const server = new PGLiteSocketServer({ db: database, path: socket, maxConnections: 16 });
await server.start();

parentPort?.once("message", () => {
  void server
    .stop()
    .then(() => database.close())
    .then(() => parentPort?.close());
});
parentPort?.postMessage("ready");
