/** What the acts of administration share: who acts, on what terms, and who may. */
import type { Administrator, Caller, Scope } from "../core/caller.ts";
import { InputError } from "../core/errors.ts";
import type { ScopeKind, Unit, Window } from "../core/verdict.ts";
import type { Database } from "../store/database.ts";
import { changeRegister, type Queryable } from "../store/events.ts";
import type { Configuration } from "./authority.ts";
import type { WebhookPort } from "./ports.ts";
import type { Seal } from "./sealing.ts";

export type Actor = Caller | Administrator;

export type AdministrationPorts = {
  readonly db: Database;
  /** The part of an id after its prefix. */
  readonly newId: () => string;
  readonly now: () => Date;
  readonly seal: Seal;
  readonly webhook: Pick<WebhookPort, "allowsPrivate">;
  /** Makes this replica's snapshot as new as the database, where that can be now. Never throws: what was committed stands. */
  readonly refresh: () => Promise<void>;
  /** What is configured beside the database: imported prices are compared with it, and models have names by it. */
  readonly configuration: Pick<Configuration, "prices" | "upstreams" | "catalogue">;
};

export type NewKeyTerms = {
  readonly tenantId: string;
  readonly name: string;
  readonly scopes: readonly Scope[];
  /** `role`: what it is among approvers. */
  readonly labels: Readonly<Record<string, string>>;
  /** Globs of the tools behind the tool door that it may call; null: all that its tenant may. */
  readonly tools: readonly string[] | null;
  readonly expiresAt: Date | null;
};

/** `text` is the key itself: told once, and stored nowhere. */
export type IssuedKey = { readonly keyId: string; readonly text: string };

/** `amount` as the caller wrote it: dollars as a decimal, or a whole number. */
export type NewLimitTerms = {
  readonly tenantId: string;
  readonly scope: { readonly kind: ScopeKind; readonly id: string | null };
  /** Of a retry budget: a tool or `model:<name>`, `*` for each apart; null for all together. */
  readonly resource: string | null;
  readonly unit: Unit;
  readonly window: Window;
  readonly amount: string;
  readonly mode: "enforce" | "shadow";
  readonly onExceed: "refuse" | "clamp";
  readonly timeZone: string;
};

/** Null leaves a member as it is. */
export type LimitChange = {
  readonly tenantId: string;
  readonly limitId: string;
  readonly amount: string | null;
  readonly mode: "enforce" | "shadow" | null;
  readonly onExceed: "refuse" | "clamp" | null;
};

/** Null leaves a member as it is. */
export type RunTerms = {
  readonly tenantId: string;
  readonly runId: string;
  readonly budgetUsd: string | null;
  readonly labels: Readonly<Record<string, string>> | null;
  readonly parent: string | null;
  /** The run that this one executes anew. */
  readonly derivedFrom: string | null;
};

/** `notice`: what the change means that the caller may not expect; null when there is nothing to say. */
export type Changed = { readonly notice: string | null };

/** Changes what replicas know, and has this one know it before the act is answered. */
export async function changeAndRefresh<Result>(
  ports: AdministrationPorts,
  work: (tx: Queryable) => Promise<Result>,
): Promise<Result> {
  const done = await changeRegister(ports.db, work);
  await ports.refresh();
  return done;
}

/** Who did it, for the ledger: a key, or the installation's own. */
export function nameOf(actor: Actor): string {
  return "installation" in actor ? "installation" : actor.keyId;
}

/** Throws when the actor has none of the scopes here. Another's tenant does not exist for it. */
export function requireScope(actor: Actor, tenantId: string, scopes: readonly Scope[]): void {
  if ("installation" in actor) return;
  if (actor.tenantId !== tenantId) throw notFound("tenant", "tenant");
  if (!scopes.some((scope) => actor.scopes.includes(scope))) throw scopeMissing(scopes);
}

export function isAdmin(actor: Actor): boolean {
  return "installation" in actor || actor.scopes.includes("admin");
}

export function scopeMissing(scopes: readonly Scope[]): InputError {
  const names = scopes.map((scope) => `\`${scope}\``).join(" or ");
  return new InputError("forbidden", null, `This key lacks the scope for that: it takes ${names}.`);
}

export function notFound(what: string, param: string | null): InputError {
  return new InputError("not_found", param, `There is no such ${what}.`);
}
