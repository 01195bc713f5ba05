import { hash, json, type Answer } from "./answer.ts";
import { DemoRefusal, integerField, isList, requiredField, type Fields } from "./fields.ts";
import { tokensIn } from "./reply.ts";

/** Inputs of one request: OpenAI's own limit. */
const INPUTS_MAX = 2_048;

const DIMENSIONS_DEFAULT = 256;
const DIMENSIONS_MAX = 3_072;

/** Numbers of one answer. 2,048 inputs of 3,072 dimensions would be 6 million, and 60 MB of JSON. */
const NUMBERS_MAX = 1_048_576;

/** `POST /embeddings`: unit vectors that depend on the input alone; they carry no meaning. */
export function createEmbeddings(body: Fields): Answer {
  const inputs = inputsOf(requiredField(body, "input"));
  const dimensions = integerField(body, "dimensions", 1, DIMENSIONS_MAX) ?? DIMENSIONS_DEFAULT;
  if (inputs.length > INPUTS_MAX || inputs.length * dimensions > NUMBERS_MAX) {
    const message = `Invalid 'input': at most ${INPUTS_MAX} inputs and ${NUMBERS_MAX} numbers.`;
    throw new DemoRefusal(400, message, "input", "invalid_value");
  }
  const format = body["encoding_format"] ?? "float";
  if (format !== "float" && format !== "base64") {
    const message = "Invalid 'encoding_format': expected 'float' or 'base64'.";
    throw new DemoRefusal(400, message, "encoding_format", "invalid_value");
  }
  const data = inputs.map(({ text }, index) => {
    const vector = vectorOf(text, dimensions);
    return {
      object: "embedding",
      index,
      embedding: format === "base64" ? base64Of(vector) : vector,
    };
  });
  const tokens = inputs.reduce((sum, input) => sum + input.tokens, 0);
  return json({
    object: "list",
    data,
    model: body["model"],
    usage: { prompt_tokens: tokens, total_tokens: tokens },
  });
}

type Input = { readonly text: string; readonly tokens: number };

function inputsOf(input: unknown): readonly Input[] {
  const list = isList(input) ? input : [input];
  const single = list.every((item) => typeof item === "number") ? [list] : list;
  return single.map(inputOf);
}

function inputOf(item: unknown): Input {
  if (typeof item === "string" && item !== "") return { text: item, tokens: tokensIn(item) };
  if (isList(item) && item.length > 0 && item.every((token) => Number.isInteger(token))) {
    return { text: item.join(" "), tokens: item.length };
  }
  const message = "Invalid 'input': expected non-empty text or tokens, or an array of either.";
  throw new DemoRefusal(400, message, "input", "invalid_value");
}

/** A xorshift sequence seeded by the text, scaled to length one. */
function vectorOf(text: string, dimensions: number): readonly number[] {
  let state = hash(text) || 1;
  const raw = Array.from({ length: dimensions }, () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state / 2 ** 31;
  });
  const length = Math.hypot(...raw);
  return raw.map((value) => Math.fround(value / length));
}

/** Little-endian 32-bit floats, as OpenAI encodes them. */
function base64Of(vector: readonly number[]): string {
  const view = new DataView(new ArrayBuffer(vector.length * 4));
  for (const [index, value] of vector.entries()) view.setFloat32(index * 4, value, true);
  return Buffer.from(view.buffer).toString("base64");
}
