import { getRandomValues } from "node:crypto";
import { assert } from "./assert.ts";

/** Crockford's base 32: no i, l, o, u, so that an identifier read aloud or off a screen survives. */
const BASE32 = "0123456789abcdefghjkmnpqrstvwxyz";

/** Characters of an encoded identifier: 128 bits, five at a time. */
export const ID_LENGTH = 26;

/** Bytes of chance in an identifier. */
export const ID_RANDOM_BYTES = 10;

const MS_MAX = 2 ** 48 - 1;

/** Identifiers filled from one call of the system's generator, which costs more than the encoding. */
const POOL_BYTES = ID_RANDOM_BYTES * 256;

/**
 * 48 bits of milliseconds since 1970 and 80 bits of chance, in 26 characters that sort by time
 * (the layout of a ULID, in lowercase). Takes at least ten random bytes.
 */
export function encodeId(ms: number, random: Uint8Array, offset = 0): string {
  assert(Number.isInteger(ms) && ms >= 0 && ms <= MS_MAX, "time of an id out of range");
  assert(random.length >= offset + ID_RANDOM_BYTES, "too few random bytes for an id");
  // 48 bits do not divide by five, so the first character carries three bits only, as in a ULID.
  const codes: number[] = [];
  pushUint(codes, Math.floor(ms / 2 ** 25), 5);
  pushUint(codes, ms % 2 ** 25, 5);
  for (let at = offset; at < offset + ID_RANDOM_BYTES; at += 5) pushFiveBytes(codes, random, at);
  // In one piece: joined one by one they were a hundred times their own size in garbage.
  return String.fromCharCode(...codes);
}

/** Whether a text holds digits of `BASE32` and nothing else. */
export function isBase32(text: string): boolean {
  return /^[0-9a-hjkmnp-tv-z]*$/.test(text);
}

/** A source of identifiers; the clock is the caller's. Holds a pool of random bytes. */
export function createRandomId(): (ms: number) => string {
  const pool = new Uint8Array(POOL_BYTES);
  let used = POOL_BYTES;
  return (ms) => {
    if (used === POOL_BYTES) {
      getRandomValues(pool);
      used = 0;
    }
    const id = encodeId(ms, pool, used);
    used += ID_RANDOM_BYTES;
    return id;
  };
}

/** Bytes in base 32, most significant bit first, the last character padded with zero bits. */
export function base32(bytes: Uint8Array): string {
  let text = "";
  let bits = 0;
  let held = 0;
  for (const byte of bytes) {
    held = (held << 8) | byte;
    bits += 8;
    while (bits >= 5) {
      bits -= 5;
      text += digit(held >>> bits);
      held &= (1 << bits) - 1;
    }
  }
  return bits === 0 ? text : text + digit(held << (5 - bits));
}

/** A whole number below 2³² in exactly `length` characters, its lowest bits kept. */
export function encodeUint(value: number, length: number): string {
  const codes: number[] = [];
  pushUint(codes, value, length);
  return String.fromCharCode(...codes);
}

function pushUint(codes: number[], value: number, length: number): void {
  for (let shift = 5 * (length - 1); shift >= 0; shift -= 5) {
    codes.push(BASE32.charCodeAt((value >>> shift) & 31));
  }
}

function pushFiveBytes(codes: number[], bytes: Uint8Array, at: number): void {
  const high =
    (byteAt(bytes, at) << 12) | (byteAt(bytes, at + 1) << 4) | (byteAt(bytes, at + 2) >>> 4);
  const low =
    ((byteAt(bytes, at + 2) & 15) << 16) | (byteAt(bytes, at + 3) << 8) | byteAt(bytes, at + 4);
  pushUint(codes, high, 4);
  pushUint(codes, low, 4);
}

function byteAt(bytes: Uint8Array, at: number): number {
  return bytes[at] ?? 0;
}

function digit(value: number): string {
  return BASE32.charAt(value & 31);
}
