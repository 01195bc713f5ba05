/** The gate cannot decide now. Nothing passes: the caller gets 503 and when to try again. */
export class Unavailable extends Error {
  override readonly name: string = "Unavailable";
}

/** More asks wait than can be posted in time; shedding them fast is what keeps the others quick. */
export class Overloaded extends Unavailable {
  override readonly name = "Overloaded";
}
