import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { idOf, isId, ID_PREFIXES, type IdKind } from "../../src/core/ids.ts";
import { formatKey, looksLikeKey, parseKey } from "../../src/core/key.ts";
import { createRandomId, encodeId } from "../../src/lib/random-id.ts";

const bytes = (length: number): fc.Arbitrary<Uint8Array> =>
  fc.uint8Array({ minLength: length, maxLength: length });
const time = fc.integer({ min: 0, max: 2 ** 48 - 1 });

describe("an identifier", () => {
  test("has a known encoding", () => {
    expect(encodeId(0, new Uint8Array(10))).toBe("0".repeat(26));
    expect(encodeId(2 ** 48 - 1, new Uint8Array(10).fill(255))).toBe(`7${"z".repeat(25)}`);
    // The time in the example of the ULID specification, in lowercase.
    expect(encodeId(1_469_918_176_385, new Uint8Array(10)).slice(0, 10)).toBe("01aryz6s41");
  });

  test("holds all 128 bits and no others", () => {
    fc.assert(
      fc.property(time, bytes(10), (ms, random) => {
        let value = 0n;
        for (const character of encodeId(ms, random)) {
          value = value * 32n + BigInt("0123456789abcdefghjkmnpqrstvwxyz".indexOf(character));
        }
        const chance = random.reduce((sum, byte) => sum * 256n + BigInt(byte), 0n);
        expect(value).toBe((BigInt(ms) << 80n) + chance);
      }),
    );
  });

  test("sorts by time", () => {
    fc.assert(
      fc.property(time, time, bytes(10), bytes(10), (a, b, first, second) => {
        fc.pre(a < b);
        expect(encodeId(a, first) < encodeId(b, second)).toBe(true);
      }),
    );
  });

  test("names its kind and is told from every other", () => {
    const kinds = Object.keys(ID_PREFIXES) as IdKind[];
    for (const kind of kinds) {
      const id = idOf(kind, 1_800_000_000_000, new Uint8Array(10).fill(7));
      for (const other of kinds) expect(isId(other, id)).toBe(other === kind);
      expect(isId(kind, id.toUpperCase())).toBe(false);
      expect(isId(kind, `${id}0`)).toBe(false);
      expect(isId(kind, id.replace(/.$/, "u"))).toBe(false);
    }
  });

  test("is never made twice, across refills of the pool", () => {
    const next = createRandomId();
    const ids = new Set(Array.from({ length: 2_000 }, () => next(1)));
    expect(ids.size).toBe(2_000);
  });
});

describe("a key", () => {
  const ID = idOf("key", 1_800_000_000_000, new Uint8Array(10).fill(9));

  test("is read back as its parts", () => {
    fc.assert(
      fc.property(bytes(32), (secret) => {
        const text = formatKey("live", ID, secret);
        const parts = parseKey(text);
        expect(parts).toMatchObject({ env: "live", id: ID });
        expect(text).toContain(parts?.secret ?? "no secret");
        expect(parts?.secret).toHaveLength(52);
      }),
    );
  });

  test("with one character mistyped is refused", () => {
    const text = formatKey("live", ID, new Uint8Array(32).fill(3));
    for (let at = 0; at < text.length; at += 1) {
      const typed = text[at] === "7" ? "8" : "7";
      expect(parseKey(text.slice(0, at) + typed + text.slice(at + 1)), `at ${at}`).toBeNull();
    }
  });

  test.each(["", "tg_", "sk-abc", "tg_live_x_y", "tg_".repeat(1_000), "tg_live__"])(
    "%j is no key, and no error",
    (text) => {
      expect(parseKey(text)).toBeNull();
    },
  );

  test("claims its kind by its first letters", () => {
    expect(looksLikeKey("tg_live_oops")).toBe(true);
    expect(looksLikeKey("sk-oops")).toBe(false);
  });
});
