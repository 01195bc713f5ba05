import { createHmac, hash, timingSafeEqual } from "node:crypto";
import { crc32 } from "node:zlib";

/** SHA-256 as 64 lowercase hex digits. The one-shot `hash` costs about half of `createHash`. */
export function sha256Hex(data: string | Uint8Array): string {
  return hash("sha256", data, "hex");
}

/** HMAC-SHA-256 as 64 lowercase hex digits. */
export function hmacSha256Hex(pepper: string | Uint8Array, text: string | Uint8Array): string {
  return createHmac("sha256", pepper).update(text).digest("hex");
}

/**
 * Whether two texts are equal, in a time that tells nothing of where they differ. Both are hashed
 * first, because `timingSafeEqual` throws on unequal lengths and so would tell the length.
 */
export function equalConstantTime(a: string, b: string): boolean {
  return timingSafeEqual(hash("sha256", a, "buffer"), hash("sha256", b, "buffer"));
}

/** CRC-32 (IEEE 802.3) of the UTF-8 of a text, as an unsigned number: against typing errors, not attackers. */
export function crc32Of(text: string): number {
  return crc32(text);
}
