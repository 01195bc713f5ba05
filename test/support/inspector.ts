import { createHash } from "node:crypto";
import { posix } from "node:path";
import { importsOf, lineAt, split, type Source } from "./source-text.ts";

export type { Source };

/** One broken rule, as `path:line` and what stands there. */
export type Violation = string;

type Reasons = Readonly<Record<string, string>>;

/** The room of a file: the folder below `src`, or null for anything else. */
function roomOf(path: string): string | null {
  return /^src\/(?<room>[^/]+)\//u.exec(path)?.groups?.["room"] ?? null;
}

const isCode = ({ path }: Source): boolean => /\.[cm]?[jt]s$/u.test(path);
const inSrc = (source: Source): boolean => isCode(source) && source.path.startsWith("src/");

/** Every place in one part of a file where a pattern stands. */
function finds(
  source: Source,
  part: "code" | "strings" | "comments",
  pattern: RegExp,
): Violation[] {
  const text = split(source.text)[part];
  return [...text.matchAll(pattern)].map((match) => at(source, match.index, match[0]));
}

function at(source: Source, index: number, what: string): Violation {
  const shown = what.trim().replaceAll(/\s+/gu, " ").slice(0, 80);
  return `${source.path}:${lineAt(source.text, index)}: ${shown}`;
}

/** Imports against the table of who may import whom. */
export function forbiddenImports(
  sources: readonly Source[],
  table: Readonly<Record<string, readonly string[]>>,
): Violation[] {
  return sources.filter(inSrc).flatMap((source) => {
    const room = roomOf(source.path);
    const allowed = room === null ? undefined : table[room];
    if (room === null || allowed === undefined) return [`${source.path}:1: no such room`];
    return importsOf(source.text)
      .filter(({ from }) => from.startsWith("."))
      .map((found) => ({ ...found, to: posix.join(posix.dirname(source.path), found.from) }))
      .filter(({ to }) => {
        const target = roomOf(to);
        return target === null || (target !== room && !allowed.includes(target));
      })
      .map(({ line, to }) => `${source.path}:${line}: ${room} imports ${to}`);
  });
}

/** Packages (and `node:` modules) against the rooms that may use them; `*` allows any room. */
export function forbiddenPackages(
  sources: readonly Source[],
  rooms: Readonly<Record<string, readonly string[]>>,
): Violation[] {
  return sources.filter(inSrc).flatMap((source) =>
    importsOf(source.text)
      .filter(({ from }) => !from.startsWith("."))
      .filter(({ from }) => {
        const name = from.startsWith("node:") ? "node:" : packageOf(from);
        return !(rooms[name] ?? []).some((room) => room === "*" || room === roomOf(source.path));
      })
      .map(({ from, line }) => `${source.path}:${line}: ${roomOf(source.path)} imports ${from}`),
  );
}

function packageOf(specifier: string): string {
  return specifier.split("/", specifier.startsWith("@") ? 2 : 1).join("/");
}

const IMPURE =
  /\b(?:await|async|setTimeout|setInterval|setImmediate|queueMicrotask|fetch|process|globalThis|performance|crypto)\b(?!\s*[:?])|\bDate\.now\b|\bDate\(\s*\)|\bnew Date\b(?!\()|\bMath\.random\b/gu;

/** Waiting, clock, chance, process and network in the rooms that judge. */
export function impurities(sources: readonly Source[]): Violation[] {
  return sources
    .filter((source) => isCode(source) && /^src\/(?:core|dialects)\//u.test(source.path))
    .flatMap((source) => finds(source, "code", IMPURE));
}

const SQL_TEXT =
  /(["'`])\s*(?:select\b[^"'`]*\bfrom\b|select\s+\w+\s*\(|insert\s+into\b|update\s+\w+\s+set\b|delete\s+from\b|with\s+\w+\s+as\s*\(|(?:create|alter|drop)\s+(?:table|index|function|trigger|database|role)\b)/giu;

/** SQL outside the store: a statement in a string, a `sql` template, an `unsafe` call. */
export function strayedSql(sources: readonly Source[]): Violation[] {
  return sources
    .filter((source) => inSrc(source) && roomOf(source.path) !== "store")
    .flatMap((source) => {
      const { code } = split(source.text);
      const calls = [...source.text.matchAll(/\bsql`|\.unsafe\(/gu)]
        .filter(({ index }) => code[index] !== " ")
        .map((match) => at(source, match.index, match[0]));
      return [...finds(source, "strings", SQL_TEXT), ...calls];
    });
}

/** Reading the environment, or asking which runtime this is, outside the entry. */
export function strayedEnvironment(sources: readonly Source[]): Violation[] {
  const pattern =
    /\bprocess\s*\.\s*(?:env|argv|versions?|platform|exit)\b|\bprocess\[|\bimport\.meta\.env\b|\bnavigator\b|\bWebSocketPair\b/gu;
  return sources
    .filter((source) => inSrc(source) && roomOf(source.path) !== "entry")
    .flatMap((source) => finds(source, "code", pattern));
}

/** Making a database outside the entry. */
export function strayedDatabases(sources: readonly Source[]): Violation[] {
  return sources
    .filter((source) => inSrc(source) && !/^(?:entry|store)$/u.test(roomOf(source.path) ?? ""))
    .flatMap((source) => finds(source, "code", /\b(?:connect|openEmbedded|postgres|drizzle)\(/gu));
}

/** A `Permit` made, cast or returned anywhere but in the file that admits. */
export function forgedPermits(sources: readonly Source[], mint: string): Violation[] {
  const pattern =
    /\b(?:as|satisfies)\s+Permit\b|<Permit>\s*\(?\{|\b(?:const|let)\s+\w+\s*:\s*Permit\b|\)\s*:\s*(?:Promise<\s*)?Permit\b/gu;
  return sources
    .filter((source) => inSrc(source) && source.path !== mint)
    .flatMap((source) => finds(source, "code", pattern));
}

/** A door that judges: figures of a meter compared, or the judgement itself imported. */
export function judgingDoors(sources: readonly Source[]): Violation[] {
  const figures =
    /\b(?:committed|reserved|remaining|asked|limit)(?:Picousd)?\s*(?:[<>]=?)\s*[\w(]|(?<![=-])[<>]=?\s*[\w.]*\.(?:committed|reserved|remaining|asked|limit)\b/gu;
  return sources
    .filter((source) => isCode(source) && source.path.startsWith("src/http/"))
    .flatMap((source) => [
      ...finds(source, "code", figures),
      ...importsOf(source.text)
        .filter(({ from }) => /\/core\/(?:decide|policy|meter)\.ts$/u.test(from))
        .map(({ from, line }) => `${source.path}:${line}: a door imports ${from}`),
    ]);
}

export type TableKey = { readonly table: string; readonly primaryKey: readonly string[] };

/** Tables whose primary key does not begin with the tenant, but for those that hold nothing of any. */
export function keysWithoutTenant(tables: readonly TableKey[], excepted: Reasons): Violation[] {
  return tables
    .filter(({ table, primaryKey }) => !(table in excepted) && primaryKey[0] !== "tenant_id")
    .map(({ table, primaryKey }) => `${table}: primary key (${primaryKey.join(", ")})`);
}

/**
 * Statements of the store that name a tenant's table and no tenant, nor its book. One that means to cross tenants
 * says "across tenants" in a comment within the five lines before it.
 */
export function queriesWithoutTenant(
  sources: readonly Source[],
  tables: readonly string[],
): Violation[] {
  const named = new RegExp(`\\b(?:from|into|update|join)\\s+(?:${tables.join("|")})\\b`, "iu");
  return sources
    .filter((source) => isCode(source) && source.path.startsWith("src/store/"))
    .flatMap((source) =>
      [...source.text.matchAll(/`(?:[^`\\]|\\[\s\S])*`/gu)]
        .filter(({ 0: text }) => named.test(text) && !/tenant|\bbookIs\(/iu.test(text))
        .filter(({ index }) => {
          const before = source.text.slice(0, index).split("\n").slice(-6).join("\n");
          return !/across tenants/iu.test(split(before).comments);
        })
        .map((match) => at(source, match.index, match[0])),
    );
}

/** Statements that change or remove a row of the ledger, in the code and in the migrations. */
export function ledgerEdits(sources: readonly Source[], ledger: readonly string[]): Violation[] {
  const names = ledger.join("|");
  const statement = new RegExp(
    `\\b(?:update\\s+(?:only\\s+)?|delete\\s+from\\s+|truncate\\s+(?:table\\s+)?)(?:${names})\\b`,
    "giu",
  );
  const builder = new RegExp(`\\.(?:update|delete)\\(\\s*(?:schema\\.)?(?:${names})\\b`, "gu");
  return sources.flatMap((source) => {
    if (/^drizzle\/.*\.sql$/u.test(source.path)) {
      const text = source.text.replaceAll(/--[^\n]*/gu, (comment) => " ".repeat(comment.length));
      return [...text.matchAll(statement)].map((match) => at(source, match.index, match[0]));
    }
    if (!inSrc(source)) return [];
    return [...finds(source, "strings", statement), ...finds(source, "code", builder)];
  });
}

/** Ledger tables that no migration guards by a trigger before update and delete. */
export function unguardedLedger(
  sources: readonly Source[],
  ledger: readonly string[],
): Violation[] {
  const sql = sources
    .filter(({ path }) => /^drizzle\/.*\.sql$/u.test(path))
    .map(({ text }) => text)
    .join("\n");
  return ledger
    .filter((table) => {
      const trigger = new RegExp(
        `create\\s+(?:or\\s+replace\\s+)?trigger\\s+\\w+\\s+before\\s+(?:update\\s+or\\s+delete|delete\\s+or\\s+update)[^;]*\\son\\s+"?${table}"?`,
        "iu",
      );
      return !trigger.test(sql);
    })
    .map((table) => `${table}: no trigger before update or delete`);
}

/** `catch` outside the files where it has a reason to be. A folder is allowed by its slash. */
export function strayedCatches(sources: readonly Source[], allowed: Reasons): Violation[] {
  const places = Object.keys(allowed);
  return sources
    .filter(inSrc)
    .filter(({ path }) => {
      return !places.some(
        (place) => path === place || (place.endsWith("/") && path.startsWith(place)),
      );
    })
    .flatMap((source) => finds(source, "code", /\bcatch\b/gu));
}

/** Reasons given for places that have no `catch` any more: a list that only grows allows everything. */
export function staleCatches(sources: readonly Source[], allowed: Reasons): Violation[] {
  return Object.keys(allowed).filter(
    (place) =>
      !sources.some(
        (source) =>
          source.path.startsWith(place) && finds(source, "code", /\bcatch\b/gu).length > 0,
      ),
  );
}

/** Calls of the console beside its one client, and addresses of that client that are not the public API's. */
export function privateEndpoints(sources: readonly Source[]): Violation[] {
  const client = "src/console/api.ts";
  const calls = /\bfetch\(|\bnew Request\(|\benv\.call\(/gu;
  const addresses = /\bnew (?:URL|Request)\(\s*["'`](?!\$\{ORIGIN\}\/api\$\{)[^)]*/gu;
  return sources
    .filter(({ path }) => path.startsWith("src/console/"))
    .flatMap((source) =>
      [...source.text.matchAll(source.path === client ? addresses : calls)].map((match) =>
        at(source, match.index, match[0]),
      ),
    );
}

/** Limits that nothing enforces. */
export function unusedLimits(sources: readonly Source[]): Violation[] {
  const isLimits = ({ path }: Source) => /^src\/core\/limits(?:-\w+)?\.ts$/u.test(path);
  const others = sources
    .filter((source) => inSrc(source) && !isLimits(source))
    .map((source) => split(source.text).code)
    .join("\n");
  return sources
    .filter(isLimits)
    .flatMap(({ text }) => [...text.matchAll(/^export const (\w+)/gmu)])
    .map((match) => match[1] ?? "")
    .filter((name) => !new RegExp(`\\b${name}\\b`, "u").test(others));
}

export function longFiles(
  sources: readonly Source[],
  linesMax: { readonly src: number; readonly test: number },
): Violation[] {
  return sources
    .filter(isCode)
    .map(({ path, text }) => ({ path, lines: text.trimEnd().split("\n").length }))
    .filter(({ path, lines }) => lines > (path.startsWith("test/") ? linesMax.test : linesMax.src))
    .map(({ path, lines }) => `${path}: ${lines} lines`);
}

const KINDS =
  /(?:^|\/)(?:utils?|services?|models?|types?|helpers?|common|middlewares?|misc|index)(?:\/|\.[cm]?[jt]s$)/u;

/** Names that say a kind of thing, not a purpose; and files that only pass others on. */
export function purposelessNames(sources: readonly Source[]): Violation[] {
  return sources
    .filter((source) => isCode(source) && KINDS.test(source.path))
    .map(({ path }) => path);
}

/** Kebab-case, so that a name is typed one way on every file system. */
export function oddFileNames(sources: readonly Source[]): Violation[] {
  return sources
    .filter((source) => /^(?:src|test)\//u.test(source.path) && isCode(source))
    .map(({ path }) => path)
    .filter((path) => !/^(?:[a-z0-9]+(?:[-.][a-z0-9]+)*\/?)+$/u.test(path));
}

/** Work put off, in comments; and tests left out or left alone. */
export function unfinishedWork(sources: readonly Source[]): Violation[] {
  const markers = /\b(?:TODO|FIXME|XXX|HACK)\b/gu;
  const partial = /\b(?:test|it|describe)\b[\w.]*\.(?:skip|only|todo|fails|skipIf|runIf)\b/gu;
  return sources
    .filter(isCode)
    .flatMap((source) => [
      ...finds(source, "comments", markers),
      ...(source.path.startsWith("test/") ? finds(source, "code", partial) : []),
    ]);
}

/** References to what a clone of this repository does not have. */
export function outsideReferences(sources: readonly Source[]): Violation[] {
  return sources.flatMap((source) => {
    const pattern =
      source.path === "package-lock.json"
        ? /"resolved": "(?!https:\/\/registry\.npmjs\.org\/)[^"]*"/gu
        : /(?<![\w.:/-])\/work(?:\/|(?=["'`\s),;]))|\.\.\/shared\b/gu;
    return [...source.text.matchAll(pattern)].map((match) => at(source, match.index, match[0]));
  });
}

/** State that outlives a request, and kinds of declaration that the house does without. */
export function strayedDeclarations(sources: readonly Source[]): Violation[] {
  const errors = errorClasses(sources);
  const state =
    /^(?:export\s+)?(?:let|var)\b.*|^(?:export\s+)?const\s+\w+[^=\n]*=\s*new\s+(?:Weak)?(?:Map|Set)\b[^(\n]*\(\s*\)/gmu;
  const kinds = /^\s*(?:export\s+)?(?:const\s+)?enum\s+\w+|^export\s+\*\s.*/gmu;
  // A thread's own program keeps what the thread is for: nothing imports it.
  const isThread = ({ path }: Source): boolean => /^src\/entry\/.*-worker\.ts$/u.test(path);
  const classes = /\bclass\s+(?<name>\w+)[^{]*\{/gu;
  return sources
    .filter(inSrc)
    .flatMap((source) => [
      ...(isThread(source) ? [] : finds(source, "code", state)),
      ...finds(source, "code", kinds),
      ...[...split(source.text).code.matchAll(classes)]
        .filter((match) => !errors.has(match.groups?.["name"] ?? ""))
        .map((match) => at(source, match.index, match[0])),
    ]);
}

/** The classes that descend from `Error`, by name, however many steps. */
function errorClasses(sources: readonly Source[]): ReadonlySet<string> {
  const parents = new Map<string, string>();
  for (const source of sources.filter(inSrc)) {
    for (const match of split(source.text).code.matchAll(/\bclass\s+(\w+)\s+extends\s+(\w+)/gu)) {
      parents.set(match[1] ?? "", match[2] ?? "");
    }
  }
  const descends = (name: string, steps: number): boolean => {
    const parent = parents.get(name);
    if (parent === undefined || steps > parents.size) return false;
    return parent === "Error" || descends(parent, steps + 1);
  };
  return new Set([...parents.keys()].filter((name) => descends(name, 0)));
}

/** Released migrations that were edited or removed: databases in the field have run the old text. */
export function editedMigrations(sources: readonly Source[], released: Reasons): Violation[] {
  return Object.entries(released)
    .filter(([path, digest]) => {
      const source = sources.find((candidate) => candidate.path === path);
      return source === undefined || sha256(source.text) !== digest;
    })
    .map(([path]) => path);
}

export function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}
