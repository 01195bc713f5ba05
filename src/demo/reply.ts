import { fieldsOf, isFields, isList, type Fields } from "./fields.ts";

/** Begins every text, so that nobody takes the demo for a model. */
export const LABEL = "[Tollgate demo] ";

/** What a demo model writes when nobody sets a maximum; also the most anybody may ask for. */
export const OUTPUT_TOKENS_MAX = 4_096;

/** How much of the question is quoted back. */
const QUOTE_CHARACTERS_MAX = 200;

/** How deep an example follows a schema; deeper parts become empty objects. */
const EXAMPLE_DEPTH_MAX = 8;

/** Bytes of one token of the demo's tokeniser. */
const TOKEN_BYTES = 4;

export type Tool = { readonly name: string; readonly parameters: Fields };

/** What a demo model is asked, whichever endpoint it came through. */
export type Ask = {
  /** The last thing said, by a person or a tool. */
  readonly last: string;
  readonly lastIsToolResult: boolean;
  readonly tools: readonly Tool[];
  /** `auto`: call a tool that the last message names. `required`: call one. A name: call that one. */
  readonly toolChoice: {
    readonly kind: "none" | "auto" | "required" | "named";
    readonly name: string;
  };
  /** A JSON schema that the text must fit, `{}` for any JSON, null for prose. */
  readonly schema: Fields | null;
  readonly outputTokensMax: number;
  readonly stops: readonly string[];
  /** From 0; later choices say which they are. */
  readonly choice: number;
  /** `demo-small` answers in one short sentence. */
  readonly brief: boolean;
};

export type Reply = {
  readonly kind: "text" | "tool";
  /** The tool called; empty for text. */
  readonly tool: string;
  /** The text, or the call's arguments as JSON. */
  readonly text: string;
  readonly cut: boolean;
  readonly tokens: number;
};

/** The demo model: the same ask, the same reply. */
export function replyTo(ask: Ask): Reply {
  const tool = toolToCall(ask);
  if (tool !== null) {
    const text = JSON.stringify(example(tool.parameters, 0));
    const nameTokens = tokensIn(tool.name);
    const room = Math.max(0, ask.outputTokensMax - nameTokens);
    const kept = firstTokens(text, room);
    const tokens = Math.min(ask.outputTokensMax, nameTokens + tokensIn(kept));
    return { kind: "tool", tool: tool.name, text: kept, cut: kept !== text, tokens };
  }
  const whole = beforeStop(ask.schema === null ? prose(ask) : jsonText(ask, ask.schema), ask.stops);
  const text = firstTokens(whole, ask.outputTokensMax);
  return { kind: "text", tool: "", text, cut: text !== whole, tokens: tokensIn(text) };
}

function toolToCall(ask: Ask): Tool | null {
  switch (ask.toolChoice.kind) {
    case "none":
      return null;
    case "named":
      return ask.tools.find((tool) => tool.name === ask.toolChoice.name) ?? null;
    case "required":
      return ask.tools.find((tool) => ask.last.includes(tool.name)) ?? ask.tools[0] ?? null;
    case "auto":
      if (ask.lastIsToolResult) return null;
      return ask.tools.find((tool) => ask.last.includes(tool.name)) ?? null;
  }
}

function prose(ask: Ask): string {
  const quoted = ask.last.slice(0, QUOTE_CHARACTERS_MAX).toWellFormed().trim();
  const which = ask.choice === 0 ? "" : `(choice ${ask.choice + 1}) `;
  const opening = ask.lastIsToolResult ? "The tool answered" : "You said";
  if (ask.brief) return `${LABEL}${which}${opening}: "${quoted}".`;
  return (
    `${LABEL}${which}${opening}: "${quoted}". ` +
    "No model wrote this: it is Tollgate's built-in upstream, which answers the same request " +
    "with the same words. The call passed the gate, was measured and recorded like any other."
  );
}

function jsonText(ask: Ask, schema: Fields): string {
  const value = Object.keys(schema).length === 0 ? { demo: prose(ask) } : example(schema, 0);
  return JSON.stringify(value);
}

/** A value that fits the common part of JSON Schema: types, properties, enums, constants. */
function example(schema: Fields, depth: number): unknown {
  if (depth >= EXAMPLE_DEPTH_MAX) return {};
  if (schema["const"] !== undefined) return schema["const"];
  if (isList(schema["enum"]) && schema["enum"].length > 0) return schema["enum"][0];
  const type = isList(schema["type"]) ? schema["type"][0] : schema["type"];
  switch (type) {
    case "string":
      return LABEL.trim();
    case "integer":
    case "number":
      return typeof schema["minimum"] === "number" ? schema["minimum"] : 1;
    case "boolean":
      return true;
    case "array":
      return isFields(schema["items"]) ? [example(schema["items"], depth + 1)] : [];
    case "null":
      return null;
    default:
      return Object.fromEntries(
        Object.entries(fieldsOf(schema["properties"])).map(([name, property]) => [
          name,
          example(fieldsOf(property), depth + 1),
        ]),
      );
  }
}

function beforeStop(text: string, stops: readonly string[]): string {
  const ends = stops
    .filter((stop) => stop !== "")
    .map((stop) => text.indexOf(stop))
    .filter((at) => at >= 0);
  return ends.length === 0 ? text : text.slice(0, Math.min(...ends));
}

/** The text in the pieces that a stream sends: words with the space after them. */
export function pieces(text: string): readonly string[] {
  return text.match(/\S+\s*|\s+/gu) ?? [];
}

/**
 * The demo's tokeniser: a token is four UTF-8 bytes, the last one may be shorter. It never counts
 * more tokens than there are bytes, so a bound by bytes holds for it.
 */
export function tokensIn(text: string): number {
  return Math.ceil(bytesIn(text) / TOKEN_BYTES);
}

/**
 * The tokens of every string below a value (not of names of members): what a prompt counts.
 * A string's bytes are never more than its bytes in the JSON it came from.
 */
export function tokensBelow(...values: readonly unknown[]): number {
  let bytes = 0;
  const pending: unknown[] = [...values];
  // A stack of our own: the caller's nesting must not become ours.
  while (pending.length > 0) {
    const value = pending.pop();
    if (typeof value === "string") bytes += bytesIn(value);
    else if (isList(value)) for (const item of value) pending.push(item);
    else if (isFields(value)) for (const item of Object.values(value)) pending.push(item);
  }
  return Math.ceil(bytes / TOKEN_BYTES);
}

function firstTokens(text: string, tokens: number): string {
  const bytesMax = tokens * TOKEN_BYTES;
  if (bytesIn(text) <= bytesMax) return text;
  let kept = "";
  let bytes = 0;
  for (const character of text) {
    bytes += bytesIn(character);
    if (bytes > bytesMax) break;
    kept += character;
  }
  return kept;
}

function bytesIn(text: string): number {
  return new TextEncoder().encode(text).byteLength;
}
