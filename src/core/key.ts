import { crc32Of } from "../lib/hash.ts";
import { assert } from "../lib/assert.ts";
import { base32, encodeUint, isBase32 } from "../lib/random-id.ts";
import { isEncoded, isId } from "./ids.ts";

/** Bytes of chance in a key: 256 bits, beyond any search. */
export const KEY_SECRET_BYTES = 32;

/** 256 bits, five at a time, the last padded. */
const SECRET_LENGTH = 52;

/** 30 bits of a CRC-32: a mistyped key passes once in a billion, and the digest catches it anyway. */
const CHECKSUM_LENGTH = 6;

const ENV_LENGTH_MAX = 16;
const KEY_PREFIX = "key_";

/** Longer than any key of ours, so that a hostile header costs one comparison. */
const KEY_LENGTH_MAX = 128;

export type KeyParts = {
  /** Where the key belongs (`live`, `test`): seen in the key itself, so that a leak can be sorted. */
  readonly env: string;
  /** The key's identifier, `key_…`. */
  readonly id: string;
  readonly secret: string;
};

/**
 * The text of a key, shown once: `tg_<env>_<id>_<secret><checksum>`. The fixed prefix and the
 * checksum let scanners of leaked credentials tell it from noise.
 */
export function formatKey(env: string, id: string, secretBytes: Uint8Array): string {
  assert(isEnv(env), "the environment of a key is 1 to 16 lowercase letters or digits");
  assert(isId("key", id), "a key is named by a key id");
  assert(secretBytes.length === KEY_SECRET_BYTES, "a key's secret has 32 bytes");
  const body = `tg_${env}_${id.slice(KEY_PREFIX.length)}_${base32(secretBytes)}`;
  return body + checksumOf(body);
}

/** The parts of a key, or null when the text is not one of ours or was mistyped. */
export function parseKey(text: string): KeyParts | null {
  if (text.length > KEY_LENGTH_MAX) return null;
  const [mark, env, encoded, tail, ...rest] = text.split("_");
  if (mark !== "tg" || env === undefined || encoded === undefined || tail === undefined)
    return null;
  if (rest.length > 0 || !isEnv(env) || !isEncoded(encoded)) return null;
  if (tail.length !== SECRET_LENGTH + CHECKSUM_LENGTH) return null;
  if (!isBase32(tail)) return null;
  const body = text.slice(0, -CHECKSUM_LENGTH);
  if (checksumOf(body) !== text.slice(-CHECKSUM_LENGTH)) return null;
  return { env, id: KEY_PREFIX + encoded, secret: tail.slice(0, SECRET_LENGTH) };
}

/** Whether a text at least claims to be a key of ours: then a failure to parse is a typing error. */
export function looksLikeKey(text: string): boolean {
  return text.startsWith("tg_");
}

function checksumOf(body: string): string {
  return encodeUint(crc32Of(body), CHECKSUM_LENGTH);
}

function isEnv(text: string): boolean {
  return text.length <= ENV_LENGTH_MAX && /^[a-z0-9]+$/.test(text);
}
