import type { Log, UpstreamExchange, UpstreamPort } from "./ports.ts";

/**
 * The port `upstream`, of which what hears an answer may throw. That is a fault of ours, and no exchange stays
 * without its end for it: it is logged, broken off and told once as a failure, and its listener hears nothing more.
 */
export function guardedUpstream(upstream: UpstreamPort, log: Log): UpstreamPort {
  return {
    close: upstream.close,
    dispatch: (request, listener) => {
      let isOver = false;
      let exchange: UpstreamExchange | null = null;
      const tell = (hear: () => void): void => {
        if (isOver) return;
        try {
          hear();
        } catch (error) {
          isOver = true;
          log.error({ error, upstream: request.upstream }, "an answer could not be taken in");
          exchange?.abort();
          listener.onFail({ kind: "fault", sent: true, message: "the gateway failed to read it" });
        }
      };
      exchange = upstream.dispatch(request, {
        onHead: (status, headers) => tell(() => listener.onHead(status, headers)),
        onData: (chunk) => {
          let flows = true;
          tell(() => {
            flows = listener.onData(chunk);
          });
          return flows;
        },
        onEnd: () => tell(listener.onEnd),
        onFail: (failure) => tell(() => listener.onFail(failure)),
      });
      // It threw before there was anything to break off.
      if (isOver) exchange.abort();
      return exchange;
    },
  };
}
