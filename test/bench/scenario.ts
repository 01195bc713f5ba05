/** The two calls that are measured, and the answers that the mock upstream gives to them. */

export type ScenarioName = "json" | "sse";

export type Scenario = {
  readonly name: ScenarioName;
  readonly title: string;
  readonly body: Buffer;
};

/** A model with a public price, so that a gateway which counts money has money to count. */
export const MODEL = "gpt-4o-mini";
const MODEL_SNAPSHOT = "gpt-4o-mini-2024-07-18";
const CREATED = 1_760_000_000;
const REQUEST_BYTES = 2_048;
const ANSWER_BYTES = 600;
const EVENTS = 60;
/** What one event says: with its envelope it is about 200 bytes long, as a provider's is. */
const DELTA_CHARS = 7;
const USAGE = { prompt_tokens: 480, completion_tokens: 58, total_tokens: 538 };

/** Plain English, so that a tokeniser meets words and not one long run of a letter. */
const PROSE =
  "The gate looks at the budget, holds what the call could cost at most, and lets it pass. ";

const prose = (length: number): string =>
  PROSE.repeat(Math.ceil(length / PROSE.length)).slice(0, Math.max(0, length));

/** No output limit and no usage asked for: what an SDK sends by default, and the harder case for a gate. */
const requestBody = (stream: boolean): Buffer => {
  const make = (content: string): string =>
    JSON.stringify({
      model: MODEL,
      messages: [
        { role: "system", content: "You are a careful assistant." },
        { role: "user", content },
      ],
      ...(stream ? { stream: true } : {}),
    });
  return Buffer.from(make(prose(REQUEST_BYTES - make("").length)));
};

export const SCENARIOS: readonly Scenario[] = [
  { name: "json", title: "JSON: 2 KB request, 600 B answer", body: requestBody(false) },
  {
    name: "sse",
    title: `SSE: 2 KB request, ${EVENTS} events of about 200 B`,
    body: requestBody(true),
  },
];

export const scenarioNamed = (name: ScenarioName): Scenario => {
  const found = SCENARIOS.find((scenario) => scenario.name === name);
  if (found === undefined) throw new Error(`no scenario ${name}`);
  return found;
};

/** The non-streamed answer, as OpenAI writes it, padded with prose to its size. */
export const jsonAnswer = (): Buffer => {
  const make = (content: string): string =>
    JSON.stringify({
      id: "chatcmpl-bench",
      object: "chat.completion",
      created: CREATED,
      model: MODEL_SNAPSHOT,
      choices: [
        {
          index: 0,
          message: { role: "assistant", content, refusal: null },
          logprobs: null,
          finish_reason: "stop",
        },
      ],
      usage: USAGE,
      service_tier: "default",
    });
  return Buffer.from(make(prose(ANSWER_BYTES - make("").length)));
};

const chunkOf = (choices: readonly unknown[], extra: object): string =>
  `data: ${JSON.stringify({
    id: "chatcmpl-bench",
    object: "chat.completion.chunk",
    created: CREATED,
    model: MODEL_SNAPSHOT,
    choices,
    ...extra,
  })}\n\n`;

/**
 * The events of the stream, `[DONE]` included. With usage asked for, every chunk holds `usage: null`
 * and one more event, without choices, holds the figures: the wire of `stream_options.include_usage`.
 */
export const sseEvents = (includeUsage: boolean): readonly Buffer[] => {
  const text = prose((EVENTS - 1) * DELTA_CHARS);
  return eventsWith(includeUsage, (at) => text.slice(at * DELTA_CHARS, (at + 1) * DELTA_CHARS));
};

/** How far apart the events of a paced stream are: some fifty tokens a second, as models write. */
export const CHUNK_EVERY_MS = 20;
/** Stands before the time, in microseconds and with leading zeros, at which an event was sent. */
export const STAMP_MARK = "sent-at:";
export const STAMP_DIGITS = 16;
export const STAMPED_EVENTS = EVENTS - 1;

/** By the clock that all processes of a machine share, whose zero is any moment. */
export const nowMicros = (): number => Number(process.hrtime.bigint() / 1_000n);

/** The same stream, with room for the time in each event that holds text. */
export const stampedEvents = (includeUsage: boolean): readonly Buffer[] =>
  eventsWith(includeUsage, () => `${STAMP_MARK}${"0".repeat(STAMP_DIGITS)}`);

const eventsWith = (
  includeUsage: boolean,
  contentAt: (at: number) => string,
): readonly Buffer[] => {
  const extra = includeUsage ? { usage: null } : {};
  const delta = (at: number): string => {
    const content = contentAt(at);
    return chunkOf([{ index: 0, delta: { content }, logprobs: null, finish_reason: null }], extra);
  };
  const finish = [{ index: 0, delta: {}, logprobs: null, finish_reason: "stop" }];
  const texts = [
    ...Array.from({ length: EVENTS - 1 }, (_, at) => delta(at)),
    chunkOf(finish, extra),
    ...(includeUsage ? [chunkOf([], { usage: USAGE })] : []),
    "data: [DONE]\n\n",
  ];
  return texts.map((text) => Buffer.from(text));
};

/** Says why an answer is not the one that the mock gives, or null when it is whole. */
export const faultOf = (name: ScenarioName, status: number, body: Buffer): string | null => {
  if (status !== 200) return `status ${status}: ${body.toString("utf8").slice(0, 300)}`;
  try {
    return name === "json" ? faultOfJson(body) : faultOfStream(body);
  } catch (error) {
    return `unreadable answer (${String(error)}): ${body.toString("utf8").slice(0, 300)}`;
  }
};

/** What is compared of an answer or a chunk: a gateway may add members, but not lose these. */
type Told = {
  choices?: {
    message?: { content?: string };
    delta?: { content?: string };
    finish_reason?: string | null;
  }[];
  usage?: { total_tokens?: number } | null;
};

const faultOfJson = (body: Buffer): string | null => {
  const told = JSON.parse(body.toString("utf8")) as Told;
  const asked = JSON.parse(jsonAnswer().toString("utf8")) as Told;
  if (told.choices?.[0]?.message?.content !== asked.choices?.[0]?.message?.content) {
    return "the message is not the upstream's";
  }
  return told.usage?.total_tokens === USAGE.total_tokens ? null : "usage is missing";
};

const textOfStream = (body: Buffer): { text: string; finished: boolean; done: boolean } => {
  const lines = body.toString("utf8").split("\n");
  const data = lines.flatMap((line) => (line.startsWith("data: ") ? [line.slice(6)] : []));
  const chunks = data.filter((text) => text !== "[DONE]").map((text) => JSON.parse(text) as Told);
  return {
    text: chunks.map((chunk) => chunk.choices?.[0]?.delta?.content ?? "").join(""),
    finished: chunks.some((chunk) => chunk.choices?.[0]?.finish_reason === "stop"),
    done: data.at(-1) === "[DONE]",
  };
};

const faultOfStream = (body: Buffer): string | null => {
  const told = textOfStream(body);
  const asked = textOfStream(Buffer.concat(sseEvents(false)));
  if (told.text !== asked.text) return "the streamed text is not the upstream's";
  if (!told.finished) return "the stream has no finish reason";
  return told.done ? null : "the stream does not end with [DONE]";
};
