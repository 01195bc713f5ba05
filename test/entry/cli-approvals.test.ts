import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import type { Seal } from "../../src/gate/sealing.ts";
import { askApproval, type Asked } from "../support/approvals.ts";
import { describeOnPostgres } from "../support/databases.ts";
import { installedSeal } from "../support/installed-seal.ts";
import { startReceiver, type Receiver } from "../support/receiver.ts";
import { startTollgate, type Key, type Tenant, type Tollgate } from "../support/tollgate.ts";
import { createPlace, type Ran } from "./command.ts";

describeOnPostgres("the command line of approvals and webhooks", (database) => {
  const place = createPlace();
  let tollgate: Tollgate;
  let receiver: Receiver;
  let tenant: Tenant;
  let approver: Key;
  let seal: Seal;
  beforeAll(async () => {
    receiver = await startReceiver();
    tollgate = await startTollgate({ database, allowsPrivateWebhooks: true });
    tenant = await tollgate.tenant();
    approver = await tenant.newKey({ scopes: ["approve"] });
    seal = await installedSeal(tollgate.db.admin);
  });
  afterAll(async () => {
    await tollgate.close();
    await receiver.close();
    place.remove();
  });

  const run = (key: string, ...words: string[]): Promise<Ran> =>
    place.runHere(words, { TOLLGATE_URL: tollgate.url, TOLLGATE_KEY: key });
  const asAdmin = (...words: string[]) => run(tollgate.adminKey, ...words, "--tenant", tenant.id);
  const check = async (ran: Promise<Ran>, ...says: readonly RegExp[]): Promise<string> => {
    const { code, out, err } = await ran;
    expect(code, err).toBe(0);
    for (const pattern of says) expect(`${out}${err}`).toMatch(pattern);
    return out;
  };
  const ask = (argumentsDigest: string, call = `{"to":"DE02","amount":100}`): Promise<Asked> =>
    askApproval(tollgate.db.admin, {
      tenantId: tenant.id,
      keyId: tenant.keyId,
      argumentsDigest,
      call,
      seal,
    });

  describe("an approver", () => {
    test("sees who asks, for what, at which cost, and until when", async () => {
      const { approvalId } = await ask("listed");
      await check(
        run(approver.key, "approvals", "list", "--state", "pending"),
        /^ID +STATE +ASKED BY +RUN +WHAT +COST AT MOST +POLICIES +UNTIL/m,
        new RegExp(
          `${approvalId} +pending +${tenant.keyId} +run +model gpt-4o +0\\.0015 +large-refunds +20\\d\\d-`,
        ),
      );
    });

    test("is shown the exact call, and what to type", async () => {
      const { approvalId, digest } = await ask("shown");
      await check(
        run(approver.key, "approvals", "show", approvalId ?? ""),
        /state +pending/,
        /cost at most +0\.0015/,
        /large-refunds +a refund of \$100 is large/,
        /The call:\n\{\n {2}"to": "DE02",\n {2}"amount": 100\n\}\n/,
        new RegExp(`tollgate approvals approve ${approvalId} --digest ${digest}`),
      );
    });

    test("is shown the call as it came where setting it out would hide something", async () => {
      const call = `{"amount":1,"amount":1000000,"to":"\u202Edrawkcab"}`;
      const { approvalId } = await ask("doubled", call);
      const out = await check(run(approver.key, "approvals", "show", approvalId ?? ""));
      expect(out).toContain(`{"amount":1,"amount":1000000,"to":"\\u{202e}drawkcab"}`);
    });

    test("approves and denies, naming what was seen", async () => {
      const [yes, no] = [await ask("yes"), await ask("no")];
      const id = yes.approvalId ?? "";
      const wrong = await run(approver.key, "approvals", "approve", id, "--digest", no.digest);
      expect(wrong.code).toBe(1);
      expect(wrong.err).toMatch(/not the digest of the call that is asked about/);
      await check(
        run(approver.key, "approvals", "approve", id, "--digest", yes.digest, "--reason", "seen"),
        new RegExp(`^${id} is approved\\.\n`),
      );
      const other = no.approvalId ?? "";
      const untold = await run(approver.key, "approvals", "deny", other, "--digest", no.digest);
      expect(untold).toMatchObject({ code: 2, err: expect.stringContaining("--reason") });
      await check(
        run(
          approver.key,
          "approvals",
          "deny",
          other,
          "--digest",
          no.digest,
          "--reason",
          "too much",
        ),
        new RegExp(`^${other} is denied\\.\n`),
      );
      await check(
        run(approver.key, "approvals", "show", other),
        /state +denied/,
        new RegExp(`${approver.id} +denied +too much`),
      );
    });

    test("is told that the one who asks may not answer", async () => {
      const { approvalId, digest } = await ask("own");
      const words = ["approvals", "approve", approvalId ?? "", "--digest", digest];
      const ran = await run(tenant.key, ...words);
      expect(ran.err).toMatch(/This needs a key with the scope "approve"/);
      const installation = await asAdmin(...words);
      expect(installation.err).toMatch(/The installation's key answers no approval/);
      await check(asAdmin("approvals", "cancel", approvalId ?? ""), /^Cancelled apr_/);
    });
  });

  test("a webhook is created with its secret, tested, listed and removed", async () => {
    const url = `${receiver.url}/hook`;
    const created = await asAdmin("webhooks", "create", url, "--kind", "approval.denied");
    expect(created.out).toMatch(/^whsec_[A-Za-z0-9+/]{43}=\n$/);
    const id = /^(whk_\w+): keep the secret now/.exec(created.err)?.[1] ?? "";
    const listed = await check(
      asAdmin("webhooks", "list"),
      new RegExp(`${id} +${receiver.url}/hook +approval\\.denied`),
    );
    expect(listed).not.toContain(created.out.trim());
    await check(asAdmin("webhooks", "test", id), /^dlv_\w+ is on its way/);
    await receiver.received(1);
    expect(JSON.parse(receiver.messages[0]?.body ?? "")).toMatchObject({ type: "ping" });
    await check(asAdmin("webhooks", "remove", id), new RegExp(`^Removed ${id}\\.`));
    expect(await check(asAdmin("webhooks", "list"))).not.toContain(id);
  });

  test("a dead message is listed and sent anew", async () => {
    const before = receiver.messages.length;
    receiver.plays({ kind: "answer", status: 410 }, { kind: "answer", status: 200 });
    const created = await asAdmin("webhooks", "create", receiver.url, "--json");
    const { id } = JSON.parse(created.out) as { id: string };
    await check(asAdmin("webhooks", "test", id));
    await receiver.received(before + 1);
    const dead = await expectSoon(async () =>
      check(asAdmin("webhooks", "dead"), new RegExp(`${id} +ping +dead +1 +answered 410`)),
    );
    const delivery = /dlv_\w+/.exec(dead)?.[0] ?? "";
    await check(
      asAdmin("webhooks", "redeliver", delivery),
      new RegExp(`^${delivery} is on its way again\\.`),
    );
    await receiver.received(before + 2);
    await expectSoon(async () =>
      check(asAdmin("webhooks", "deliveries"), new RegExp(`${delivery} .* delivered +1`)),
    );
  });

  test.each([
    ["http://127.0.0.1:1/x#y", /fragment/],
    ["ftp://example.com", /Only https/],
    ["nonsense", /Not a URL/],
  ])("a webhook to %s is refused with what is wrong", async (url, says) => {
    const ran = await asAdmin("webhooks", "create", url);
    expect(ran.code).toBe(1);
    expect(ran.err).toMatch(says);
  });

  test("a key is made with its role, and keeps it", async () => {
    const words = ["keys", "create", "lead", "--scope", "approve", "--label", "role=lead"];
    await check(asAdmin(...words), /^tg_/);
    await check(asAdmin("keys", "list"), /lead +approve +role=lead +all +active/);
  });

  test("/metrics counts what waits for people and for receivers", async () => {
    await ask("counted");
    const { out: pending } = await run(
      approver.key,
      "approvals",
      "list",
      "--state",
      "pending",
      "--json",
    );
    const count = (JSON.parse(pending) as { data: unknown[] }).data.length;
    // What the question itself had sent to a receiver may still be on its way.
    const text = await expectSoon(async () => {
      const told = await (await fetch(`${tollgate.url}/metrics`)).text();
      expect(told).toMatch(/^tollgate_deliveries_pending 0$/m);
      return told;
    });
    expect(text).toMatch(new RegExp(`^tollgate_approvals_pending ${count}$`, "m"));
    expect(text).toMatch(/^tollgate_deliveries_dead 0$/m);
  });
});

/** What the world shows soon, by its own chores: asked again until it holds, or for ten seconds. */
async function expectSoon(look: () => Promise<string>): Promise<string> {
  return await vi.waitFor(look, { timeout: 10_000, interval: 250 });
}
