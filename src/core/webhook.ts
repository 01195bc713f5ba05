/** Webhooks: what a tenant can be told, and where it may want to be told. */
import { isAddress, isPublicAddress } from "../lib/addresses.ts";
import { WEBHOOK_URL_CHARS_MAX } from "./limits.ts";

/** The kinds of messages that a webhook may want. `ping` is sent when somebody tests it, and needs no wish. */
export const MESSAGE_KINDS = [
  "approval.requested",
  "approval.approved",
  "approval.denied",
  "approval.cancelled",
  "budget.threshold",
  "budget.forecast",
  "report.ready",
] as const;

export type MessageKind = (typeof MESSAGE_KINDS)[number];

/**
 * Why a message may not be sent there, or null. A name is only a name here: to what it leads is asked
 * when a connection is made, for it may lead elsewhere by then.
 */
export function wrongWebhookUrl(text: string, allowsPrivate: boolean): string | null {
  // What parsers read differently is read by none.
  const isPlain = text.length <= WEBHOOK_URL_CHARS_MAX && /^[\x21-\x7e]+$/.test(text);
  const url = isPlain && !text.includes("\\") ? URL.parse(text) : null;
  if (url === null) return "Not a URL, such as https://example.com/hooks/tollgate.";
  if (url.protocol !== "https:" && url.protocol !== "http:") return "Only https is spoken here.";
  if (url.username !== "" || url.password !== "" || text.includes("@")) {
    return "A URL without user, password or @: receivers know us by the signature.";
  }
  if (text.includes("#")) return "A URL without a fragment: remove # and what follows.";
  if (allowsPrivate) return null;
  if (url.protocol !== "https:") return `Only https: ${OPERATOR}`;
  const host = url.hostname.replace(/^\[(.*)\]$/, "$1").replace(/\.$/, "");
  const isPrivateName = host === "localhost" || host.endsWith(".localhost");
  if (isPrivateName || (isAddress(host) && !isPublicAddress(host))) {
    return `This is no public address: ${OPERATOR}`;
  }
  return null;
}

const OPERATOR =
  "receivers on the operator's own network need `webhooks: { allow_private: true }` in tollgate.yaml.";
