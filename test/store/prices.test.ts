import { beforeAll, expect, test } from "vitest";
import {
  ANY,
  entryAt,
  importedPrices,
  type ImportedPrice,
} from "../../src/core/imported-prices.ts";
import { changeRegister } from "../../src/store/events.ts";
import { findOrCreateInstallation } from "../../src/store/installation.ts";
import { findPrices } from "../../src/store/judged.ts";
import { insertImported } from "../../src/store/prices.ts";
import { readSnapshot } from "../../src/store/snapshot.ts";
import { picousd } from "../../src/core/money.ts";
import { describeEachDatabase } from "../support/databases.ts";
import { priceOf } from "../support/prices.ts";

const KEY = { tenantId: ANY, upstream: "up", model: "m" };

/** With all that a price can have, so that nothing of it is lost on the way. */
function entryOf(input: bigint): ImportedPrice {
  const rates = { input: picousd(input), requests: picousd(7n) };
  const tiers = [{ aboveInputTokens: 9, rates: { input: picousd(input + 1n) } }];
  const price = priceOf({
    rates,
    tiers,
    serviceTiers: [
      { name: "priority", rates, tiers },
      { name: "flex", rates: {}, tiers: [] },
    ],
    contextTokensMax: 5,
    outputTokensMax: 4,
  });
  return { tenantId: ANY, price, until: new Date("2099-01-01T00:00:00Z") };
}

describeEachDatabase("the price book in the database", (database) => {
  beforeAll(() => findOrCreateInstallation(database.db.admin, "pepper"));
  const importing = (entry: ImportedPrice) =>
    changeRegister(database.db, (tx) => insertImported(tx, [entry]));
  const inForce = (snapshot: Awaited<ReturnType<typeof readSnapshot>>) =>
    entryAt(snapshot.prices.imported, KEY, new Date("2030-01-01T00:00:00Z"));

  test("gives back what is paid by the hour", async () => {
    const hourly = { picousdPerHour: picousd(2_490_000_000_000n), concurrency: 4 };
    const price = priceOf({ model: "*", rates: {}, hourly });
    await importing({ tenantId: ANY, price, until: null });
    const { prices } = await readSnapshot(database.db.admin, null);
    const key = { ...KEY, model: "*" };
    expect(entryAt(prices.imported, key, new Date("2030-01-01"))?.price).toEqual(price);
    expect((await findPrices(database.db.admin, [price.version])).get(price.version)).toEqual(
      price,
    );
  });

  test("gives back what was put in, and of two imports of one date the newer", async () => {
    const { admin } = database.db;
    const [old, now] = [entryOf(10n), entryOf(20n)];
    await importing(old);
    expect(inForce(await readSnapshot(admin, null))).toEqual(old);
    await importing(now);
    expect(inForce(await readSnapshot(admin, null))).toEqual(now);
    // What was settled by the old one finds it for ever.
    const { version } = old.price;
    expect((await findPrices(admin, [version])).get(version)).toEqual(old.price);
  });

  test("is read again when it was changed, or its database was restored, and not otherwise", async () => {
    const { admin } = database.db;
    await importing(entryOf(30n));
    const first = await readSnapshot(admin, null);
    await changeRegister(database.db, async () => undefined);
    const second = await readSnapshot(admin, first);
    expect(second.revision).toBe(first.revision + 1n);
    expect(second.prices).toBe(first.prices);
    // As it would be after a restore: from further on, with another content by the same number.
    const other = { ...first.prices, imported: importedPrices([]) };
    const restored = await readSnapshot(admin, {
      ...second,
      revision: second.revision + 9n,
      prices: other,
    });
    expect(inForce(restored)?.price.rates.input).toBe(30n);
    await importing(entryOf(40n));
    expect(inForce(await readSnapshot(admin, second))?.price.rates.input).toBe(40n);
  });
});
