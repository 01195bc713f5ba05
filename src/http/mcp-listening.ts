/**
 * `subscriptions/listen`: a client of the current generation is told when the tools that it may call have become others,
 * whether its server lists others, or an operator has approved, or its key may call other ones. Nothing is kept for it:
 * what it may call is looked at again as often as a call would.
 */
import { createMcpHandler, Server } from "@modelcontextprotocol/server";

import { LIST_AGE_MS_MAX, LISTENERS_MAX, TENANT_LISTENERS_MAX } from "../core/limits-tools.ts";
import { canonicalJson } from "../lib/canonical-json.ts";
import { sha256Hex } from "../lib/hash.ts";
import { admitCall, type CallHooks, type RpcError } from "./mcp-calls.ts";

export type Listening = {
  readonly hooks: CallHooks;
  readonly request: Request;
  /** As the package takes it. */
  readonly body: unknown;
  /** The process is told to end: nobody is to wait for it. */
  readonly isClosing: () => boolean;
};

export type Listeners = {
  /** Null where as many listen as may, of its tenant or in all. */
  readonly listen: (listening: Listening) => Promise<Response> | null;
};

export function createListeners(): Listeners {
  let open = 0;
  const openOf = new Map<string, number>();
  return {
    listen: (listening) => {
      const { tenantId } = listening.hooks.from.caller;
      const own = openOf.get(tenantId) ?? 0;
      if (open >= LISTENERS_MAX || own >= TENANT_LISTENERS_MAX) return null;
      open += 1;
      openOf.set(tenantId, own + 1);
      return serve(listening, () => {
        open -= 1;
        const left = (openOf.get(tenantId) ?? 0) - 1;
        if (left > 0) openOf.set(tenantId, left);
        else openOf.delete(tenantId);
      });
    },
  };
}

async function serve(
  { hooks, request, body, isClosing }: Listening,
  ended: () => void,
): Promise<Response> {
  const about = { name: "tollgate", version: "1" };
  const handler = createMcpHandler(
    () => new Server(about, { capabilities: { tools: { listChanged: true } } }),
  );
  let known: string | null = null;
  let isOver = false;
  const end = () => {
    if (isOver) return;
    isOver = true;
    clearTimeout(timer);
    ended();
    void handler.close();
  };
  const look = async (): Promise<void> => {
    // A key that was revoked hears nothing more.
    if (isClosing() || !hooks.gateway.authority.isCurrent(hooks.from.caller)) return end();
    const now = await shown(hooks);
    if (now === null || now === known) return;
    const isNews = known !== null;
    known = now;
    if (isNews) handler.notify.toolsChanged();
  };
  // What cannot be looked at now, because the database is away, is looked at the next time.
  let timer: NodeJS.Timeout | undefined;
  const turn = async (): Promise<void> => {
    await Promise.allSettled([look()]);
    if (!isOver) timer = setTimeout(() => void turn(), LIST_AGE_MS_MAX);
  };
  request.signal.addEventListener("abort", end, { once: true });
  // Who left before is told by no event.
  if (request.signal.aborted) end();
  await turn();
  const response = await handler.fetch(request, { parsedBody: body });
  const isStream = response.headers.get("content-type")?.startsWith("text/event-stream") === true;
  if (!isStream) end();
  return response;
}

/** What the key may call now, by its digest; null where its server does not tell. */
async function shown(hooks: CallHooks): Promise<string | null> {
  const listed = await admitCall(hooks, { method: "tools/list", params: {} });
  return listed.kind === "result" ? sha256Hex(canonicalJson(listed.result)) : null;
}

export const TOO_MANY_LISTEN: RpcError = {
  kind: "error",
  code: -32_603,
  message: "As many clients listen here as may: ask for the list of tools instead.",
  data: null,
};
