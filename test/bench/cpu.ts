/** CPU time of a process and everything below it, from `/proc`; null where the system has none. */
import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";

const TICKS_PER_SECOND_DEFAULT = 100;

/** Clock ticks in a second, as `/proc/<pid>/stat` counts them. */
export const ticksPerSecond = (): number => {
  try {
    const told = Number(execFileSync("getconf", ["CLK_TCK"], { encoding: "utf8" }));
    return told > 0 ? told : TICKS_PER_SECOND_DEFAULT;
  } catch {
    // Without getconf the value is that of every Linux of the last decades.
    return TICKS_PER_SECOND_DEFAULT;
  }
};

type Stat = { readonly parent: number; readonly ticks: number };

/** proc(5): after the name in parentheses, fields 4 (ppid) and 14 to 17 (own and reaped children's time). */
const statOf = (pid: string): Stat | null => {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, "latin1");
    const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
    const at = (field: number): number => Number(fields[field - 3]);
    return { parent: at(4), ticks: at(14) + at(15) + at(16) + at(17) };
  } catch {
    // The process ended between the listing and the reading; its parent has inherited its time.
    return null;
  }
};

/** Ticks used so far by the tree under each root pid, children that ended included; null without `/proc`. */
export const cpuTicks = (roots: readonly number[]): readonly number[] | null => {
  let pids: string[];
  try {
    pids = readdirSync("/proc").filter((name) => /^\d+$/u.test(name));
  } catch {
    return null;
  }
  const stats = new Map<number, Stat>();
  for (const pid of pids) {
    const stat = statOf(pid);
    if (stat !== null) stats.set(Number(pid), stat);
  }
  if (stats.size === 0) return null;
  const children = new Map<number, number[]>();
  for (const [pid, { parent }] of stats)
    children.set(parent, [...(children.get(parent) ?? []), pid]);
  const total = (pid: number): number =>
    (children.get(pid) ?? []).reduce(
      (sum, child) => sum + total(child),
      stats.get(pid)?.ticks ?? 0,
    );
  return roots.map(total);
};
