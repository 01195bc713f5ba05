/** Large request bodies on Node: read and edited in worker threads, so that one cannot hold up the others. */
import { InputError } from "../core/errors.ts";
import { Unavailable } from "../gate/unavailable.ts";
import type { Edited, LargeBodies } from "../http/request-body.ts";
import { Fault } from "../lib/assert.ts";
import { besideThis } from "./beside.ts";
import type { EditTask, ReadAnswer, ReadTask } from "./large-bodies-worker.ts";
import { createWorkerPool } from "./worker-pool.ts";

/** One reads while another starts; more would take the cores from the gate. */
const WORKERS_MAX = 2;

/** Bodies waiting or being read. Most are little above 256 KiB and take some 10 ms: a crowd of agents' contexts. */
const BODIES_MAX = 256;

/** Their bytes: eight of the largest. What is built of one while it is read may be many times as much. */
const BYTES_MAX = 512 * 1024 * 1024;

/** What one tenant may take of either: it can fill its own half, and the others still find a place. */
const OWNER_SHARE = 1 / 2;

/** Ten times what 64 MB of short members take by measurement. */
const DEADLINE_MS = 10_000;

/** A worker keeps 50 MB for its next body. */
const IDLE_MS = 30_000;

const QUEUE_FULL = "Too many large request bodies are being read; try again shortly.";
const UNREAD = "This large request body could not be read in time; try again shortly.";

export type ClosableLargeBodies = LargeBodies & { readonly close: () => Promise<void> };

export type LargeBodiesOptions = {
  /** After this a body is given up and its worker ended. */
  readonly deadlineMs?: number;
};

export function createLargeBodies(options: LargeBodiesOptions = {}): ClosableLargeBodies {
  const { deadlineMs = DEADLINE_MS } = options;
  const pool = createWorkerPool({
    file: besideThis("large-bodies-worker"),
    workersMax: WORKERS_MAX,
    waitingMax: BODIES_MAX,
    deadlineMs,
    idleMs: IDLE_MS,
  });
  const places = createPlaces();
  const run = async (owner: string, given: ReadTask | EditTask): Promise<unknown> => {
    // Before anything is copied: what is refused costs nothing.
    const leave = places.take(owner, given.bytes.byteLength);
    try {
      const bytes = ownBuffer(given.bytes);
      return await pool.run({ owner, task: { ...given, bytes }, transfer: [bytes.buffer] });
    } catch (error) {
      throw new Unavailable("A large body could not be read now.", { cause: error, told: UNREAD });
    } finally {
      leave();
    }
  };
  return {
    read: async ({ owner, ...task }) => {
      const answer = readAnswerFrom(await run(owner, { kind: "read", ...task }));
      if (answer.kind === "read") return answer;
      throw new InputError(answer.code, answer.param, answer.message);
    },
    edit: async ({ owner, ...task }) => {
      const edited = await run(owner, { kind: "edit", ...task });
      if (isEdited(edited)) return edited;
      throw new Fault("the worker answers bytes");
    },
    close: () => pool.close(),
  };
}

type Held = { readonly bodies: number; readonly bytes: number };

type Places = {
  /** Throws Unavailable when there is no place; answers how to leave it, to be called once. */
  readonly take: (owner: string, bytes: number) => () => void;
};

/** Who holds how much of what may be held: entries end with the last body of their owner. */
function createPlaces(): Places {
  const owners = new Map<string, Held>();
  const change = (owner: string, bodies: number, bytes: number) => {
    const held = sumOf(owners.get(owner) ?? NONE, { bodies, bytes });
    if (held.bodies === 0) owners.delete(owner);
    else owners.set(owner, held);
  };
  return {
    take: (owner, bytes) => {
      const more = { bodies: 1, bytes };
      const own = sumOf(owners.get(owner) ?? NONE, more);
      const all = [...owners.values()].reduce(sumOf, more);
      if (!fits(all, 1) || !fits(own, OWNER_SHARE)) {
        throw new Unavailable("No place for a large body.", { told: QUEUE_FULL });
      }
      change(owner, 1, bytes);
      return () => change(owner, -1, -bytes);
    },
  };
}

const NONE: Held = { bodies: 0, bytes: 0 };

function sumOf(one: Held, other: Held): Held {
  return { bodies: one.bodies + other.bodies, bytes: one.bytes + other.bytes };
}

function fits({ bodies, bytes }: Held, share: number): boolean {
  return bodies <= BODIES_MAX * share && bytes <= BYTES_MAX * share;
}

/** Only a whole buffer can be handed over; a view of a shared pool is copied first. */
function ownBuffer(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const { buffer } = bytes;
  const isWhole = buffer instanceof ArrayBuffer && buffer.byteLength === bytes.byteLength;
  return isWhole ? new Uint8Array(buffer) : Uint8Array.from(bytes);
}

function readAnswerFrom(value: unknown): ReadAnswer {
  if (isReadAnswer(value)) return value;
  throw new Fault("the worker answers what it read");
}

function isEdited(value: unknown): value is Edited {
  return typeof value === "object" && value !== null && "sha256" in value;
}

/** Both sides are this program's: what is checked is that it is the answer of the right task. */
function isReadAnswer(value: unknown): value is ReadAnswer {
  return typeof value === "object" && value !== null && "kind" in value;
}
