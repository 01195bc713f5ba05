/** What one result of an export says, and how its members are read. */
import { InputError } from "../../core/errors.ts";
import type { InvoiceLine } from "../../core/invoice.ts";
import { STATED_UNITS_MAX } from "../../core/limits-finance.ts";
import { isExactNumber, sourceOf } from "../../lib/exact-json.ts";

export type Members = Readonly<Record<string, unknown>>;

export type Span = { readonly startMs: number; readonly endMs: number };

export type ResultLine = Pick<InvoiceLine, "model" | "isModel" | "figures"> & {
  /** Null: the ordinary one, or not told. */
  readonly tier: string | null;
};

/** A whole number of tokens or requests; absent it is 0. */
export function unitsOf(members: Members, name: string, file: string): bigint {
  const value = members[name] ?? 0;
  if (typeof value === "number" && Number.isSafeInteger(value) && value >= 0) {
    if (value <= STATED_UNITS_MAX) return BigInt(value);
  }
  throw wrongMember(file, name, "a whole number of tokens or requests");
}

/** The text of an amount, a JSON number as it was written. */
export function decimalOf(value: unknown, name: string, file: string): string {
  if (typeof value === "string") return value;
  if (isExactNumber(value)) return sourceOf(value);
  if (typeof value === "number") return String(value);
  throw wrongMember(file, name, "a decimal amount");
}

export function refuseCurrency(currency: unknown, file: string): void {
  if (typeof currency === "string" && currency.toLowerCase() === "usd") return;
  throw wrongMember(file, "currency", "USD, the only currency that prices are kept in");
}

/** The model's name; throws where the export is not split by model. */
export function modelOf(members: Members, name: string, file: string): string {
  const model = members[name];
  if (typeof model === "string" && model !== "") return model;
  const message = `${file} is not split by model (${name} is null): fetch it with group_by=${name}.`;
  throw new InputError("invalid_value", file, message);
}

export function wrongMember(file: string, name: string, wanted: string): InputError {
  return new InputError("invalid_value", file, `${file}: ${name} is not ${wanted}.`);
}
