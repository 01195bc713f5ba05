/** Where the texts of a JSON body stand in its bytes, and which of them are content. */
import { METADATA_PREFIX } from "./metadata.ts";
import { nameOf, stringEnd } from "./members.ts";

/**
 * What the strings of a value are. `content` may be rewritten: it is what people, models and tools said, and
 * nothing finds its way by it. `around` is not content, but may hold some; `fixed` holds none. `ours` is removed
 * on the way. `named` holds content by names of the caller's own.
 */
type Place = "body" | "content" | "around" | "fixed" | "metadata" | "ours" | "named";

/** The members of a body that hold content. All others do not: model, tools and their schemas, user, stop, metadata. */
const ROOTS: Readonly<Record<string, Place>> = {
  messages: "around",
  prediction: "around",
  input: "content",
  prompt: "content",
  suffix: "content",
  instructions: "content",
  metadata: "metadata",
};

/**
 * The members of messages, items and parts whose texts are content. Ids, names, types, roles, addresses,
 * base64 and encrypted or signed reasoning stand in others.
 */
const MEMBERS: Readonly<Record<string, Place>> = {
  content: "content",
  text: "content",
  refusal: "content",
  reasoning: "content",
  reasoning_content: "content",
  arguments: "content",
  input: "content",
  output: "content",
  // What hosted tools were asked and told.
  query: "content",
  queries: "content",
  code: "content",
  logs: "content",
  command: "content",
  commands: "content",
  stdout: "content",
  stderr: "content",
  diff: "content",
  title: "content",
  // Of a stored prompt.
  variables: "named",
  // Names of the caller's own, in which `text` may be any property.
  tools: "fixed",
  parameters: "fixed",
  input_schema: "fixed",
  output_schema: "fixed",
  schema: "fixed",
  attributes: "fixed",
  metadata: "fixed",
};

function placeOf(parent: Place, name: string): Place {
  switch (parent) {
    case "body":
      return Object.hasOwn(ROOTS, name) ? (ROOTS[name] ?? "fixed") : "fixed";
    case "content":
    case "around":
      return Object.hasOwn(MEMBERS, name) ? (MEMBERS[name] ?? "around") : "around";
    case "metadata":
      return name.startsWith(METADATA_PREFIX) ? "ours" : "fixed";
    case "named":
      return "content";
    case "fixed":
    case "ours":
      return parent;
  }
}

/** One string that is a value; its quotes belong to it. */
export type BodyString = { readonly start: number; readonly end: number; readonly place: Place };

/** Takes a body that `classify` accepted, so no member stands there twice. Names are compared letter for letter. */
export function* stringsIn(bytes: Uint8Array): Generator<BodyString> {
  const above: { readonly place: Place; readonly isObject: boolean }[] = [];
  let here: (typeof above)[number] = { place: "body", isObject: false };
  let place: Place = "body";
  let isName = false;
  let index = 0;
  while (index < bytes.length) {
    const byte = bytes[index];
    if (byte === 0x22) {
      const end = stringEnd(bytes, index + 1);
      if (isName) place = placeOf(here.place, nameOf(bytes, index, end, null));
      else yield { start: index, end, place };
      isName = false;
      index = end;
      continue;
    }
    index += 1;
    if (byte === 0x7b || byte === 0x5b) {
      above.push(here);
      here = { place, isObject: byte === 0x7b };
      isName = here.isObject;
    } else if (byte === 0x7d || byte === 0x5d) {
      here = above.pop() ?? here;
      isName = false;
    } else if (byte === 0x2c) {
      isName = here.isObject;
      if (!here.isObject) ({ place } = here);
    }
  }
}
