/** A gateway that watches its own event loop and tells on its IPC channel; started by loop-delay.ts. */
import { monitorEventLoopDelay } from "node:perf_hooks";
import { diskFiles } from "../../src/entry/config-files.ts";
import { readConfig } from "../../src/entry/config.ts";
import { start } from "../../src/entry/node.ts";

const running = await start(readConfig(process.env, diskFiles));
// At 1 ms the histogram holds the time between two ticks of a timer of 1 ms.
const delay = monitorEventLoopDelay({ resolution: 1 });
process.on("message", (message: string | { readonly blockMs: number }) => {
  if (typeof message === "object") {
    const until = performance.now() + message.blockMs;
    while (performance.now() < until);
    process.send?.({ blocked: true });
  } else if (message === "begin") {
    delay.reset();
    delay.enable();
    process.send?.({ began: true });
  } else {
    delay.disable();
    process.send?.({ maxMs: delay.max / 1e6, p99Ms: delay.percentile(99) / 1e6 });
  }
});
process.send?.({ url: running.url, key: running.firstKeys.tenantKey });
