import { afterAll, beforeAll, expect, test } from "vitest";
import { Webhook } from "standardwebhooks";
import { DELIVERY_LEASE_MS } from "../../src/core/limits.ts";
import { askApproval } from "../support/approvals.ts";
import { shiftClock } from "../support/clock.ts";
import { describeOnPostgres } from "../support/databases.ts";
import { installedSeal } from "../support/installed-seal.ts";
import { startReceiver, type Receiver } from "../support/receiver.ts";
import { SEALING_KEY } from "../support/seal.ts";
import { startTollgateProcess, type TollgateProcess } from "../support/tollgate.ts";

const ADMIN_KEY = "the-administration-key-of-all-starts-0123456789";

describeOnPostgres("a gateway that is killed between an approval and its use", (database) => {
  let receiver: Receiver;
  const started: TollgateProcess[] = [];
  beforeAll(async () => {
    receiver = await startReceiver();
  });
  afterAll(async () => {
    await Promise.all(started.map((tollgate) => tollgate.close()));
    await receiver.close();
  });

  const start = async (): Promise<TollgateProcess> => {
    const { address } = database;
    if (address.kind !== "url") throw new Error("a process of its own needs a URL");
    const tollgate = await startTollgateProcess({
      databaseUrl: address.url,
      adminKey: ADMIN_KEY,
      yaml: "webhooks: { allow_private: true }",
    });
    started.push(tollgate);
    return tollgate;
  };
  const call = async (url: string, key: string, path: string, body?: object) => {
    const answer = await fetch(`${url}/api${path}`, {
      method: body === undefined ? "GET" : "POST",
      headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    return { status: answer.status, body: (await answer.json()) as Record<string, unknown> };
  };

  test("starts again, uses it once, and has told everybody", async () => {
    const { admin } = database.db;
    const first = await start();
    const tenant = await first.tenant();
    const approver = await tenant.newKey({ scopes: ["approve"] });
    const terms = { tenant: tenant.id, url: `${receiver.url}/hook` };
    const hook = await call(first.url, ADMIN_KEY, "/webhooks", terms);
    const seal = await installedSeal(admin);
    const asking = { tenantId: tenant.id, keyId: tenant.keyId, seal, call: "the exact call" };
    const asked = await askApproval(admin, asking);
    expect(asked.state).toBe("pending");
    const path = `/approvals/${asked.approvalId}`;
    const approved = await call(first.url, approver.key, `${path}/approve`, {
      digest: asked.digest,
    });
    expect(approved).toMatchObject({ status: 200, body: { state: "approved" } });
    await first.kill("SIGKILL");

    const second = await start();
    const shown = await call(second.url, approver.key, path);
    expect(shown.body).toMatchObject({
      state: "approved",
      call: "the exact call",
      votes: [{ key: approver.id, approves: true }],
    });
    expect((await askApproval(admin, asking)).state).toBe("approved");
    expect((await askApproval(admin, asking)).state).toBe("consumed");
    expect((await call(second.url, approver.key, path)).body).toMatchObject({ state: "consumed" });

    // At least once: what the first had taken and not noted, the second sends when its time has passed.
    await shiftClock(database.db, DELIVERY_LEASE_MS + 1_000);
    const secret = String(hook.body["secret"]);
    const kinds = () =>
      new Set(
        receiver.messages.map(({ body, headers }) => {
          const told = new Webhook(secret).verify(body, headers) as { type: string };
          return told.type;
        }),
      );
    await expect
      .poll(kinds, { timeout: 20_000, interval: 200 })
      .toEqual(new Set(["approval.requested", "approval.approved"]));
    const { stderr } = second.output();
    for (const hidden of ["the exact call", secret, approver.key, receiver.url]) {
      expect(stderr).not.toContain(hidden);
    }
  }, 60_000);

  test("a start with another sealing key is refused until it is told the old one too", async () => {
    const { address } = database;
    if (address.kind !== "url") throw new Error("a process of its own needs a URL");
    const { url } = address;
    const other = "another-sealing-key-0123456789-0123456789";
    const startWith = (key: string) =>
      startTollgateProcess({
        databaseUrl: url,
        adminKey: ADMIN_KEY,
        env: { TOLLGATE_SEALING_KEY: key },
      });
    await expect(startWith(other)).rejects.toThrow("Set TOLLGATE_SEALING_KEY to the old value");
    for (const key of [`${other} ${SEALING_KEY}`, other]) {
      const tollgate = await startWith(key);
      started.push(tollgate);
      expect((await fetch(`${tollgate.url}/readyz`)).status).toBe(200);
      await tollgate.kill("SIGTERM");
    }
  });
});
