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

export function isForwarded(name: string, nominated: ReadonlySet<string>): boolean {
  return !(
    HOP_BY_HOP.has(name) ||
    NEVER_FORWARDED.has(name) ||
    nominated.has(name) ||
    name.startsWith("tollgate-") ||
    name.startsWith("x-forwarded-")
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
    const isLength = isStreamed && name === "content-length" && !nominated.has(name);
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
export function clientHeaders(
  headers: readonly (readonly [string, string])[],
  dropLength: boolean,
): string[] {
  const nominated = new Set<string>();
  for (const [name, value] of headers) {
    if (name === "connection")
      for (const each of value.split(",")) nominated.add(each.trim().toLowerCase());
  }
  const kept: string[] = [];
  for (const [name, value] of headers) {
    if (HOP_BY_HOP.has(name) || nominated.has(name) || name.startsWith("tollgate-")) continue;
    if (dropLength && name === "content-length") continue;
    kept.push(name, value);
  }
  return kept;
}

function nominatedBy(raw: readonly string[]): ReadonlySet<string> {
  const nominated = new Set<string>();
  for (let i = 0; i + 1 < raw.length; i += 2) {
    if ((raw[i] ?? "").toLowerCase() !== "connection") continue;
    for (const name of (raw[i + 1] ?? "").split(",")) nominated.add(name.trim().toLowerCase());
  }
  return nominated;
}

/** W3C Baggage without the members by which our context travels. */
function withoutOurs(baggage: string): string {
  const members = baggage.split(",").filter((member) => !member.trim().startsWith("tollgate."));
  return members.join(",").trim();
}
