import { InputError } from "../../core/errors.ts";
import type { Demand } from "../../core/intent.ts";
import { CHOICES_MAX } from "../../core/limits.ts";
import type { Asked, Route } from "../dialect.ts";

/** The form fields of a multipart request that we read; what is absent was not in the form. */
export type FormFields = Readonly<
  Partial<Record<"model" | "stream" | "n" | "response_format" | "prompt", string>>
>;

/** The fields to give to `multipartFieldReader`. */
export const FORM_FIELDS: readonly string[] = ["model", "stream", "n", "response_format"];

/**
 * Most output tokens of one image of gpt-image-1 and its mini: 6,240 for the largest size at high quality
 * (its price of 0.25 USD at 40 USD per million), and 100 for each of at most three partial images.
 */
const IMAGE_OUTPUT_TOKENS_MAX = 6_540;

/** Images one edit may be given (16), and its mask. */
const EDIT_IMAGES_MAX = 17;

/** The longest prompt an image model takes is 32,000 characters, of four bytes each at most. */
const IMAGE_PROMPT_BYTES_MAX = 128_000;

/**
 * What images could use. Models priced by the image are known exactly: `fixed`. gpt-image-1 is
 * priced by tokens with a known maximum; of later token-priced families none is known, so they are unbounded.
 */
export function imageDemand(model: string | null, n: number, inputBytes: number): Demand {
  const name = model ?? "";
  const byTokens = name.includes("gpt-image") || name.includes("chatgpt-image");
  const isKnown = /(?:^|\/)gpt-image-1(?:-mini)?(?:-\d{4}-\d{2}-\d{2})?$/.test(name);
  return {
    inputBytes,
    images: 0,
    audioInput: false,
    audioOutput: false,
    outputTokensMax: isKnown ? IMAGE_OUTPUT_TOKENS_MAX : null,
    choices: n,
    fixed: byTokens ? {} : { images: n },
    producesTokens: byTokens,
    serviceTier: null,
    unbounded: byTokens && !isKnown ? ["image_tokens"] : [],
  };
}

/**
 * What speech could use. Models priced by the character are known exactly; the others answer with as
 * many audio tokens as the reading takes, which nothing in the request limits.
 */
export function speechDemand(model: string | null, input: string, inputBytes: number): Demand {
  const byTokens = (model ?? "").includes("gpt-");
  return {
    inputBytes,
    images: 0,
    audioInput: false,
    audioOutput: byTokens,
    outputTokensMax: null,
    choices: 1,
    fixed: byTokens ? {} : { characters: countCharacters(input) },
    producesTokens: byTokens,
    serviceTier: null,
    unbounded: byTokens ? ["audio_output"] : [],
  };
}

/** Characters as providers count them: code points. */
function countCharacters(text: string): number {
  let count = 0;
  for (let index = 0; index < text.length; index += 1) {
    const code = text.charCodeAt(index);
    const isTrailing = code >= 0xdc00 && code <= 0xdfff && index > 0;
    if (!isTrailing || (text.charCodeAt(index - 1) & 0xfc00) !== 0xd800) count += 1;
  }
  return count;
}

/**
 * Reads what a form asks for. How long a recording is stands in no field of the form, and its bytes say
 * it only to a decoder: transcription is unbounded (`audio_duration`).
 * Throws InputError as `classify` does.
 */
export function classifyMultipart(route: Route, fields: FormFields): Asked {
  const model = route.pathModel ?? fields.model ?? null;
  if (model === "" || (model === null && route.operation === "transcription")) {
    const message = "You must provide a 'model' parameter: the name of the model to call.";
    throw new InputError("missing_required_parameter", "model", message);
  }
  return {
    model,
    stream: readFlag(fields.stream),
    wantsUsage: true,
    demand: formDemand(route, model, fields),
    metadata: {},
  };
}

function formDemand(route: Route, model: string | null, fields: FormFields): Demand {
  if (route.operation === "image_generation") {
    const demand = imageDemand(model, readNumber(fields.n), IMAGE_PROMPT_BYTES_MAX);
    return { ...demand, images: EDIT_IMAGES_MAX };
  }
  return {
    inputBytes: IMAGE_PROMPT_BYTES_MAX,
    images: 0,
    audioInput: true,
    audioOutput: false,
    outputTokensMax: null,
    choices: 1,
    fixed: {},
    producesTokens: true,
    serviceTier: null,
    unbounded: ["audio_duration"],
  };
}

/** Forms spell booleans: Python's client writes `true`, others `True` or `1`. */
function readFlag(text: string | undefined): boolean {
  return text !== undefined && ["true", "1", "on", "yes"].includes(text.trim().toLowerCase());
}

function readNumber(text: string | undefined): number {
  if (text === undefined || text.trim() === "") return 1;
  const value = Number(text);
  if (Number.isInteger(value) && value >= 1 && value <= CHOICES_MAX) return value;
  const message = `Invalid value for 'n': expected an integer from 1 to ${CHOICES_MAX}.`;
  throw new InputError("invalid_value", "n", message);
}
