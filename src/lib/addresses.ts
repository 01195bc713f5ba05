/** IP addresses: which of them are anybody's on the internet, and which lead back into one's own network. */

/** An address or its network: as a number of so many bits. */
type Numbered = { readonly bits: 32 | 128; readonly value: bigint };

export function isAddress(text: string): boolean {
  return numberedFrom(text) !== null;
}

/**
 * Whether a text is an address of the public internet. The special ones are those of the IANA registries
 * (RFC 6890 and its successors): this host, private networks, link-local (where clouds tell their machines
 * secrets), shared, documentation, benchmarking, multicast, reserved. Of IPv6 only global unicast passes,
 * so an IPv4 address in IPv6 clothes (mapped, compatible, translated, 6to4, Teredo) never does.
 */
export function isPublicAddress(text: string): boolean {
  const address = numberedFrom(text);
  if (address === null) return false;
  const isIn = (network: string) => contains(network, address);
  if (address.bits === 32) return !SPECIAL.some(isIn);
  return isIn(GLOBAL_UNICAST) && !SPECIAL_SIX.some(isIn);
}

const SPECIAL: readonly string[] = [
  "0.0.0.0/8",
  "10.0.0.0/8",
  "100.64.0.0/10",
  "127.0.0.0/8",
  "169.254.0.0/16",
  "172.16.0.0/12",
  "192.0.0.0/24",
  "192.0.2.0/24",
  "192.88.99.0/24",
  "192.168.0.0/16",
  "198.18.0.0/15",
  "198.51.100.0/24",
  "203.0.113.0/24",
  "224.0.0.0/4",
  "240.0.0.0/4",
];

const GLOBAL_UNICAST = "2000::/3";

const SPECIAL_SIX: readonly string[] = ["2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"];

function contains(network: string, address: Numbered): boolean {
  const [base = "", prefix = ""] = network.split("/");
  const numbered = numberedFrom(base);
  if (numbered === null || numbered.bits !== address.bits) return false;
  const rest = BigInt(address.bits - Number(prefix));
  return numbered.value >> rest === address.value >> rest;
}

/** Null for anything that is not the whole of one address: a zone (`fe80::1%eth0`) included. */
function numberedFrom(text: string): Numbered | null {
  if (!text.includes(":")) return four(text);
  if (!/^[0-9a-fA-F:.]{2,45}$/.test(text)) return null;
  // The URL parser knows every way to write one, and writes each of them in one way, as hexadecimal groups.
  const written = URL.parse(`http://[${text}]/`)?.hostname.slice(1, -1);
  if (written === undefined) return null;
  const [head = "", tail = ""] = written.split("::");
  const groups = (part: string) => (part === "" ? [] : part.split(":"));
  const zeros = 8 - groups(head).length - groups(tail).length;
  const all = [...groups(head), ...Array.from({ length: zeros }, () => "0"), ...groups(tail)];
  return { bits: 128, value: BigInt(`0x${all.map((group) => group.padStart(4, "0")).join("")}`) };
}

/** Four decimal numbers and nothing else: a leading zero is octal to some and decimal to others. */
function four(text: string): Numbered | null {
  if (!/^(?:(?:0|[1-9]\d{0,2})\.){3}(?:0|[1-9]\d{0,2})$/.test(text)) return null;
  let value = 0n;
  for (const part of text.split(".")) {
    const byte = BigInt(part);
    if (byte > 255n) return null;
    value = value * 256n + byte;
  }
  return { bits: 32, value };
}
