import { createSeal } from "../../src/gate/sealing.ts";

/** One for all that is started on a test's database, whatever their administration keys. */
export const SEALING_KEY = "tests-sealing-key-0123456789-0123456789";

/** Seals as an installation does, with a key that every test has. */
export const TEST_SEAL = createSeal(new Uint8Array(32).fill(7));
