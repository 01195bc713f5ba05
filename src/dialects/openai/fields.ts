import { InputError } from "../../core/errors.ts";
import { isList, isRecord } from "../../lib/json.ts";

/**
 * Readers of one member each. Only what we ourselves must understand is checked, in the words of the
 * provider's own errors; everything else is the upstream's to judge. `null` is what SDKs send for "not given".
 */
type Body = Readonly<Record<string, unknown>>;

export function readBoolean(body: Body, name: string): boolean | null {
  const value = body[name];
  if (value === undefined || value === null || typeof value === "boolean") return value ?? null;
  throw wrongType(name, "a boolean", value);
}

/** A whole number of `least` or more, at most `most`; null when not given. */
export function readCount(body: Body, name: string, least: number, most: number): number | null {
  const value = body[name];
  if (value === undefined || value === null) return null;
  if (typeof value !== "number" || !Number.isInteger(value))
    throw wrongType(name, "an integer", value);
  if (value < least) {
    const instead = least === 0 ? "zero or more" : `${least} or more`;
    const message = `Invalid value for '${name}': expected an integer of ${instead}, but got ${value} instead. Leave it out for no limit of your own.`;
    throw new InputError("invalid_value", name, message);
  }
  if (value > most) {
    const message = `Invalid value for '${name}': expected an integer of at most ${most}, but got ${value} instead.`;
    throw new InputError("invalid_value", name, message);
  }
  return value;
}

export function readText(body: Body, name: string): string | null {
  const value = body[name];
  if (value === undefined || value === null || typeof value === "string") return value ?? null;
  throw wrongType(name, "a string", value);
}

export function readObject(body: Body, name: string): Body | null {
  const value = body[name];
  if (value === undefined || value === null) return null;
  if (isRecord(value)) return value;
  throw wrongType(name, "an object", value);
}

export function readList(body: Body, name: string): readonly unknown[] | null {
  const value = body[name];
  if (value === undefined || value === null) return null;
  if (isList(value)) return value;
  throw wrongType(name, "an array", value);
}

/** What is given at all: neither absent, null, false, nor empty. */
export function isGiven(value: unknown): boolean {
  if (value === undefined || value === null || value === false || value === "") return false;
  return !isList(value) || value.length > 0;
}

export function wrongType(param: string, expected: string, value: unknown): InputError {
  const message = `Invalid type for '${param}': expected ${expected}, but got ${nameType(value)} instead.`;
  return new InputError("invalid_value", param, message);
}

function nameType(value: unknown): string {
  if (value === null) return "null";
  if (isList(value)) return "an array";
  switch (typeof value) {
    case "string":
      return "a string";
    case "boolean":
      return "a boolean";
    case "number":
      return Number.isInteger(value) ? "an integer" : "a decimal number";
    default:
      return "an object";
  }
}
