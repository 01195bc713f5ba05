import { cp, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Sql } from "../../src/store/database.ts";
import type { PromiseName } from "./checker.ts";
import type { FaultKind } from "./history.ts";

/** This repository, as it stands. */
export const ROOT = join(import.meta.dirname, "..", "..");

/** A gate that breaks a promise on purpose, and the faults under which that shows. */
export type Mutant = {
  readonly name: string;
  /** One of these must be found broken; without the mutant, and all else alike, none is. */
  readonly breaks: readonly PromiseName[];
  readonly deck: readonly FaultKind[];
  readonly forMs: number;
} & (
  | { readonly kind: "sql"; readonly plant: (sql: Sql) => Promise<void> }
  | { readonly kind: "source"; readonly file: string; readonly part: RegExp; readonly by: string }
);

export const MUTANTS: readonly Mutant[] = [
  {
    name: "void on expiry",
    kind: "sql",
    breaks: ["M5"],
    deck: ["jump-clock"],
    forMs: 4_000,
    plant: voidOnExpiry,
  },
  {
    name: "check, then act",
    kind: "sql",
    breaks: ["M1", "M2"],
    deck: [],
    forMs: 3_000,
    plant: (sql) =>
      // Whoever reads what a meter holds holds no lock, and acts a moment later: what an interactive
      // transaction does that reads, thinks and writes.
      mutate(sql, "tollgate_post", [
        [/for (?:no key )?update of m\b/gu, ""],
        [/\n {2}if p_len > 0 then\n {4}update meters/u, "\n  perform pg_sleep(0.02);$&"],
      ]),
  },
  {
    name: "synchronous_commit = off",
    kind: "sql",
    breaks: ["D1", "M3", "M5"],
    deck: ["crash-database"],
    forMs: 6_000,
    plant: async (sql) => {
      // What is not flushed at once is flushed when the writer wakes up, which then takes as long as it may.
      await sql.unsafe("alter system set wal_writer_delay = '10s'");
      await sql.unsafe("select pg_reload_conf()");
      const off = "\nbegin\n  perform set_config('synchronous_commit', 'off', true);\n";
      await mutate(sql, "tollgate_post", [[/\nbegin\n/u, off]]);
      await mutate(sql, "tollgate_settle", [[/\nbegin\n/u, off]]);
    },
  },
  {
    name: "one pool for two upstreams",
    kind: "source",
    breaks: ["X2"],
    deck: [],
    forMs: 2_500,
    file: "src/entry/upstream-undici.ts",
    part: /const key = `\$\{upstream\} \$\{origin\}`;/u,
    by: "const key = `${upstream.length > 0} ${origin}`;",
  },
  {
    name: "no lane apart for a locked tenant",
    kind: "source",
    breaks: ["A2"],
    deck: ["lock-meter"],
    forMs: 7_000,
    file: "src/gate/lanes.ts",
    part: /if \(!options\.isLockTimeout\(error\)\) throw error;/u,
    by: "throw error;",
  },
  {
    name: "popped before it is written",
    kind: "source",
    breaks: ["M2", "M3"],
    deck: ["crash-database"],
    forMs: 6_000,
    file: "src/gate/settle.ts",
    part: /if \(isContentError\(error\)[^;]*\bisClosing\(\)\) throw error;/u,
    by: "throw error;",
  },
];

/** Replaces parts of one of the gate's functions in a scenario's own database; each part must be there. */
async function mutate(
  sql: Sql,
  name: string,
  parts: readonly (readonly [RegExp, string])[],
): Promise<void> {
  const [row] = await sql`select pg_get_functiondef(${name}::regproc) as definition`;
  let definition = String(row?.["definition"]);
  for (const [part, by] of parts) {
    const mutant = definition.replace(part, by);
    if (mutant === definition) throw new Error(`${name} has no ${String(part)}`);
    definition = mutant;
  }
  await sql.unsafe(definition);
}

/** A sweep that takes silence for proof: what is past its deadline is given back. */
async function voidOnExpiry(sql: Sql): Promise<void> {
  await sql.unsafe(`
    create or replace function tollgate_expire(lease interval, most int) returns int
    language sql
    as $$
      with lost as (
        delete from reservations r
        where r.state = 'open'
          and (r.deadline_at < tollgate_now()
               or not exists (select from replicas p where p.replica_id = r.replica_id
                              and p.seen_at > tollgate_now() - lease))
        returning r.*
      ), freed as (
        select lost.tenant_id, d.meter_id, sum(d.amount) as amount
        from lost, unnest(lost.meter_ids, lost.amounts) as d(meter_id, amount)
        group by lost.tenant_id, d.meter_id
      ), lowered as (
        update meters m set reserved = m.reserved - freed.amount
        from freed where m.tenant_id = freed.tenant_id and m.meter_id = freed.meter_id
      )
      select count(*)::int from lost
    $$`);
}

export type Planted = {
  readonly root: string;
  readonly plant: (sql: Sql) => Promise<void>;
  readonly remove: () => Promise<void>;
};

/** The mutant made ready to run: a copy of the tree with its source changed, or this tree and a changed database. */
export async function planted(mutant: Mutant): Promise<Planted> {
  if (mutant.kind === "sql") {
    return { root: ROOT, plant: mutant.plant, remove: () => Promise.resolve() };
  }
  const root = await mkdtemp(join(tmpdir(), "tollgate-mutant-"));
  const remove = () => rm(root, { recursive: true, force: true });
  try {
    for (const part of ["src", "drizzle", "package.json"]) {
      await cp(join(ROOT, part), join(root, part), { recursive: true });
    }
    await symlink(join(ROOT, "node_modules"), join(root, "node_modules"));
    const file = join(root, mutant.file);
    const source = await readFile(file, "utf8");
    const changed = source.replace(mutant.part, mutant.by);
    if (changed === source) throw new Error(`${mutant.file} has no ${String(mutant.part)}`);
    await writeFile(file, changed);
  } catch (error) {
    await remove();
    throw error;
  }
  return { root, plant: () => Promise.resolve(), remove };
}
