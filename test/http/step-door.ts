/** The step door of a management on a test's own database, as any HTTP client would use it. */
import { ADMIN_KEY, type Answer, type Json, type Management } from "../support/management.ts";

export type StepDoor = {
  readonly key: string;
  readonly id: string;
  readonly keyId: string;
  readonly ask: (body: object, headers?: Record<string, string>) => Promise<Answer>;
  /** The attempt's id, of an ask that must be granted. */
  readonly granted: (body: object, headers?: Record<string, string>) => Promise<string>;
  readonly report: (attempt: string, how: string, body?: object, key?: string) => Promise<Answer>;
  readonly effects: (type: string, key: string) => Promise<readonly Json[]>;
  readonly declare: (tool: string, terms: object) => Promise<void>;
  readonly call: Management["call"];
};

export async function stepDoorOn(
  api: Management,
  scopes: readonly string[] = ["invoke", "report", "admin"],
): Promise<StepDoor> {
  const { id, key, keyId } = await api.newTenant(scopes);
  const ask: StepDoor["ask"] = (body, headers = {}) =>
    api.send("/api/gate", {
      method: "POST",
      headers: {
        authorization: `Bearer ${key}`,
        "content-type": "application/json",
        ...headers,
      },
      body: JSON.stringify(body),
    });
  return {
    id,
    key,
    keyId,
    ask,
    granted: async (body, headers) => {
      const answer = await ask(body, headers);
      if (answer.status !== 200) throw new Error(JSON.stringify(answer.body));
      return answer.body.attempt_id as string;
    },
    report: (attempt, how, body = {}, by = key) =>
      api.call(by, "POST", `/api/attempts/${attempt}/${how}`, body),
    effects: async (type, name) => {
      const path = `/api/operations/${type}/${encodeURIComponent(name)}`;
      return (await api.call(key, "GET", path)).body.effects;
    },
    declare: async (tool, terms) => {
      const path = `/api/tools/${encodeURIComponent(tool)}?tenant=${id}`;
      const put = await api.call(ADMIN_KEY, "PUT", path, terms);
      if (put.status !== 200) throw new Error(JSON.stringify(put.body));
    },
    call: api.call,
  };
}
