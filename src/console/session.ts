/**
 * Who is signed in: the key itself, sealed in a cookie that only this path and no script sees. Nothing is
 * kept on this side, so any process of the installation can read it, and a key that is revoked signs out by
 * being refused.
 */
import type { Context } from "hono";
import { deleteCookie, getCookie, setCookie } from "hono/cookie";
import { z } from "zod";

import { base32 } from "../lib/random-id.ts";
import { equalConstantTime, randomSecret } from "../lib/hash.ts";
import { decodeUtf8, parseJson } from "../lib/json.ts";
import { openSealed, sealBytes } from "../lib/seal.ts";
import { FLASH_CHARS_MAX, FLASH_MS_MAX, SESSION_MS_MAX } from "./limits.ts";
import type { ConsoleEnv, Flash } from "./visit.ts";

export type Session = {
  readonly key: string;
  /** In every form of this session: a page of somebody else's does not know it. */
  readonly csrf: string;
};

const SESSION_COOKIE = "tollgate_console";
const FLASH_COOKIE = "tollgate_flash";
const PATH = "/console";

const Stored = z.object({ key: z.string(), csrf: z.string(), until: z.number() });
const StoredFlash = z.object({
  text: z.string(),
  secret: z.string().nullable(),
  until: z.number(),
});

export type Sessions = {
  /** Null: nobody is signed in, or it was too long ago. */
  readonly read: (c: Context<ConsoleEnv>) => Session | null;
  readonly begin: (c: Context<ConsoleEnv>, key: string) => void;
  readonly end: (c: Context<ConsoleEnv>) => void;
  /** For the next page at this path, and no other. */
  readonly tell: (c: Context<ConsoleEnv>, path: string, flash: Flash) => void;
  readonly told: (c: Context<ConsoleEnv>) => Flash | null;
};

export function createSessions(sealingKey: Uint8Array, now: () => Date): Sessions {
  const seal = (place: string, value: object) =>
    Buffer.from(sealBytes(sealingKey, [place], Buffer.from(JSON.stringify(value)))).toString(
      "base64url",
    );
  const open = (place: string, text: string | undefined): unknown => {
    if (text === undefined) return null;
    const bytes = openSealed(sealingKey, [place], Buffer.from(text, "base64url"));
    return bytes === null ? null : (parseJson(decodeUtf8(bytes) ?? "")?.value ?? null);
  };
  return {
    read: (c) => {
      const stored = Stored.safeParse(open(SESSION_COOKIE, getCookie(c, SESSION_COOKIE)));
      if (!stored.success || stored.data.until <= now().getTime()) return null;
      return { key: stored.data.key, csrf: stored.data.csrf };
    },
    begin: (c, key) => {
      const until = now().getTime() + SESSION_MS_MAX;
      const value = seal(SESSION_COOKIE, { key, csrf: base32(randomSecret(16)), until });
      setCookie(c, SESSION_COOKIE, value, {
        ...cookieFor(c, PATH),
        maxAge: SESSION_MS_MAX / 1_000,
      });
    },
    end: (c) => void deleteCookie(c, SESSION_COOKIE, cookieFor(c, PATH)),
    tell: (c, path, { text, secret }) => {
      const until = now().getTime() + FLASH_MS_MAX;
      const value = seal(FLASH_COOKIE, { text: text.slice(0, FLASH_CHARS_MAX), secret, until });
      setCookie(c, FLASH_COOKIE, value, { ...cookieFor(c, path), maxAge: FLASH_MS_MAX / 1_000 });
    },
    told: (c) => {
      const sealed = getCookie(c, FLASH_COOKIE);
      if (sealed === undefined) return null;
      deleteCookie(c, FLASH_COOKIE, cookieFor(c, new URL(c.req.url).pathname));
      const stored = StoredFlash.safeParse(open(FLASH_COOKIE, sealed));
      return stored.success && stored.data.until > now().getTime() ? stored.data : null;
    },
  };
}

/** Strict: no link of somebody else's arrives signed in. */
function cookieFor(c: Context<ConsoleEnv>, path: string) {
  return { path, httpOnly: true, sameSite: "Strict", secure: isSecure(c) } as const;
}

/** A proxy that ends TLS says so; who lies about it only withholds the cookie from himself. */
function isSecure(c: Context<ConsoleEnv>): boolean {
  return new URL(c.req.url).protocol === "https:" || c.req.header("x-forwarded-proto") === "https";
}

/**
 * Whether a form was sent from a page of this origin. Browsers say where a request comes from, by
 * `Sec-Fetch-Site` or, where the address is not trustworthy enough for that, by `Origin`; who says neither is none.
 */
export function isFromHere(c: Context<ConsoleEnv>): boolean {
  const site = c.req.header("sec-fetch-site");
  if (site !== undefined) return site === "same-origin";
  const origin = URL.parse(c.req.header("origin") ?? "");
  return origin !== null && origin.host === c.req.header("host");
}

export function isOwnForm(session: Session, form: URLSearchParams): boolean {
  return equalConstantTime(form.get("csrf") ?? "", session.csrf);
}
