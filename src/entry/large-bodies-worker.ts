/** Runs in a worker thread: the same pure readers and editors as on the loop, for bodies that would block it. */
import { type Findings, NOT_SEARCHED } from "../core/detect.ts";
import { InputError } from "../core/errors.ts";
import type { InputCode } from "../core/errors.ts";
import type { Asked, Edits, Route } from "../dialects/dialect.ts";
import { askedOf, digestsOf, type Edited, editedBy, findingsIn } from "../http/request-body.ts";
import { serveTasks } from "./worker-thread.ts";
import type { TaskAnswer } from "./worker-thread.ts";

export type ReadTask = {
  readonly kind: "read";
  readonly route: Route;
  readonly contentType: string;
  readonly bytes: Uint8Array;
  readonly searches: boolean;
};
export type EditTask = {
  readonly kind: "edit";
  readonly bytes: Uint8Array;
  readonly edits: Edits;
};

/** An InputError does not survive the way between threads as one, so it is told as a value. */
export type ReadAnswer =
  | {
      readonly kind: "read";
      readonly asked: Asked;
      readonly digest: string;
      readonly content: string;
      readonly bytes: Uint8Array;
      readonly findings: Findings;
    }
  | {
      readonly kind: "mistake";
      readonly code: InputCode;
      readonly param: string | null;
      readonly message: string;
    };

serveTasks((task: ReadTask | EditTask) =>
  task.kind === "read" ? readLarge(task) : editLarge(task),
);

function readLarge({ route, contentType, bytes, searches }: ReadTask): TaskAnswer {
  try {
    const asked = askedOf(route, contentType, bytes);
    const findings = searches ? findingsIn(route, bytes) : NOT_SEARCHED;
    // How models are called is not known here: large bodies are compared without.
    const digests = digestsOf(route, bytes, { contentType, model: asked.model, named: null });
    return moved({ kind: "read", asked, ...digests, bytes, findings }, bytes);
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    const { code, param, message } = error;
    return { value: { kind: "mistake", code, param, message } satisfies ReadAnswer, transfer: [] };
  }
}

function editLarge({ bytes, edits }: EditTask): TaskAnswer {
  const edited = editedBy(bytes, edits);
  return moved(edited, edited.bytes);
}

/** Hands the bytes over instead of copying them. */
function moved(value: ReadAnswer | Edited, { buffer }: Uint8Array): TaskAnswer {
  return { value, transfer: buffer instanceof ArrayBuffer ? [buffer] : [] };
}
