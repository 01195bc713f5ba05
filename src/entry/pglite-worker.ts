/** The embedded database, in a thread of its own so that its work never takes the event loop that serves. */
import { parentPort, workerData } from "node:worker_threads";

import { PGlite } from "@electric-sql/pglite";

import { servePglite } from "./pglite-server.ts";

type WorkerData = { readonly dataDir: string; readonly socket: string };

const { dataDir, socket }: WorkerData = workerData;
const database = await PGlite.create(dataDir);
const server = await servePglite(database, socket);

parentPort?.once("message", () => {
  void server
    .close()
    .then(() => database.close())
    .then(() => parentPort?.close());
});
parentPort?.postMessage("ready");
