import { randomBytes } from "node:crypto";
import { expect, test } from "vitest";
import { keyFromSecret, openSealed, SEAL_OVERHEAD_BYTES, sealBytes } from "../../src/lib/seal.ts";

const KEY = new Uint8Array(32).fill(1);
const PLACE = ["answer", "ten_1", "att_1"];
const PLAIN = Buffer.from("what nobody may read");

test.each([0, 1, 15, 16, 17, 100_000])("%i bytes come back as they were", (length) => {
  const plain = new Uint8Array(randomBytes(length));
  const sealed = sealBytes(KEY, PLACE, plain);
  expect(sealed.length).toBe(length + SEAL_OVERHEAD_BYTES);
  expect(Buffer.from(openSealed(KEY, PLACE, sealed) ?? []).equals(plain)).toBe(true);
  expect(openSealed(KEY, PLACE, sealed)).not.toBeNull();
});

test("what is sealed shows nothing of what it holds, and is never the same twice", () => {
  const [one, other] = [sealBytes(KEY, PLACE, PLAIN), sealBytes(KEY, PLACE, PLAIN)];
  expect(Buffer.from(one).includes(PLAIN)).toBe(false);
  expect(Buffer.from(one).equals(other)).toBe(false);
});

test("one changed bit anywhere opens nothing", () => {
  const sealed = sealBytes(KEY, PLACE, PLAIN);
  for (let at = 0; at < sealed.length * 8; at += 1) {
    const changed = Uint8Array.from(sealed);
    changed[at >> 3] = (changed[at >> 3] ?? 0) ^ (1 << (at & 7));
    expect(openSealed(KEY, PLACE, changed), `bit ${at}`).toBeNull();
  }
});

test("a cut, a lengthened and an empty text open nothing", () => {
  const sealed = sealBytes(KEY, PLACE, PLAIN);
  for (let length = 0; length < sealed.length; length += 1) {
    expect(openSealed(KEY, PLACE, sealed.subarray(0, length)), `${length}`).toBeNull();
  }
  expect(openSealed(KEY, PLACE, Uint8Array.from([...sealed, 0]))).toBeNull();
});

test.each([
  ["another purpose", ["secret", "ten_1", "att_1"]],
  ["another tenant", ["answer", "ten_2", "att_1"]],
  ["another row", ["answer", "ten_1", "att_2"]],
  ["the same letters, parted otherwise", ["answer", "ten_1a", "tt_1"]],
  ["fewer parts", ["answer", "ten_1"]],
])("it opens nowhere else: %s", (_, place) => {
  expect(openSealed(KEY, place, sealBytes(KEY, PLACE, PLAIN))).toBeNull();
});

test("another key opens nothing", () => {
  expect(openSealed(new Uint8Array(32).fill(2), PLACE, sealBytes(KEY, PLACE, PLAIN))).toBeNull();
});

test("a key from a secret is another for another secret, salt or purpose", () => {
  const keys = [
    keyFromSecret("secret", "salt", "purpose"),
    keyFromSecret("secret2", "salt", "purpose"),
    keyFromSecret("secret", "salt2", "purpose"),
    keyFromSecret("secret", "salt", "purpose2"),
  ].map((key) => Buffer.from(key).toString("hex"));
  expect(new Set(keys).size).toBe(4);
  expect(keys[0]).toHaveLength(64);
});

test("the key from a secret is HKDF-SHA-256: the first test case of RFC 5869", () => {
  // Its secret, salt and purpose are bytes; as Latin-1 they are the same text.
  const hex = (digits: string) => Buffer.from(digits, "hex").toString("latin1");
  const key = keyFromSecret(hex("0b".repeat(22)), hex("000102030405060708090a0b0c"), "");
  // RFC 5869 A.1 with an empty info: HKDF-Expand(PRK, "", 32), PRK as printed there.
  expect(Buffer.from(key).toString("hex")).toBe(
    "b2a3d45126d31fb6828ef00d76c6d54e9c2bd4785e49c6ad86e327d89d0de940",
  );
});
