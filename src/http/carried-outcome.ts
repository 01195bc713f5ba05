/**
 * `Tollgate-Outcome: ticket_resolved=success; key=T-1; value=4.50`: what a call says of its own run. It is
 * recorded, or refused, before the call is admitted: so an answer means that it is in the ledger, and a
 * retry of the call says the same again, which is no news.
 */
import type { Caller } from "../core/caller.ts";
import { InputError } from "../core/errors.ts";
import type { Intent } from "../core/intent.ts";
import type { ToldOutcome } from "../core/outcome.ts";
import type { Gateway } from "../gate/gateway.ts";
import { check } from "./api-body.ts";
import { OutcomeMembers, readOrFlaw, toldOf, weightFrom } from "./outcome-members.ts";

const HEADER = "Tollgate-Outcome";

/** What may stand behind the type and status, and as which member. */
const PARTS: ReadonlyMap<string, string> = new Map([
  ["key", "key"],
  ["value", "value_usd"],
  ["weight", "weight"],
  ["supersedes", "supersedes"],
]);

/** Throws InputError, naming the header, where it cannot be read or the call names no run. */
export function readCarriedOutcome(text: string, run: string | null): ToldOutcome {
  if (run === null) {
    throw refused("it says what became of a run, and this call names none: add `Tollgate-Run`");
  }
  const members = new Map<string, unknown>();
  for (const [at, part] of text.split(";").entries()) {
    const [name, value] = pairOf(part);
    if (at === 0) {
      members.set("type", name).set("status", value);
      continue;
    }
    const member = PARTS.get(name);
    if (member === undefined) {
      throw refused(`it has no part \`${name}\`; behind type and status stand ${parts()}`);
    }
    if (members.has(member)) throw refused(`it says \`${name}\` twice`);
    members.set(member, member === "weight" ? weightFrom(value) : value);
  }
  const read = readOrFlaw(() =>
    toldOf({ kind: "run", name: run }, check(OutcomeMembers, Object.fromEntries(members))),
  );
  if (read.kind === "flawed") throw refused(read.error.message);
  return read.value;
}

/** Throws InputError, naming the header, where what is said is refused. A dry run writes nothing. */
export async function tellCarried(
  gateway: Pick<Gateway, "outcomes">,
  caller: Caller,
  { outcome, intent }: { readonly outcome: ToldOutcome; readonly intent: Intent },
): Promise<void> {
  const dry = intent.context.dryRun;
  const recorded = await gateway.outcomes.carried(caller, outcome, { dry });
  if (recorded.kind !== "refused") return;
  // It is written as it should be: what it says cannot be so.
  throw new InputError("invalid_header", HEADER, `${HEADER}: ${recorded.message}`);
}

function pairOf(part: string): readonly [name: string, value: string] {
  const equals = part.indexOf("=");
  if (equals > 0) return [part.slice(0, equals).trim(), part.slice(equals + 1).trim()];
  throw refused(`this is not \`name=value\`: \`${part.trim()}\``);
}

function parts(): string {
  return [...PARTS.keys()].map((name) => `\`${name}=…\``).join(", ");
}

function refused(why: string): InputError {
  const example = `${HEADER}: ticket_resolved=success; key=T-1`;
  const message = `${HEADER} is written as \`${example}\`: ${why}`;
  return new InputError("invalid_header", HEADER, message.endsWith(".") ? message : `${message}.`);
}
