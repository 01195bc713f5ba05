import { InputError } from "../../core/errors.ts";
import { CONTEXT_FIELD_BYTES_MAX, PATH_BYTES_MAX } from "../../core/limits.ts";
import { decodePercent } from "../../lib/json.ts";

export type RunPrefix = {
  readonly path: string;
  readonly run: string | null;
  readonly step: string | null;
};

/**
 * Cuts `/run/{run}[/step/{step}]` from the front of a path: how a run is named by a client that can set
 * nothing but a base URL. The names come back percent-decoded. Throws InputError where one is empty,
 * too long, malformed, or holds control characters.
 */
export function splitRunPrefix(path: string): RunPrefix {
  const from = path.startsWith("//") ? path.search(/[^/]/) - 1 : 0;
  if (from < 0 || !path.startsWith("/run/", from)) return { path, run: null, step: null };
  const runEnd = segmentEnd(path, from + 5);
  const run = contextName(path.slice(from + 5, runEnd), "run");
  if (!/^\/+step(?:\/|$)/.test(path.slice(runEnd, runEnd + PATH_BYTES_MAX))) {
    return { path: path.slice(runEnd) || "/", run, step: null };
  }
  const stepStart = path.indexOf("step", runEnd) + 5;
  const stepEnd = segmentEnd(path, stepStart);
  const step = contextName(path.slice(stepStart, stepEnd), "step");
  return { path: path.slice(stepEnd) || "/", run, step };
}

function segmentEnd(path: string, from: number): number {
  const slash = path.indexOf("/", from);
  return slash < 0 ? path.length : slash;
}

function contextName(text: string, param: "run" | "step"): string {
  if (text.length > 3 * CONTEXT_FIELD_BYTES_MAX) throw tooLong(param);
  const name = decodePercent(text);
  if (name === null) {
    throw new InputError(
      "invalid_value",
      param,
      `The ${param} in the path is not valid percent-encoding.`,
    );
  }
  if (name === "" || name === "." || name === "..") {
    throw new InputError(
      "invalid_value",
      param,
      `The ${param} in the path is empty; write /run/{run}/v1.`,
    );
  }
  if (hasControl(name)) {
    throw new InputError(
      "invalid_value",
      param,
      `The ${param} in the path holds control characters.`,
    );
  }
  if (new TextEncoder().encode(name).length > CONTEXT_FIELD_BYTES_MAX) throw tooLong(param);
  return name;
}

function tooLong(param: string): InputError {
  const message = `The ${param} in the path is longer than ${CONTEXT_FIELD_BYTES_MAX} bytes.`;
  return new InputError("invalid_value", param, message);
}

/**
 * The segments of a path that is safe to append to a base URL: no dot segment however encoded, no
 * backslash, no control character, no query, no authority. Empty segments are dropped, because a base
 * URL with a trailing slash doubles them; `doubledStart` says that the path began with two.
 * Throws InputError otherwise.
 */
export function safeSegments(path: string): { segments: string[]; doubledStart: boolean } {
  if (path.length > PATH_BYTES_MAX) throw unsafe(`is longer than ${PATH_BYTES_MAX} bytes`);
  if (!path.startsWith("/")) throw unsafe("does not begin with a slash");
  if (!/^[\x21-\x7e]*$/.test(path)) throw unsafe("holds characters that a URL must percent-encode");
  if (/[\\?#]/.test(path)) throw unsafe("holds a backslash, a question mark or a number sign");
  const segments: string[] = [];
  for (const segment of path.split("/")) {
    if (segment === "") continue;
    checkSegment(segment);
    segments.push(segment);
  }
  return { segments, doubledStart: path.startsWith("//") };
}

/** Decoded as often as a chain of careless servers might: `%252e%252e` is a dot segment to the second. */
const DECODINGS_MAX = 4;

function checkSegment(segment: string): void {
  let text = segment;
  for (let round = 0; round < DECODINGS_MAX; round += 1) {
    for (const part of text.split("/")) {
      // A path parameter (`..;x`) is cut off by some servers before they resolve the dots.
      const name = part.split(";", 1)[0];
      if (name === "." || name === "..") throw unsafe("holds a dot segment");
    }
    if (text.includes("\\") || hasControl(text))
      throw unsafe("holds a backslash or control character");
    if (!text.includes("%")) return;
    const decoded = decodePercent(text);
    if (decoded === null) {
      // Only the outermost layer must be well-formed: `100%25` decodes to a lone sign, and is a name.
      if (round === 0) throw unsafe("is not valid percent-encoding");
      return;
    }
    text = decoded;
  }
  throw unsafe("is percent-encoded too often");
}

function hasControl(text: string): boolean {
  for (let index = 0; index < text.length; index += 1) {
    const code = text.charCodeAt(index);
    if (code < 0x20 || (code >= 0x7f && code <= 0x9f)) return true;
  }
  return false;
}

function unsafe(why: string): InputError {
  return new InputError("invalid_value", "path", `The path of the request ${why}.`);
}
