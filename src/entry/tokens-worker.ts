/** Runs in a worker thread: counts tokens of texts that would hold up the loop. */
import { countTokens, type CountTask, type Encoders } from "./tokens-encoders.ts";
import { serveTasks } from "./worker-thread.ts";

/** The encoders of this thread. A worker is its own program, and this is its state. */
const encoders: Encoders = new Map();

serveTasks((task: CountTask) => ({ value: countTokens(encoders, task), transfer: [] }));
