import { isDatabaseAway } from "../store/connection-lost.ts";

export type UnavailableOptions = ErrorOptions & {
  /** A sentence for the caller, where it is not the gate's decision that cannot be recorded. */
  readonly told?: string;
};

/** The gate cannot decide now. Nothing passes: the caller gets 503 and when to try again. */
export class Unavailable extends Error {
  override readonly name: string = "Unavailable";
  readonly told: string | null;

  constructor(message: string, options: UnavailableOptions = {}) {
    super(message, options);
    this.told = options.told ?? null;
  }
}

/** More asks wait than can be posted in time; shedding them fast is what keeps the others quick. */
export class Overloaded extends Unavailable {
  override readonly name = "Overloaded";
}

/** Whether nothing could be decided: the gate says so, or the database cannot be reached. */
export function isUnavailable(error: unknown): boolean {
  return error instanceof Unavailable || isDatabaseAway(error);
}
