/** Which upstream serves which model, as configured. The order of `upstreams` is the precedence. */
export type Catalogue = {
  readonly upstreams: readonly { readonly name: string; readonly models: readonly string[] }[];
  /** Another name for a model: `fast` → `openai/gpt-5-mini`. One level: see `findAliasChain`. */
  readonly aliases: Readonly<Record<string, string>>;
};

export type ModelRoute = { readonly upstream: string; readonly model: string };

/**
 * Where a model is served and under which name, or null when nowhere. An alias is resolved first;
 * then `upstream/model` where `upstream` is configured; then the first upstream one of whose globs matches.
 */
export function routeModel(catalogue: Catalogue, model: string): ModelRoute | null {
  const named = aliasOf(catalogue, model) ?? model;
  const slash = named.indexOf("/");
  const prefix = slash > 0 ? named.slice(0, slash) : null;
  const rest = named.slice(slash + 1);
  for (const { name } of catalogue.upstreams) {
    if (name === prefix && rest !== "") return { upstream: name, model: rest };
  }
  for (const { name, models } of catalogue.upstreams) {
    if (models.some((glob) => matchesGlob(glob, named))) return { upstream: name, model: named };
  }
  return null;
}

/** An alias whose target is itself an alias, or null: chains hide where a model goes, and could circle. */
export function findAliasChain(catalogue: Catalogue): string | null {
  for (const [alias, target] of Object.entries(catalogue.aliases)) {
    if (aliasOf(catalogue, target) !== null) return alias;
  }
  return null;
}

/**
 * Whether a text matches a glob in which `*` stands for any characters, also none, and all else for
 * itself. Parts are found left to right without going back, so no glob makes it slow.
 */
export function matchesGlob(glob: string, text: string): boolean {
  const [first = "", ...parts] = glob.split("*");
  const last = parts.pop();
  if (last === undefined) return glob === text;
  if (!text.startsWith(first)) return false;
  let from = first.length;
  for (const part of parts) {
    const found = text.indexOf(part, from);
    if (found === -1) return false;
    from = found + part.length;
  }
  return text.length - last.length >= from && text.endsWith(last);
}

/** Own members only: a model may be called `constructor`. */
function aliasOf(catalogue: Catalogue, model: string): string | null {
  return Object.hasOwn(catalogue.aliases, model) ? (catalogue.aliases[model] ?? null) : null;
}
