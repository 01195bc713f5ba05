import { InputError } from "../../core/errors.ts";
import { NO_DEMAND, type Demand } from "../../core/intent.ts";
import { CHOICES_MAX } from "../../core/limits.ts";
import type { Asked, Route } from "../dialect.ts";

/** The form fields of a multipart request that we read; what is absent was not in the form. */
export type FormFields = Readonly<
  Partial<Record<"model" | "stream" | "n" | "response_format" | "prompt", string>>
>;

/** The fields to give to `multipartFieldReader`. */
export const FORM_FIELDS: readonly string[] = ["model", "stream", "n", "response_format"];

/** Images one edit may be given (16), and its mask. */
const EDIT_IMAGES_MAX = 17;

/** The longest prompt an image model takes is 32,000 characters, of four bytes each at most. */
const IMAGE_PROMPT_BYTES_MAX = 128_000;

/** What images could use: so many of them. What one costs, by the piece or in tokens, the price says. */
export function imageDemand(n: number, inputBytes: number): Demand {
  return { ...NO_DEMAND, inputBytes, choices: n, fixed: { images: n } };
}

/**
 * What speech could use: so many characters. Where the price is for audio tokens, they bound none. Without a text
 * there is nothing here to count, and what a server reads instead is its own.
 */
export function speechDemand(input: string, inputBytes: number): Demand {
  const characters = countCharacters(input);
  const unbounded = characters === 0 ? ["characters"] : [];
  return { ...NO_DEMAND, inputBytes, fixed: { characters }, unbounded };
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
    demand: formDemand(route, fields),
    metadata: {},
  };
}

function formDemand(route: Route, fields: FormFields): Demand {
  if (route.operation === "image_generation") {
    const demand = imageDemand(readNumber(fields.n), IMAGE_PROMPT_BYTES_MAX);
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
