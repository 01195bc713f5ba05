/**
 * Tollgate on Cloudflare Workers: the same app, gate, store and core as on Node, over Hyperdrive.
 *
 * What Workers cannot promise, and what holds instead (more in docs/workers.md):
 * - An invocation ends 30 s after its client left, and may end at any time. What is not settled by then
 *   stays reserved until its deadline, turns unknown at the next sweep and is charged in full 15 minutes
 *   later: money is never lost sight of, but may be held longer and charged higher than on Node.
 * - There is no process: no lease that runs out, no metrics, no memory that bounds all requests. A lease
 *   without end stands for all Workers, so only deadlines expire what they reserved.
 * - There is no group commit: each call is a posting of its own, and contends with the others for the
 *   rows of their meters.
 * - Fetch cannot tell a refused connection from a lost one, so a failed request is an unknown outcome.
 * - Tokens of an answer without usage are bounded by its bytes, not counted.
 */
import { createWorker } from "./worker/handler.ts";

export default createWorker();
