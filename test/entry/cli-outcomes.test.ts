import { afterAll, beforeAll, expect, test } from "vitest";

import { startServed, type Served } from "./command.ts";

let served: Served;
let tollgate: Served["tollgate"];

beforeAll(async () => {
  served = await startServed();
  ({ tollgate } = served);
});

afterAll(() => served.close());

/** Runs a command and expects it to say this, in order and line by line. */
async function check(words: readonly string[], ...says: readonly RegExp[]): Promise<string> {
  const { code, out, err } = await tollgate(...words);
  expect(code, err).toBe(0);
  for (const pattern of says) expect(`${out}${err}`).toMatch(pattern);
  return out;
}

test("an outcome type is declared, listed, loses its value, and is removed", async () => {
  const create = ["outcome-types", "create", "sale"];
  await check([...create, "--value", "3.5", "--description", "Sold."], /value +3\.50/, /Sold\./);
  await check(["outcome-types", "list"], /^NAME +VALUE +DESCRIPTION/, /sale +3\.50 +Sold\./);
  expect(await check([...create, "--no-value"], /Sold\./)).not.toContain("value");
  await check(["outcome-types", "remove", "sale"], /^Removed sale\.$/m);
  expect(await check(["outcome-types", "list"])).not.toContain("sale");
  expect((await tollgate(...create, "--value", "much")).code).toBe(2);
});
