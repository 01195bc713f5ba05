import { createSeal, establishDataKey, type Seal } from "../../src/gate/sealing.ts";
import type { Queryable } from "../../src/store/events.ts";
import { readPepper } from "../../src/store/keys.ts";
import { SEALING_KEY } from "./seal.ts";

/** The seal of every Tollgate that a test has started on this database. */
export async function installedSeal(sql: Queryable): Promise<Seal> {
  const pepper = await readPepper(sql);
  if (pepper === null) throw new Error("no Tollgate has started on this database");
  return createSeal(await establishDataKey(sql, pepper, [SEALING_KEY]));
}
