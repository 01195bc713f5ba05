import { describe, expect, test } from "vitest";
import { crc32Of, equalConstantTime, hmacSha256Hex, sha256Hex } from "../../src/lib/hash.ts";

describe("the hashes equal the published vectors", () => {
  test("SHA-256 (FIPS 180-4)", () => {
    const abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    expect(sha256Hex("abc")).toBe(abc);
    expect(sha256Hex(new TextEncoder().encode("abc"))).toBe(abc);
  });

  test("HMAC-SHA-256 (RFC 4231, case 2)", () => {
    expect(hmacSha256Hex("Jefe", "what do ya want for nothing?")).toBe(
      "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
    );
  });

  test("CRC-32 (its check value)", () => {
    expect(crc32Of("123456789")).toBe(0xcbf43926);
  });

  test("texts are compared whole, whatever their lengths", () => {
    expect(equalConstantTime("abc", "abc")).toBe(true);
    expect(equalConstantTime("abc", "abd")).toBe(false);
    expect(equalConstantTime("abc", "abcd")).toBe(false);
    expect(equalConstantTime("", "a")).toBe(false);
  });
});
