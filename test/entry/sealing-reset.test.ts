import { afterEach, expect, test } from "vitest";
import { describeOnPostgres } from "../support/databases.ts";
import { SEALING_KEY } from "../support/seal.ts";
import { startTollgateProcess, type TollgateProcess } from "../support/tollgate.ts";
import { createPlace } from "./command.ts";

const ADMIN_KEY = "the-administration-key-of-all-starts-0123456789";
const OTHER = "another-sealing-key-0123456789-0123456789";
const RESET = ["sealing", "reset", "--lose-sealed-content"];

describeOnPostgres("tollgate sealing reset", (database) => {
  const place = createPlace();
  const started: TollgateProcess[] = [];
  afterEach(async () => {
    await Promise.all(started.splice(0).map((tollgate) => tollgate.close()));
    place.remove();
  });

  const url = (): string => {
    const { address } = database;
    if (address.kind !== "url") throw new Error("a process of its own needs a URL");
    return address.url;
  };
  const startWith = async (key: string): Promise<TollgateProcess> => {
    const env = { TOLLGATE_SEALING_KEY: key };
    const tollgate = await startTollgateProcess({
      databaseUrl: url(),
      adminKey: ADMIN_KEY,
      env,
    });
    started.push(tollgate);
    return tollgate;
  };
  const run = (...words: string[]) => place.run(words, { DATABASE_URL: url() });

  test("makes room for a new key when the old secret is lost, and only when nobody uses it", async () => {
    expect(await run(...RESET)).toMatchObject({
      code: 0,
      out: "Nothing was sealed yet: there is no key to forget.\n",
    });
    const first = await startWith(SEALING_KEY);
    const refused = await run(...RESET);
    expect(refused.code).toBe(1);
    expect(refused.err).toMatch(/a Tollgate is running on this database/);
    await database.db.admin`
      insert into answers (tenant_id, attempt_id, status, sealed, expires_at)
      values ('ten', 'att', 200, ${Buffer.from("sealed")}, 'infinity')`;
    await first.kill("SIGTERM");
    await expect(startWith(OTHER)).rejects.toThrow("tollgate sealing reset");

    expect(await run("sealing", "reset")).toMatchObject({
      code: 2,
      err: expect.stringContaining("--lose-sealed-content"),
    });
    await expect(startWith(OTHER)).rejects.toThrow("tollgate sealing reset");
    expect(await run(...RESET)).toMatchObject({
      code: 0,
      out: expect.stringMatching(/^The next start makes a new key/),
    });
    const second = await startWith(OTHER);
    expect((await fetch(`${second.url}/readyz`)).status).toBe(200);
  });
});
