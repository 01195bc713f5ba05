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
/** Bytes that SHA-256 takes at a time, to which HMAC pads its key. */
const BLOCK_BYTES = 64;
const DIGEST_BYTES = 32;

/**
 * `hmacSha256Hex` with one pepper for many short texts: what it is by RFC 2104, two hashes over a padded
 * key, by the one-shot `hash`, which costs a third of an object made for each text.
 */
export function hmacSha256HexBy(pepper: string): (text: string) => string {
  const key = Buffer.alloc(BLOCK_BYTES);
  const bytes = Buffer.from(pepper);
  (bytes.length > BLOCK_BYTES ? hash("sha256", bytes, "buffer") : bytes).copy(key);
  const inner = Buffer.alloc(BLOCK_BYTES + UTF8_BYTES_MAX * TEXT_CHARS_MAX);
  const outer = Buffer.alloc(BLOCK_BYTES + DIGEST_BYTES);
  for (const [at, byte] of key.entries()) {
    inner[at] = byte ^ 0x36;
    outer[at] = byte ^ 0x5c;
  }
  return (text) => {
    if (text.length > TEXT_CHARS_MAX) return hmacSha256Hex(pepper, text);
    const end = BLOCK_BYTES + inner.write(text, BLOCK_BYTES);
    hash("sha256", inner.subarray(0, end), "buffer").copy(outer, BLOCK_BYTES);
    return hash("sha256", outer, "hex");
  };
}

/** A key's secret is 52 characters; whatever is longer than this is hashed the ordinary way. */
const TEXT_CHARS_MAX = 64;
/** Of one unit of a JavaScript string. */
const UTF8_BYTES_MAX = 3;

/** Whether two digests are equal, in a time that tells nothing of where they differ. Their length is no secret. */
export function equalConstantTime(a: string, b: string): boolean {
  const [left, right] = [Buffer.from(a), Buffer.from(b)];
  return left.length === right.length && timingSafeEqual(left, right);
}

/** CRC-32 (IEEE 802.3) of the UTF-8 of a text, as an unsigned number: against typing errors, not attackers. */
export function crc32Of(text: string): number {
  return crc32(text);
}
