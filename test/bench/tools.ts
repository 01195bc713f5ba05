/**
 * What the gate adds to a tool call: the same calls, one after the other, straight to an MCP server and through
 * Tollgate, by the official client and by plain posts. Each round measures all four, so that a noisy spell of the
 * machine falls on both sides; differences are taken within a round.
 */
import { messageOf, LOOPBACK, portOf, startModule, type Child } from "./child.ts";
import { ticksPerSecond } from "./cpu.ts";
import type { Plan } from "./plan.ts";
import type { Surroundings } from "./stage.ts";
import { median } from "./summary.ts";
import { servedBy, startToolGate } from "./targets.ts";
import { TOOL_CLIENTS, type ToolClient, type ToolJob, type ToolResult } from "./tool-call.ts";

const TOOL_TARGETS = ["direct", "tollgate"] as const;
type ToolTarget = (typeof TOOL_TARGETS)[number];

/** Beyond the window: warm-up, a connection, and a machine that stalls. */
const GRACE_MS = 60_000;

export type ToolRound = {
  readonly round: number;
  readonly by: ToolClient;
  readonly target: ToolTarget;
  readonly perSecond: number;
  readonly p50Micros: number | null;
  readonly p99Micros: number | null;
  /** Of the gateway and its database, in microseconds of CPU a call; null without a gateway. */
  readonly cpuMicros: { readonly gateway: number | null; readonly database: number | null };
  readonly failed: number;
  readonly firstFailure: string | null;
};

export type Tools = {
  readonly version: string;
  readonly rounds: readonly ToolRound[];
  /** Against direct, within a round, then the median. */
  readonly added: readonly {
    readonly by: ToolClient;
    readonly p50Micros: number | null;
    readonly p99Micros: number | null;
  }[];
};

type Endpoint = Pick<ToolJob, "url" | "headers">;

const measure = async (caller: Child, job: ToolJob): Promise<ToolResult> => {
  caller.process.send(job);
  return (await messageOf(caller, job.warmupMs + job.measureMs + GRACE_MS)) as ToolResult;
};

export const measureTools = async (
  plan: Plan,
  { defer, progress }: Surroundings,
): Promise<Tools> => {
  const server = startModule("./mock-mcp.ts", []);
  defer(server.stop);
  const port = await portOf(server);
  const direct = { url: `http://${LOOPBACK}:${port}/mcp`, headers: {} };
  const gate = await startToolGate(direct.url, defer);
  const endpoints: Readonly<Record<ToolTarget, Endpoint>> = { direct, tollgate: gate.endpoint };
  const caller = startModule("./tool-caller.ts", []);
  defer(caller.stop);
  const rounds: ToolRound[] = [];
  let from = 0;
  // The zeroth only warms up.
  for (let round = 0; round <= plan.rounds; round += 1) {
    for (const by of TOOL_CLIENTS) {
      const order = round % 2 === 0 ? TOOL_TARGETS : TOOL_TARGETS.toReversed();
      for (const target of order) {
        const before = await servedBy(port);
        const result = await measure(caller, {
          ...endpoints[target],
          by,
          from,
          warmupMs: plan.warmupSeconds * 1_000,
          measureMs: plan.seconds * 1_000,
          pids: target === "direct" ? [] : gate.pids,
        });
        from = result.next;
        const served = (await servedBy(port)) - before;
        if (served < result.completed) {
          throw new Error(`${target}: ${result.completed} answers, only ${served} of the server`);
        }
        const told = roundOf({ round, by, target }, result, plan.seconds);
        progress(toldOf(told));
        if (round > 0) rounds.push(told);
      }
    }
  }
  await gate.evidence();
  return { version: gate.version, rounds, added: TOOL_CLIENTS.map((by) => addedOf(rounds, by)) };
};

const roundOf = (
  point: Pick<ToolRound, "round" | "by" | "target">,
  result: ToolResult,
  seconds: number,
): ToolRound => ({
  ...point,
  perSecond: result.completed / seconds,
  p50Micros: result.latencyMicros.p50,
  p99Micros: result.latencyMicros.p99,
  cpuMicros: cpuOf(result),
  failed: result.failed,
  firstFailure: result.firstFailure,
});

const cpuOf = ({ ticks, completed }: ToolResult): ToolRound["cpuMicros"] => {
  const perCall = (used: number | undefined): number | null =>
    used === undefined || completed === 0 ? null : (used * 1e6) / ticksPerSecond() / completed;
  return { gateway: perCall(ticks?.[0]), database: perCall(ticks?.[1]) };
};

const addedOf = (rounds: readonly ToolRound[], by: ToolClient): Tools["added"][number] => {
  const gates = rounds.filter((each) => each.by === by && each.target === "tollgate");
  const differences = (of: "p50Micros" | "p99Micros") =>
    gates.map((gate) => {
      const direct = rounds.find(
        (each) => each.by === by && each.target === "direct" && each.round === gate.round,
      );
      const [with_, without] = [gate[of], direct?.[of] ?? null];
      return with_ === null || without === null ? null : with_ - without;
    });
  return {
    by,
    p50Micros: median(differences("p50Micros")),
    p99Micros: median(differences("p99Micros")),
  };
};

const toldOf = (each: ToolRound): string => {
  const ms = (micros: number | null): string =>
    micros === null ? "–" : (micros / 1_000).toFixed(2);
  const cpu = (micros: number | null): string => micros?.toFixed(0) ?? "–";
  const failure = each.failed === 0 ? "" : `, ${each.failed} FAILED: ${each.firstFailure}`;
  return (
    `${each.round === 0 ? "warm" : `round ${each.round}`} tools by ${each.by}, ${each.target}: ` +
    `${each.perSecond.toFixed(0)}/s p50 ${ms(each.p50Micros)} ms p99 ${ms(each.p99Micros)} ms ` +
    `cpu ${cpu(each.cpuMicros.gateway)} + ${cpu(each.cpuMicros.database)} µs (gateway + database)${failure}`
  );
};
