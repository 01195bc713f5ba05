/** Credentials in texts: by the form that their issuers give them, so that they can be found where they leak. */
import { decodeBase64Url, isRecord, parseJson } from "../lib/json.ts";
import { type Detector, matchAt, type Span, wordDetector } from "./detector.ts";
import { parseKey } from "./key.ts";

function hasDigit(text: string): boolean {
  return /\d/.test(text);
}

function isNoExample(text: string): boolean {
  return !text.endsWith("EXAMPLE");
}

const AWS_SECRET_CHARS = 40;

/** Whether what stands under this name may be a secret for no other reason, as `awsSecret` reads it behind the name. */
export function namesSecret(name: string): boolean {
  return /secret_?access_?key$/i.test(name);
}

/** Forty characters of base64 are a secret only where they are called one. */
function awsSecret(): Detector {
  const value =
    /secret_?access_?key\\?["']?\s{0,4}[:=]\s{0,4}\\?["']?[a-z0-9/+]{40}(?![a-z0-9/+=])/y;
  return {
    kind: "aws_secret_key",
    marks: ["secret_access_key", "secretaccesskey"],
    ignoresCase: true,
    spanOf: (text, at) => {
      const match = matchAt(value, text, at);
      const end = at + (match?.length ?? 0);
      return match === null ? null : { start: end - AWS_SECRET_CHARS, end };
    },
  };
}

/** A key of RSA with 16,384 bits has some 13,000 characters; of PGP there are longer ones. */
const PRIVATE_KEY_CHARS_MAX = 32_768;

/** All of a key up to its end; of one that is cut all lines of a key, up to a quotation mark. */
function privateKeySpan(text: string, at: number): Span | null {
  const begin = /-----BEGIN (?:(?:RSA|EC|DSA|OPENSSH|ENCRYPTED|PGP) )?PRIVATE KEY(?: BLOCK)?-----/y;
  const match = matchAt(begin, text, at);
  if (match === null) return null;
  // Talking of the form of a key is not having one: some of its content follows.
  const body = /(?:\\n|\s){0,8}(?:[A-Za-z0-9/+=-]|[A-Z][\w-]{1,32}: )[^\n\\]{20}/y;
  const from = at + match.length;
  if (matchAt(body, text, from) === null) return null;
  const near = text.slice(from, at + PRIVATE_KEY_CHARS_MAX);
  // In JSON within a text it ends with its string, whatever stands in the next one.
  const rest = near.slice(0, /"\s{0,4}[,:}\]]/.exec(near)?.index ?? near.length);
  const end = /-----(?:BEGIN|END) [A-Z ]{0,24}PRIVATE KEY(?: BLOCK)?-----/.exec(rest);
  if (end !== null && end[0].startsWith("-----END")) {
    return { start: at, end: from + end.index + end[0].length };
  }
  const lines =
    /(?:\\[nr]|\s){0,8}[\x20\x21\x23-\x5b\x5d-\x7e]{1,}(?:(?:\\[nr]|\s){1,8}(?:[A-Z][\w-]{1,32}: [\x20\x21\x23-\x5b\x5d-\x7e]{1,200}|[A-Za-z0-9+/=]{40,}))*/y;
  return { start: at, end: from + (matchAt(lines, rest, 0)?.length ?? 0) };
}

/** The first part of a JWT is JSON that names its algorithm. */
function isJwt(text: string): boolean {
  const head = decodeBase64Url(text.slice(0, text.indexOf(".")));
  const parsed = head === null ? null : parseJson(head);
  return isRecord(parsed?.value) && typeof parsed.value["alg"] === "string";
}

/** What stands where a password is meant to be filled in. */
const PLACEHOLDERS =
  /^(?:pass(?:word|wd)?|secret|pw|pwd|xxx+|\*+|\.{3}|<.{0,64}>|\[[a-z_]{1,64}\]|\$\{?.{0,64}|\{.{0,64}|your.{0,64}|example|changeme|user)$/i;

/** Of `postgres://user:password@host` and `redis://:password@host` the password. */
function urlPasswordSpan(text: string, at: number): Span | null {
  const rest = /:\/\/[^\s:@/"'<>]{0,64}:([^\s:@/"']{3,128})@[A-Za-z0-9[]/y;
  rest.lastIndex = at;
  const match = rest.exec(text);
  const password = match?.[1] ?? "";
  const isScheme = at > 0 && /[A-Za-z0-9+]/.test(text.charAt(at - 1));
  if (match === null || !isScheme || PLACEHOLDERS.test(password)) return null;
  // Behind it stand the at sign and the first letter of the host.
  const end = at + match[0].length - 2;
  return { start: end - password.length, end };
}

export const SECRET_DETECTORS: readonly Detector[] = [
  // Amazon writes its examples with this word at the end.
  wordDetector(
    "aws_access_key",
    ["AKIA", "ASIA"],
    /A[KS]IA[A-Z2-7]{16}(?![A-Za-z0-9])/y,
    isNoExample,
  ),
  awsSecret(),
  wordDetector("google_api_key", ["AIza"], /AIza[\w-]{35}(?![\w-])/y),
  wordDetector("google_oauth_token", ["ya29."], /ya29\.[\w-]{20,512}/y, hasDigit),
  wordDetector("anthropic_key", ["sk-ant-"], /sk-ant-[a-z0-9]{3,10}-[\w-]{40,256}/y, hasDigit),
  wordDetector("openrouter_key", ["sk-or-"], /sk-or-v1-[0-9a-f]{64}(?![\w-])/y),
  wordDetector(
    "openai_key",
    ["sk-"],
    /sk-(?:(?:proj|svcacct|admin)-[\w-]{40,256}|[A-Za-z0-9]{48}(?![\w-]))/y,
    hasDigit,
  ),
  wordDetector("groq_key", ["gsk_"], /gsk_[A-Za-z0-9]{52}(?!\w)/y),
  wordDetector(
    "github_token",
    ["ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_"],
    /(?:gh[pousr]_[A-Za-z0-9]{36,255}|github_pat_[A-Za-z0-9]{22}_[A-Za-z0-9]{59})/y,
  ),
  wordDetector("gitlab_token", ["glpat-"], /glpat-[\w-]{20,64}/y, hasDigit),
  wordDetector(
    "slack_token",
    ["xoxb-", "xoxp-", "xoxa-", "xoxr-", "xoxs-", "xapp-"],
    /x(?:ox[abprs]|app)-(?:[A-Za-z0-9]{1,64}-){1,6}[A-Za-z0-9]{10,128}/y,
    hasDigit,
  ),
  wordDetector(
    "slack_webhook",
    ["https://hooks.slack.com/services/"],
    /https:\/\/hooks\.slack\.com\/services\/T\w{6,16}\/B\w{6,16}\/\w{20,32}/y,
  ),
  wordDetector("stripe_key", ["sk_live_", "rk_live_"], /[sr]k_live_[A-Za-z0-9]{20,128}/y),
  wordDetector("npm_token", ["npm_"], /npm_[A-Za-z0-9]{36}(?!\w)/y),
  wordDetector("huggingface_token", ["hf_"], /hf_[A-Za-z0-9]{34}(?!\w)/y),
  wordDetector("sendgrid_key", ["SG."], /SG\.[\w-]{22}\.[\w-]{43}(?![\w-])/y),
  wordDetector(
    "tollgate_key",
    ["tg_"],
    /tg_[a-z0-9]{1,16}_[a-z0-9]{26}_[a-z0-9]{58}/y,
    (text) => parseKey(text) !== null,
  ),
  wordDetector("jwt", ["eyJ"], /eyJ[\w-]{8,1024}\.eyJ[\w-]{2,4096}\.[\w-]{16,1024}/y, isJwt),
  { kind: "private_key", marks: ["-----BEGIN "], ignoresCase: false, spanOf: privateKeySpan },
  { kind: "url_password", marks: ["://"], ignoresCase: false, spanOf: urlPasswordSpan },
];
