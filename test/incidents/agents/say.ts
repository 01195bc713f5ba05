import { once } from "node:events";

/** What an agent tells those who watch it: one line of JSON. */
export function say(kind: string, told: Readonly<Record<string, unknown>> = {}): void {
  process.stdout.write(`${JSON.stringify({ kind, ...told })}\n`);
}

/** Stands still here until it is killed, or whoever started it is gone. */
export async function stand(where: string): Promise<never> {
  say("standing", { where });
  process.stdin.resume();
  await once(process.stdin, "end");
  return process.exit(4);
}

/** A variable without which the agent cannot work. */
export function given(name: string): string {
  const value = process.env[name];
  if (value === undefined) throw new Error(`${name} is not set`);
  return value;
}
