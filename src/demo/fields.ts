/** What the demo upstream says no with, in the words of OpenAI's own errors. */
export class DemoRefusal extends Error {
  override readonly name = "DemoRefusal";
  readonly status: number;
  readonly param: string | null;
  readonly code: string | null;

  constructor(status: number, message: string, param: string | null, code: string | null) {
    super(message);
    this.status = status;
    this.param = param;
    this.code = code;
  }
}

/** A JSON object whose members have not been looked at yet. */
export type Fields = Readonly<Record<string, unknown>>;

export function isFields(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

export function isList(value: unknown): value is readonly unknown[] {
  return Array.isArray(value);
}

/** The member as an object; empty when it is absent or something else. */
export function fieldsOf(value: unknown): Fields {
  return isFields(value) ? value : {};
}

export function textOf(value: unknown): string {
  return typeof value === "string" ? value : "";
}

/** A whole number between two bounds, or null when the member is absent or null. */
export function integerField(body: Fields, name: string, min: number, max: number): number | null {
  const value = body[name] ?? null;
  if (value === null) return null;
  if (typeof value !== "number" || !Number.isInteger(value) || value < min || value > max) {
    const message = `Invalid '${name}': expected an integer between ${min} and ${max}.`;
    throw new DemoRefusal(400, message, name, "invalid_value");
  }
  return value;
}

export function requiredField(body: Fields, name: string): unknown {
  const value = body[name] ?? null;
  if (value === null) {
    const message = `Missing required parameter: '${name}'.`;
    throw new DemoRefusal(400, message, name, "missing_required_parameter");
  }
  return value;
}

export function requiredList(body: Fields, name: string, itemsMax: number): readonly unknown[] {
  const value = requiredField(body, name);
  if (!isList(value) || value.length === 0 || value.length > itemsMax) {
    const message = `Invalid '${name}': expected an array of 1 to ${itemsMax} items.`;
    throw new DemoRefusal(400, message, name, "invalid_value");
  }
  return value;
}
