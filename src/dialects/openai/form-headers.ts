/** One parameter of a header field, its name in lower case. */
type Parameter = { readonly name: string; readonly value: string };

/** Why a part's headers cannot be read in one way only, or the name that they give. */
export type PartName =
  | { readonly kind: "problem"; readonly problem: string }
  | { readonly kind: "name"; readonly name: string; readonly isFile: boolean };

/** The boundary of a `content-type` header, or null where it names none, or several, or none that RFC 2046 allows. */
export function boundaryOf(contentType: string): string | null {
  const parameters = readParameters(contentType.trim(), "multipart/form-data");
  if (parameters === null) return null;
  let boundary: string | null = null;
  for (const { name, value } of parameters) {
    // `boundary*` and `boundary*0` are other ways to write it (RFC 2231), which few servers read.
    if (name.startsWith("boundary*")) return null;
    if (name !== "boundary") continue;
    if (boundary !== null) return null;
    boundary = value;
  }
  if (boundary === null || boundary.length > 70) return null;
  return /^[\x21-\x7e ]*[\x21-\x7e]$/.test(boundary) && !/["\\]/.test(boundary) ? boundary : null;
}

/**
 * Whether a body of this `content-type` is JSON in UTF-8, or says nothing of itself. Another charset would
 * be read as other text by an upstream that heeds it, and a form as other members altogether.
 */
export function isJsonType(contentType: string): boolean {
  const header = contentType.trim();
  if (header === "") return true;
  const type = /^[^\s;]+/.exec(header)?.[0] ?? "";
  if (!/^(?:application\/(?:[a-z0-9.+_-]+\+)?json|text\/json)$/i.test(type)) return false;
  const charsets = (readParameters(header, type.toLowerCase()) ?? []).filter(
    ({ name }) => name === "charset" || name === "charset*",
  );
  if (charsets.length === 0) return !/charset/i.test(header);
  return charsets.length === 1 && /^utf-?8$/i.test(charsets[0]?.value ?? "");
}

/** Encodings that leave a part's bytes as they are; a server that decodes another reads other text than we do. */
const PLAIN_ENCODING = /^(?:7bit|8bit|binary)$/i;

/**
 * Reads the headers of one part (RFC 7578), the line break before them included and the one behind them
 * not. Whatever servers are known to read in different ways is a problem: which name they take from it
 * decides which field they take the part for.
 */
export function readPartHeaders(headers: Uint8Array): PartName {
  const lines = new TextDecoder().decode(headers).split("\r\n").slice(1);
  let disposition: string | null = null;
  for (const line of lines) {
    const colon = line.indexOf(":");
    const name = line.slice(0, Math.max(0, colon)).toLowerCase();
    // A folded line begins with a space, so it is refused here too.
    if (!/^[a-z0-9-]+$/.test(name) || /[\0\r\n]/.test(line)) {
      return problem("has a header that is folded or malformed");
    }
    const value = line.slice(colon + 1).trim();
    if (name === "content-transfer-encoding" && !PLAIN_ENCODING.test(value)) {
      return problem("has a Content-Transfer-Encoding");
    }
    if (name !== "content-disposition") continue;
    if (disposition !== null) return problem("has Content-Disposition twice");
    disposition = value;
  }
  return disposition === null
    ? problem("has no Content-Disposition")
    : readDisposition(disposition);
}

function readDisposition(disposition: string): PartName {
  const parameters = readParameters(disposition, "form-data");
  if (parameters === null) return problem("has a malformed Content-Disposition");
  let field: string | null = null;
  let isFile = false;
  for (const { name, value } of parameters) {
    if (name === "filename" || name === "filename*") isFile = true;
    if (name.startsWith("name*")) return problem("is named by `name*`");
    if (name !== "name") continue;
    if (field !== null) return problem("has two names");
    field = value;
  }
  if (field === null) return problem("has no name");
  if (field.includes("\\")) return problem("has a name with a backslash");
  return { kind: "name", name: field, isFile };
}

/** The parameters behind a header's first word, or null where they do not follow the grammar to the end. */
function readParameters(header: string, word: string): Parameter[] | null {
  if (header.slice(0, word.length).toLowerCase() !== word) return null;
  const pattern = /\s*;\s*([A-Za-z0-9*_-]+)=(?:"((?:[^"\\]|\\.)*)"|([^\s;"]+))/y;
  pattern.lastIndex = word.length;
  const parameters: Parameter[] = [];
  let end = word.length;
  for (let match = pattern.exec(header); match !== null; match = pattern.exec(header)) {
    end = pattern.lastIndex;
    const [, name = "", quoted, token] = match;
    parameters.push({ name: name.toLowerCase(), value: quoted ?? token ?? "" });
  }
  const rest = header.slice(end).trim();
  return rest === "" || rest === ";" ? parameters : null;
}

function problem(text: string): PartName {
  return { kind: "problem", problem: `A part of the form ${text}` };
}
