import { createHmac, hash, randomBytes, timingSafeEqual } from "node:crypto";
import { crc32 } from "node:zlib";

/** SHA-256 as 64 lowercase hex digits. The one-shot `hash` costs about half of `createHash`. */
export function sha256Hex(data: string | Uint8Array): string {
  return hash("sha256", data, "hex");
}

/** HMAC-SHA-256 as 64 lowercase hex digits. */
export function hmacSha256Hex(pepper: string | Uint8Array, text: string | Uint8Array): string {
  return createHmac("sha256", pepper).update(text).digest("hex");
}

/** The same in base64: how webhooks are signed. */
export function hmacSha256Base64(key: Uint8Array, text: string): string {
  return createHmac("sha256", key).update(text).digest("base64");
}

/** So many bytes of chance, beyond any search from 16 on. */
export function randomSecret(bytes: number): Uint8Array {
  return new Uint8Array(randomBytes(bytes));
}

/** Whether two digests are equal, in a time that tells nothing of where they differ. Their length is no secret. */
export function equalConstantTime(a: string, b: string): boolean {
  const [left, right] = [Buffer.from(a), Buffer.from(b)];
  return left.length === right.length && timingSafeEqual(left, right);
}

/** CRC-32 (IEEE 802.3) of the UTF-8 of a text, as an unsigned number: against typing errors, not attackers. */
export function crc32Of(text: string): number {
  return crc32(text);
}
