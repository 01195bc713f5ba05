/** Thrown when the program itself is wrong: never by bad input, never by an upstream. */
export class Fault extends Error {
  override readonly name = "Fault";
}

export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new Fault(message);
}

/** Closes a `switch` over a union: a new member does not compile until every switch answers it. */
export function unreachable(value: never): never {
  throw new Fault(`unreachable: ${JSON.stringify(value)}`);
}
