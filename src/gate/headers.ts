/** Which headers cross. Names in lower case; lists are name, value, name, value. */

/** RFC 9110 §7.6.1: about one connection, never about the message. */
const HOP_BY_HOP = new Set([
  "connection",
  "keep-alive",
  "proxy-authenticate",
  "proxy-authorization",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
]);

/** Ours or the caller's alone: credentials, who the caller is, and what undici must write itself. */
const NEVER_FORWARDED = new Set([
  "host",
  "authorization",
  "api-key",
  "x-api-key",
  "x-goog-api-key",
  "cookie",
  "accept-encoding",
  "content-length",
  "expect",
  // Ours: tenants that share an account could meet each other's answers there.
  "idempotency-key",
  "prefer",
  "forwarded",
  "via",
  "x-real-ip",
  // Servers that heed these would run another request than the one that was admitted.
  "x-http-method",
  "x-http-method-override",
  "x-method-override",
  "x-original-url",
  "x-rewrite-url",
  "x-original-host",
  "x-host",
  "openai-organization",
  "openai-project",
]);

/**
 * Ours, and what gateways that may stand behind us take for orders: where a call goes, as which model, how often, with whose
 * key (Portkey, Helicone, LiteLLM, Cloudflare, Bifrost, TrueFoundry, Envoy). What is to be sent to one stands among the
 * headers that are configured with the upstream.
 */
const OURS_OR_ORDERS =
  /^(?:tollgate-|helicone-|cf-aig-|x-(?:forwarded|portkey|litellm|bf|tfy|envoy|ai-eg)-)/;

function isForwarded(name: string, nominated: ReadonlySet<string> | null): boolean {
  return !(
    HOP_BY_HOP.has(name) ||
    NEVER_FORWARDED.has(name) ||
    nominated?.has(name) === true ||
    OURS_OR_ORDERS.test(name)
  );
}

type Credentials = {
  readonly apiKey: string | null;
  readonly headers: Readonly<Record<string, string>>;
};

/**
 * The request's own headers for an upstream, with the upstream's credential in place of the caller's.
 * `isStreamed`: the body passes through as it comes, so its length is what the caller told; without it
 * an upload would arrive in chunks, which not every upstream takes.
 */
export function upstreamHeaders(
  raw: readonly string[],
  { apiKey, headers: configured }: Credentials,
  isStreamed: boolean,
): string[] {
  const nominated = nominatedBy(raw);
  const headers: string[] = [];
  for (let i = 0; i + 1 < raw.length; i += 2) {
    const name = (raw[i] ?? "").toLowerCase();
    const value = raw[i + 1] ?? "";
    const isLength = isStreamed && name === "content-length" && nominated?.has(name) !== true;
    if (!isLength && !isForwarded(name, nominated)) continue;
    if (Object.hasOwn(configured, name)) continue;
    const kept = name === "baggage" ? withoutOurs(value) : value;
    if (kept !== "") headers.push(name, kept);
  }
  for (const [name, value] of Object.entries(configured)) headers.push(name, value);
  if (apiKey !== null) headers.push("authorization", `Bearer ${apiKey}`);
  headers.push("accept-encoding", "identity");
  return headers;
}

/** The upstream's headers for the client; `dropLength` where bytes will be hidden from it. */
export function clientHeaders(headers: readonly string[], dropLength: boolean): string[] {
  const nominated = nominatedBy(headers);
  const kept: string[] = [];
  for (let i = 0; i + 1 < headers.length; i += 2) {
    const name = headers[i] ?? "";
    if (HOP_BY_HOP.has(name) || nominated?.has(name) === true || name.startsWith("tollgate-"))
      continue;
    if (dropLength && name === "content-length") continue;
    kept.push(name, headers[i + 1] ?? "");
  }
  return kept;
}

/** The first value of a header by its lower-case name, in a list whose names are in lower case. */
export function valueOf(headers: readonly string[], name: string): string | null {
  for (let i = 0; i + 1 < headers.length; i += 2) {
    if (headers[i] === name) return headers[i + 1] ?? "";
  }
  return null;
}

const CONNECTION = "connection";

/** Null where no header is about the connection only, as it is with nearly everybody. */
function nominatedBy(raw: readonly string[]): ReadonlySet<string> | null {
  let nominated: ReadonlySet<string> | null = null;
  for (let i = 0; i + 1 < raw.length; i += 2) {
    const name = raw[i] ?? "";
    if (name.length !== CONNECTION.length || name.toLowerCase() !== CONNECTION) continue;
    const names = (raw[i + 1] ?? "").split(",").map((each) => each.trim().toLowerCase());
    nominated = new Set([...(nominated ?? []), ...names]);
  }
  return nominated;
}

/** W3C Baggage without the members by which our context travels. */
function withoutOurs(baggage: string): string {
  const members = baggage.split(",").filter((member) => !member.trim().startsWith("tollgate."));
  return members.join(",").trim();
}
