/** A request's body, as far as its route needs it read. */
import { detect, type Findings, NOT_SEARCHED, NOTHING_FOUND } from "../core/detect.ts";
import { InputError } from "../core/errors.ts";
import {
  APPROVAL_CALL_BYTES_MAX,
  BODY_BYTES_MAX,
  BODY_ON_LOOP_BYTES_MAX,
  UPLOAD_BYTES_MAX,
} from "../core/limits.ts";
import type { Asked, Edits, Route } from "../dialects/dialect.ts";
import { classify } from "../dialects/openai/classify.ts";
import { edit } from "../dialects/openai/edit.ts";
import { boundaryOf, isJsonType } from "../dialects/openai/form-headers.ts";
import { classifyMultipart, FORM_FIELDS } from "../dialects/openai/media.ts";
import { formDigest, multipartFieldReader } from "../dialects/openai/multipart.ts";
import { searchedIn } from "../dialects/openai/redact.ts";
import { countable, type Countable } from "../dialects/openai/tokens.ts";
import { sha256Hex } from "../lib/hash.ts";
import { withoutSpace } from "../lib/json-space.ts";
import { decodeUtf8, parseJson } from "../lib/json.ts";
import type { Exchange } from "./exchange.ts";

export type RequestBody = {
  /** What it asks for; null where nothing is read of it. */
  readonly asked: Asked | null;
  /** SHA-256 of the body, hex; empty for a body that streams through. */
  readonly digest: string;
  /**
   * The same of a JSON body without the space between its values, and its model by one name: who pads it asks for the same.
   * Of a form without its boundary.
   */
  readonly content: string;
  /** The caller's bytes, with the edits spliced in. Only an edit that injects usage may be followed by another. */
  readonly forward: (edits: Edits, told: Told) => Forwarded | Promise<Forwarded>;
  readonly countable: (route: Route) => Countable;
  /** All of it, where it is small enough to be shown to a person; else null. */
  readonly small: Uint8Array | null;
  /** Searches its texts. */
  readonly inspect: () => Findings;
};

/** Hears the SHA-256, hex, of a body in which something was replaced. */
type Told = (sha256: string) => void;

export type Forwarded = Uint8Array | AsyncIterable<Uint8Array> | null;

/**
 * Reads and edits large bodies away from the event loop. The bytes are handed over, not copied: after
 * a call only what it answers may be used. The owner is the tenant that sends them, whose share of the
 * places is bounded. Throws Unavailable where there is no place, or no answer in time.
 */
export type LargeBodies = {
  readonly read: (body: {
    readonly owner: string;
    readonly route: Route;
    readonly contentType: string;
    readonly bytes: Uint8Array;
    /** Whether its texts are to be searched, too. */
    readonly searches: boolean;
  }) => Promise<{
    readonly asked: Asked;
    readonly digest: string;
    readonly content: string;
    readonly bytes: Uint8Array;
    readonly findings: Findings;
  }>;
  readonly edit: (body: {
    readonly owner: string;
    readonly bytes: Uint8Array;
    readonly edits: Edits;
  }) => Promise<Edited>;
};

/** `sha256` only of a body in which something was replaced: of others the caller's digest is told. */
export type Edited = { readonly bytes: Uint8Array; readonly sha256: string | null };

export function editedBy(given: Uint8Array, edits: Edits): Edited {
  const bytes = edit(given, edits);
  return { bytes, sha256: edits.redact === undefined ? null : sha256Hex(bytes) };
}

const NOTHING_COUNTABLE: Countable = { texts: [], overhead: 0 };

export type BodyReaders = {
  readonly largeBodies: LargeBodies;
  readonly owner: string;
  /** The owner's policies read what is found in texts. */
  readonly searches: boolean;
  /** What its upstream calls a model, for many names may mean one. */
  readonly modelOf: (model: string | null) => string | null;
};

/** Throws InputError for a body that is too large, encoded, or not what its route takes. */
export async function readRequestBody(
  exchange: Exchange,
  route: Route,
  { largeBodies, owner, searches, modelOf }: BodyReaders,
): Promise<RequestBody> {
  if (route.body === "none") {
    refuseTooLong(exchange);
    return {
      asked: null,
      digest: "",
      content: "",
      forward: () => exchange.streamBody(UPLOAD_BYTES_MAX),
      countable: () => NOTHING_COUNTABLE,
      small: null,
      // What streams through is seen by nobody; a request that reads has nothing to be seen.
      inspect: () => (isBodiless(exchange) ? NOTHING_FOUND : NOT_SEARCHED),
    };
  }
  refuseEncoded(exchange);
  const contentType = exchange.header("content-type") ?? "";
  if (route.body === "json") refuseOtherTypes(contentType);
  const bytes = await exchange.readBody(BODY_BYTES_MAX);
  const isForm = route.body === "multipart";
  if (bytes.byteLength > BODY_ON_LOOP_BYTES_MAX) {
    const read = await largeBodies.read({ owner, route, contentType, bytes, searches });
    const overhead = isForm ? 0 : read.bytes.byteLength;
    return {
      asked: read.asked,
      digest: read.digest,
      content: read.content,
      forward: async (edits, told) => {
        if (isForm || !hasEdits(edits)) return read.bytes;
        // An upstream that does not know what is injected is asked again without it, so the body stays.
        const given = edits.injectUsage === true ? Uint8Array.from(read.bytes) : read.bytes;
        return telling(await largeBodies.edit({ owner, bytes: given, edits }), told);
      },
      // Their bytes bound their tokens; a closer count is not worth another walk through them.
      countable: () => ({ texts: [], overhead }),
      small: null,
      inspect: () => read.findings,
    };
  }
  const asked = askedOf(route, contentType, bytes);
  return {
    asked,
    ...digestsOf(route, bytes, { contentType, model: asked.model, named: modelOf(asked.model) }),
    forward: (edits, told) => (isForm ? bytes : telling(editedBy(bytes, edits), told)),
    countable: (of) => (isForm ? NOTHING_COUNTABLE : countableOf(of, bytes)),
    small: bytes.byteLength > APPROVAL_CALL_BYTES_MAX ? null : bytes,
    inspect: () => findingsIn(route, bytes),
  };
}

type Read = {
  readonly contentType: string;
  readonly model: string | null;
  readonly named: string | null;
};

/** Of a body that was read by `askedOf`, which found that model in it; `named` stands for it in what is compared. */
export function digestsOf(
  route: Route,
  bytes: Uint8Array,
  { contentType, model, named }: Read,
): Pick<RequestBody, "digest" | "content"> {
  const digest = sha256Hex(bytes);
  if (route.body !== "json") {
    const boundary = boundaryOf(contentType);
    return { digest, content: boundary === null ? digest : formDigest(boundary, bytes) };
  }
  const compact = withoutSpace(bytes);
  const said = model === null || model === named ? compact : withModel(compact, model, named ?? "");
  return { digest, content: said === bytes ? digest : sha256Hex(said) };
}

/** By its bytes, as nearly every library writes the member: one that is written otherwise stays, and is other content. */
function withModel(bytes: Uint8Array, model: string, named: string): Uint8Array {
  const member = Buffer.from(`"model":${JSON.stringify(model)}`);
  const body = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const at = body.indexOf(member);
  if (at < 0) return bytes;
  const instead = Buffer.from(`"model":${JSON.stringify(named)}`);
  return Buffer.concat([body.subarray(0, at), instead, body.subarray(at + member.length)]);
}

/** What is found in the texts of a body that was read by `askedOf`. The fields of a form are not searched, nor are its files. */
export function findingsIn(route: Route, bytes: Uint8Array): Findings {
  return route.body === "json" ? detect(searchedIn(bytes)) : NOT_SEARCHED;
}

function telling({ bytes, sha256 }: Edited, told: Told): Uint8Array {
  if (sha256 !== null) told(sha256);
  return bytes;
}

/** A body that comes with a GET is forwarded, too. */
function isBodiless({ method, header }: Exchange): boolean {
  const isSent = header("transfer-encoding") !== null || (header("content-length") ?? "0") !== "0";
  return method === "GET" && !isSent;
}

/** What a body asks for, by the form that its route takes. A form is never re-encoded. */
export function askedOf(route: Route, contentType: string, bytes: Uint8Array): Asked {
  return route.body === "multipart"
    ? classifyForm(route, contentType, bytes)
    : classify(route, bytes);
}

function hasEdits(edits: Edits): boolean {
  return Object.keys(edits).length > 0;
}

function countableOf(route: Route, bytes: Uint8Array): Countable {
  const text = decodeUtf8(bytes);
  return text === null ? NOTHING_COUNTABLE : countable(route, parseJson(text)?.value ?? null);
}

/** Before admission: an upload that is found too long on its way could only be broken off. */
function refuseTooLong(exchange: Exchange): void {
  if (Number(exchange.header("content-length") ?? 0) <= UPLOAD_BYTES_MAX) return;
  const message = `The request body is larger than ${UPLOAD_BYTES_MAX} bytes, the most that is passed on here.`;
  throw new InputError("body_too_large", null, message);
}

/** A body that we cannot look into cannot be bounded. */
function refuseEncoded(exchange: Exchange): void {
  const encoding = exchange.header("content-encoding");
  if (encoding === null || encoding.toLowerCase() === "identity") return;
  const message = `Content-Encoding ${encoding} is not read here: send the body as it is.`;
  throw new InputError("unsupported_encoding", "content-encoding", message);
}

function refuseOtherTypes(contentType: string): void {
  if (isJsonType(contentType)) return;
  const message = "This route takes JSON in UTF-8: send `Content-Type: application/json`.";
  throw new InputError("unsupported_media_type", "content-type", message);
}

function classifyForm(route: Route, contentType: string, bytes: Uint8Array): Asked {
  const boundary = boundaryOf(contentType);
  if (boundary === null) {
    const message = "This route takes `multipart/form-data` with a boundary.";
    throw new InputError("unsupported_media_type", "content-type", message);
  }
  const reader = multipartFieldReader(boundary, FORM_FIELDS);
  reader.push(bytes);
  const problem = reader.problem();
  if (problem !== null) {
    const message = `${problem}: servers read such a form differently. Send it as RFC 7578 says.`;
    throw new InputError("invalid_value", null, message);
  }
  const [unclear] = reader.unclear();
  if (unclear !== undefined) {
    const message = `The form field \`${unclear}\` stands there twice, or is too long to be one.`;
    throw new InputError("invalid_value", unclear, message);
  }
  return classifyMultipart(route, reader.fields());
}
