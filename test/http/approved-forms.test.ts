import { afterAll, beforeAll, expect, test } from "vitest";
import { describeEachDatabase } from "../support/databases.ts";
import { policies, policy } from "../support/judging.ts";
import { MODEL } from "../support/tollgate.ts";
import { startDoor, type Door } from "./door.ts";
import { managementAt, type ManagementCall } from "./management-call.ts";

/** A library that sends a form again draws another boundary, and can never send the bytes that were shown. */

describeEachDatabase("an approved form", (database) => {
  let door: Door;
  beforeAll(async () => {
    door = await startDoor(database);
  });
  afterAll(() => door.close());

  const api: ManagementCall = (...asked) => managementAt(door.tollgate.url)(...asked);

  test("passes once under another boundary, and with nothing else in it", async () => {
    const { tollgate } = door;
    const tenant = await tollgate.tenant({ mode: "tolerant" });
    const approver = await tenant.newKey({ scopes: ["approve"] });
    const own = `?tenant=${tenant.id}`;
    const source = policies(policy("people", "true", "effect: require_approval"));
    const { version } = await api(tollgate.adminKey, "POST", `/policies${own}`, { source });
    await api(tollgate.adminKey, "POST", `/policies/${version}/activate${own}`, {});
    const ask = async (sound: string): Promise<number> => {
      const body = new FormData();
      body.append("model", MODEL);
      body.append("file", new Blob([sound]), "a.wav");
      const headers = { authorization: `Bearer ${tenant.key}`, "tollgate-run": "nightly" };
      const url = `${tollgate.url}/v1/audio/transcriptions`;
      const answer = await fetch(url, { method: "POST", headers, body });
      await answer.body?.cancel();
      return answer.status;
    };
    expect(await ask("RIFF")).toBe(403);
    const [asked] = (await api(approver.key, "GET", "/approvals?state=pending"))["data"];
    const { digest } = asked;
    await api(approver.key, "POST", `/approvals/${asked.id}/approve`, { digest });
    expect([await ask("RIFX"), await ask("RIFF"), await ask("RIFF")]).toEqual([403, 200, 403]);
  });
});
