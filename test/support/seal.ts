import { createSeal } from "../../src/gate/sealing.ts";

/** Seals as an installation does, with a key that every test has. */
export const TEST_SEAL = createSeal(new Uint8Array(32).fill(7));
