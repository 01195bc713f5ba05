/** A report reads every decision of its period: one that the database ended says what to ask instead. */
import { InputError } from "../core/errors.ts";
import { isStatementTimeout } from "../store/errors.ts";

/** What the sums came to. Throws InputError where their period holds more than can be summed up in time. */
export async function summed<Sums>(sums: Promise<Sums>): Promise<Sums> {
  try {
    return await sums;
  } catch (error) {
    if (!isStatementTimeout(error)) throw error;
    const message =
      "This period holds more decisions than can be summed up in one answer: ask for a shorter one.";
    throw new InputError("invalid_value", "from", message);
  }
}
