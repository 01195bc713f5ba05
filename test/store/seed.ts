/** The seed of a random test: a new one each time, told, and set by TEST_SEED to see a failure again. */
export function seedOf(name: string): number {
  const given = process.env["TEST_SEED"];
  const seed = given === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(given);
  process.stderr.write(`${name}: TEST_SEED=${seed}\n`);
  return seed;
}
