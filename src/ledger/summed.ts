/** A report reads many rows: one that the database ended says what to ask instead. */
import { InputError } from "../core/errors.ts";
import { isStatementTimeout, isUnknownZone } from "../store/errors.ts";

/** What to say where the sums did not come in time. */
type Refusal = { readonly param: string; readonly message: string };

const LONG_PERIOD: Refusal = {
  param: "from",
  message:
    "This period holds more decisions than can be summed up in one answer: ask for a shorter one.",
};

const UNKNOWN_ZONE =
  "The database does not know this time zone: name it as the IANA list does, such as Europe/Berlin.";

/**
 * What the sums came to. Throws InputError where there is more than can be summed up in time, or their days are of a
 * zone that the database does not know.
 */
export async function summed<Sums>(sums: Promise<Sums>, refusal = LONG_PERIOD): Promise<Sums> {
  try {
    return await sums;
  } catch (error) {
    if (isUnknownZone(error)) throw new InputError("invalid_value", "time_zone", UNKNOWN_ZONE);
    if (!isStatementTimeout(error)) throw error;
    throw new InputError("invalid_value", refusal.param, refusal.message);
  }
}
