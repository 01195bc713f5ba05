import type { Administrator, Caller } from "../core/caller.ts";
import { InputError } from "../core/errors.ts";
import type { Gateway } from "../gate/gateway.ts";

/** The credential wherever a client of the field puts it: OpenAI, Azure, Anthropic, Google. */
export function credentialOf(header: (name: string) => string | null | undefined): string | null {
  const authorization = header("authorization");
  if (authorization !== null && authorization !== undefined) {
    const match = /^bearer +(\S+) *$/i.exec(authorization);
    if (match?.[1] !== undefined) return match[1];
    throw new InputError(
      "invalid_api_key",
      null,
      "The Authorization header is not `Bearer` and one key.",
    );
  }
  return header("api-key") ?? header("x-api-key") ?? header("x-goog-api-key") ?? null;
}

/** Identifies who passes a door: a tenant's key. The installation's key manages, and passes none. */
export function identifyCaller(
  gateway: Gateway,
  header: (name: string) => string | null | undefined,
): Caller {
  const identified = gateway.identify(credentialOf(header));
  if (!isAdministrator(identified)) return identified;
  throw new InputError(
    "forbidden",
    null,
    "The administration key manages Tollgate and calls no model. Make a tenant's key with `npx tollgate keys create`.",
  );
}

export function isAdministrator(identified: Administrator | Caller): identified is Administrator {
  return "installation" in identified;
}
