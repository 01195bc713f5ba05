/** Personal data in texts: what has a checksum is checked, what has none must stand in its usual form. */
import { type Detector, isWithinWord, matchAt, type Span, spanFrom } from "./detector.ts";

const LOCAL_CHARS_MAX = 64;

/** Domains that belong to nobody (RFC 2606, RFC 6761), and code that looks like an address. */
const NOBODY =
  /(?:^|\.)(?:example(?:\.(?:com|org|net))?|test|invalid|localhost|local|png|jpe?g|gif|svg|js|ts)$/;

function emailSpan(text: string, at: number): Span | null {
  let start = at;
  while (
    start > 0 &&
    at - start < LOCAL_CHARS_MAX &&
    /[a-z0-9._%+-]/.test(text.charAt(start - 1))
  ) {
    start -= 1;
  }
  const local = text.slice(start, at);
  if (local === "" || local.startsWith(".") || local.endsWith(".")) return null;
  const domain = matchAt(
    /(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.){1,4}[a-z]{2,24}(?![a-z0-9-])/y,
    text,
    at + 1,
  );
  if (domain === null || NOBODY.test(domain)) return null;
  // `user:password@host` is an address of a server.
  const isInUrl = /:\/\/(?:\S*[:/])?$/.test(text.slice(Math.max(0, start - 128), start));
  return isInUrl ? null : { start, end: at + 1 + domain.length };
}

/** The first digits of the networks: Visa, Mastercard, Amex, Discover, JCB, Diners, UnionPay. */
const CARD_START = /[2-6]\d\d\d/g;

const CARD_LENGTHS: readonly (readonly [start: RegExp, lengths: readonly number[]])[] = [
  [/^4/, [13, 16, 19]],
  [/^(?:5[1-5]|2[2-7])/, [16]],
  [/^3[47]/, [15]],
  [/^35/, [16]],
  [/^3[068]/, [14, 16]],
  [/^(?:60|62|64|65)/, [16, 17, 18, 19]],
];

function cardSpan(text: string, at: number): Span | null {
  // Part of a longer number, of a decimal or of an identifier is no card; a comma parts the fields of a line.
  if (isWithinWord(text, at) || /[.-]/.test(text.charAt(at - 1))) return null;
  const run = matchAt(/\d{4}(?:[ -]?\d){8,15}(?![\w]|[.-]\d)/y, text, at);
  if (run === null) return null;
  const digits = run.replaceAll(/[ -]/g, "");
  if (/^(\d)\1+$/.test(digits) || !isGrouped(run)) return null;
  const lengths = CARD_LENGTHS.find(([start]) => start.test(digits))?.[1] ?? [];
  return lengths.includes(digits.length) && passesLuhn(digits) ? spanFrom(at, run) : null;
}

/** Digits without a gap, or in groups with one kind of gap, as they are printed; the last of 19 has three. */
function isGrouped(run: string): boolean {
  const gaps = new Set(run.match(/[ -]/g) ?? []);
  return gaps.size <= 1 && run.split(/[ -]/).every((group) => group.length >= 3);
}

/** ISO/IEC 7812-1, annex B. */
function passesLuhn(digits: string): boolean {
  let sum = 0;
  for (let i = 0; i < digits.length; i += 1) {
    const digit = Number(digits[digits.length - 1 - i]);
    const doubled = i % 2 === 1 ? digit * 2 : digit;
    sum += doubled > 9 ? doubled - 9 : doubled;
  }
  return sum % 10 === 0;
}

/** Lengths of the SWIFT IBAN registry, of the countries whose numbers are met most. */
const IBAN_LENGTHS: Readonly<Record<string, number>> = {
  AD: 24,
  AE: 23,
  AT: 20,
  BE: 16,
  BG: 22,
  CH: 21,
  CY: 28,
  CZ: 24,
  DE: 22,
  DK: 18,
  EE: 20,
  ES: 24,
  FI: 18,
  FR: 27,
  GB: 22,
  GR: 27,
  HR: 21,
  HU: 28,
  IE: 22,
  IL: 23,
  IS: 26,
  IT: 27,
  LI: 21,
  LT: 20,
  LU: 20,
  LV: 21,
  MC: 27,
  MT: 31,
  NL: 18,
  NO: 15,
  PL: 28,
  PT: 25,
  RO: 24,
  SA: 24,
  SE: 24,
  SI: 19,
  SK: 24,
  SM: 27,
  TR: 26,
};
/** A country and two check digits. */
const COUNTRY = /[A-Z][A-Z]\d\d/g;

function ibanSpan(text: string, at: number): Span | null {
  if (isWithinWord(text, at)) return null;
  const length = IBAN_LENGTHS[text.slice(at, at + 2)];
  if (length === undefined) return null;
  let iban = "";
  let end = at;
  for (; end < text.length && iban.length < length; end += 1) {
    const code = text.charCodeAt(end);
    if (isDigit(text, end) || (code >= 0x41 && code <= 0x5a)) iban += text.charAt(end);
    // Printed in groups of four, with one space between them.
    else if (code !== 0x20 || iban.length % 4 !== 0 || text[end - 1] === " ") return null;
  }
  const isWhole = iban.length === length && !/\w/.test(text.charAt(end));
  return isWhole && hasIbanChecksum(iban) ? { start: at, end } : null;
}

/** ISO 13616: the number, rearranged and with letters as 10 to 35, leaves 1 modulo 97. */
function hasIbanChecksum(iban: string): boolean {
  let rest = 0;
  for (const character of iban.slice(4) + iban.slice(0, 4)) {
    for (const digit of String(Number.parseInt(character, 36))) {
      rest = (rest * 10 + Number(digit)) % 97;
    }
  }
  return rest === 1;
}

/** ITU-T E.164: a plus, a country, and 8 to 15 digits in all. */
function phoneSpan(text: string, at: number): Span | null {
  if (isWithinWord(text, at) || text[at - 1] === "+") return null;
  const match = matchAt(/\+[1-9]\d{0,2}(?:[ .-]?\(?\d{1,5}\)?){1,6}(?![\w]|[.]\d)/y, text, at);
  if (match === null) return null;
  const digits = match.replaceAll(/\D/g, "").length;
  return digits >= 10 && digits <= 15 ? spanFrom(at, match) : null;
}

/** A look at two characters spares most hyphens of a text a closer one. */
function isDigit(text: string, at: number): boolean {
  const code = text.charCodeAt(at);
  return code >= 0x30 && code <= 0x39;
}

/** `415-555-2671` and `(415) 555-2671`; the mark is the last hyphen. */
function usPhoneSpan(text: string, at: number): Span | null {
  if (!isDigit(text, at - 1) || !isDigit(text, at + 1)) return null;
  const before = /(?:^|[^\w-]|\\[nrt])((?:\([2-9]\d{2}\) ?|[2-9]\d{2}[ .-])[2-9]\d{2})$/;
  const code = before.exec(text.slice(Math.max(0, at - 12), at))?.[1];
  if (code === undefined) return null;
  // With a country code it is told as a number of that form.
  if (/\+1[ .-]?\(?$/.test(text.slice(Math.max(0, at - 14), Math.max(0, at - 8)))) return null;
  const rest = matchAt(/-\d{4}(?![\w-])/y, text, at);
  return rest === null ? null : spanFrom(at - code.length, code + rest);
}

/** The Social Security Administration has given out no 000, 666 or 9xx, no group 00 and no serial 0000. */
function ssnSpan(text: string, at: number): Span | null {
  if (!isDigit(text, at - 1) || !isDigit(text, at + 1)) return null;
  const area = text.slice(Math.max(0, at - 4), at);
  if (!/^(?:^|[^\w-])?(?!000|666|9)\d{3}$/.test(area) || (area.length === 3 && at > 3)) return null;
  const rest = matchAt(/-(?!00)\d{2}-(?!0000)\d{4}(?![\w-])/y, text, at);
  return rest === null ? null : { start: at - 3, end: at + rest.length };
}

export const PERSONAL_DETECTORS: readonly Detector[] = [
  { kind: "email", marks: ["@"], ignoresCase: true, spanOf: emailSpan },
  { kind: "card_number", marks: [CARD_START], ignoresCase: false, spanOf: cardSpan },
  { kind: "iban", marks: [COUNTRY], ignoresCase: false, spanOf: ibanSpan },
  { kind: "phone_number", marks: ["+"], ignoresCase: false, spanOf: phoneSpan },
  { kind: "us_phone_number", marks: ["-"], ignoresCase: false, spanOf: usPhoneSpan },
  { kind: "us_social_security_number", marks: ["-"], ignoresCase: false, spanOf: ssnSpan },
];
