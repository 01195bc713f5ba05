/**
 * Sealing bytes that are stored: AES-256-GCM, bound to the place where they stand, so that a row copied to
 * another place opens nowhere.
 *
 * Each place has a key of its own, derived from the given one. GCM with random 96-bit nonces is sound
 * for 2³² messages under one key (NIST SP 800-38D, 8.3), which a busy installation would reach in weeks; a
 * place is sealed once or a few times.
 *
 * A sealed text: one byte that names this form, the nonce, the ciphertext, the tag.
 */
import { createCipheriv, createDecipheriv, createHmac, hkdfSync, randomBytes } from "node:crypto";

const FORM = 1;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;

/** Of a key to seal with: 256 bits. */
export const SEAL_KEY_BYTES = 32;

/** What a sealed text is longer by than what it holds. */
export const SEAL_OVERHEAD_BYTES = 1 + NONCE_BYTES + TAG_BYTES;

/** `place`: parts that together name where the sealed bytes will stand. */
export function sealBytes(
  key: Uint8Array,
  place: readonly string[],
  plain: Uint8Array,
): Uint8Array<ArrayBuffer> {
  const { placeKey, bound } = placed(key, place);
  const nonce = randomBytes(NONCE_BYTES);
  const cipher = createCipheriv("aes-256-gcm", placeKey, nonce, { authTagLength: TAG_BYTES });
  cipher.setAAD(bound);
  const parts = [Uint8Array.of(FORM), nonce, cipher.update(plain), cipher.final()];
  return Uint8Array.from(Buffer.concat([...parts, cipher.getAuthTag()]));
}

/** What was sealed with this key at this place; null for anything else, one changed bit included. */
export function openSealed(
  key: Uint8Array,
  place: readonly string[],
  sealed: Uint8Array,
): Uint8Array | null {
  if (sealed.length < SEAL_OVERHEAD_BYTES || sealed[0] !== FORM) return null;
  const { placeKey, bound } = placed(key, place);
  const nonce = sealed.subarray(1, 1 + NONCE_BYTES);
  const ciphertext = sealed.subarray(1 + NONCE_BYTES, sealed.length - TAG_BYTES);
  const decipher = createDecipheriv("aes-256-gcm", placeKey, nonce, { authTagLength: TAG_BYTES });
  decipher.setAAD(bound);
  decipher.setAuthTag(sealed.subarray(sealed.length - TAG_BYTES));
  try {
    return Buffer.concat([decipher.update(ciphertext), decipher.final()]);
  } catch {
    return null;
  }
}

/** A key from a secret that people keep (HKDF-SHA-256, RFC 5869). `purpose` keeps its uses apart. */
export function keyFromSecret(secret: string, salt: string, purpose: string): Uint8Array {
  return new Uint8Array(hkdfSync("sha256", secret, salt, purpose, SEAL_KEY_BYTES));
}

/** As JSON, for parts that are only joined could be joined differently: "a", "bc" and "ab", "c". */
function placed(key: Uint8Array, place: readonly string[]) {
  const bound = Buffer.from(JSON.stringify(place));
  return { bound, placeKey: createHmac("sha256", key).update(bound).digest() };
}
