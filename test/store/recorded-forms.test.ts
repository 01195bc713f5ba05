import { describe, expect, test } from "vitest";
import { readRecord, type JudgedColumns } from "../../src/core/recorded.ts";
import { metersFrom } from "../../src/store/posting.ts";

/** Rows that were written before a release left out what is as in most: a ledger keeps both forms for ever. */
describe("what a decision recorded, in full and spare", () => {
  test("of a meter is read alike", () => {
    const what = '{"limit_id":"lim_1","scope":"run","subject":"bench","unit":"usd","window":"none"';
    const figures = ',"committed":"7","reserved":"8","asked":"9"}';
    const full = `[${what},"mode":"enforce","on_exceed":"refuse","limit":"10","resets_at":null${figures}]`;
    const spare = `[${what},"limit":"10"${figures}]`;
    expect(metersFrom(full)).toEqual(metersFrom(spare));
    expect(metersFrom(spare)).toMatchObject([
      { mode: "enforce", onExceed: "refuse", resetsAt: null, limit: 10n, asked: 9n },
    ]);
  });

  test("of a call is read alike", () => {
    const always = {
      billing: "metered",
      input_sha256: "0".repeat(64),
      tenant_mode: "strict",
      scopes: ["invoke"],
      judged_at: "2026-11-29T06:07:47.995Z",
    };
    const estimate = { basis: "bound", tokens: 10, input_bytes: 5, output_tokens_sent: 4 };
    const full = {
      ...always,
      stream: false,
      estimate: {
        ...estimate,
        images: 0,
        output_tokens_max: null,
        limit_clamped_to: null,
        clamped_to: null,
        choices: 1,
        unbounded: [],
      },
      policies: [],
      policy_version: null,
      context: {
        run: "bench",
        parent_step: null,
        operation: null,
        tool: null,
        customer: null,
        labels: {},
      },
      trace_id: null,
      client: { user_agent: "", sdk: null, sdk_retry_count: 0 },
    };
    const spare = { ...always, estimate, context: { run: "bench" }, client: {} };
    const read = (record: unknown) => {
      const recorded = readRecord(COLUMNS, record);
      return recorded === null ? null : JSON.stringify(recorded);
    };
    expect(read(full)).not.toBeNull();
    expect(read(spare)).toBe(read(full));
  });
});

const COLUMNS: JudgedColumns = {
  tenantId: "ten_1",
  keyId: "key_1",
  door: "model",
  operation: "chat",
  resource: "gpt-4o-mini",
  upstream: "openai",
  model: "gpt-4o-mini",
  stepId: null,
};
