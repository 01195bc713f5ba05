import { expect, test } from "vitest";
import { ask } from "./ask.ts";

/** What is bounded of the images, recordings and films in a message, by how they are given. */

type Read = { images?: number; audioInput?: boolean; unbounded?: readonly string[] };
const NONE = { images: 0, audioInput: false, unbounded: [] };
const SOUND = { audioInput: true };
const ELSEWHERE = { audioInput: true, unbounded: ["audio"] };
const image = (url: string) => ({ type: "image_url", image_url: { url } });
const sound = (input_audio: unknown) => ({ type: "input_audio", input_audio });

const ROWS: readonly [string, object, Read][] = [
  ["an image", image("data:image/png;base64,AAAA"), { images: 1 }],
  ["an image in capitals", image(" DATA:Image/JPEG;base64,AAAA"), { images: 1 }],
  ["an image by its address", image("https://x.test/a.png"), { images: 1 }],
  [
    "an image as a string",
    { type: "input_image", image_url: "data:image/png;base64,A" },
    { images: 1 },
  ],
  ["a film as an image", image("data:video/mp4;base64,AAAA"), { images: 1, unbounded: ["video"] }],
  ["frames as an image", image("data:video/jpeg;base64,A,A"), { images: 1, unbounded: ["video"] }],
  [
    "a file as an image",
    image("data:application/pdf;base64,A"),
    { images: 1, unbounded: ["file"] },
  ],
  ["anything as an image", image("data:;base64,AAAA"), { images: 1, unbounded: ["file"] }],
  ["sound as an image", image("data:audio/wav;base64,AAAA"), { images: 1, unbounded: ["audio"] }],
  [
    "a file as an image, elsewhere",
    { type: "input_image", image_url: "data:application/pdf;base64,A" },
    { images: 1, unbounded: ["file"] },
  ],
  [
    "an image with two addresses to some",
    { type: "image_url", image_url: { url: "data:image/png;base64,A", URL: "data:video/mp4,A" } },
    { images: 1, unbounded: ["file"] },
  ],
  ["an image that is kept", { image_url: null, uuid: "sku" }, { images: 1 }],
  ["a typed image that is kept", { type: "image_url", image_url: null, uuid: "a" }, { images: 1 }],
  ["no image", { type: "text", text: "x", image_url: null }, {}],
  ["an image read elsewhere", { image_embeds: "AAAA" }, { unbounded: ["embeds"] }],
  [
    "an image read elsewhere and kept",
    { image_embeds: null, uuid: "u" },
    { unbounded: ["embeds"] },
  ],
  [
    "a file of Google's",
    { inlineData: { mimeType: "video/mp4", data: "A" } },
    { unbounded: ["file"] },
  ],
  [
    "a file of Google's by its address",
    { file_data: { file_uri: "gs://x" } },
    { unbounded: ["file"] },
  ],
  ["media", { type: "media", data: "A" }, { unbounded: ["file"] }],
  ["sound that is a path", { type: "audio_url", audio_url: { url: "/data/recording" } }, ELSEWHERE],
  ["sound that is a name", { type: "audio_url", audio_url: "recording" }, ELSEWHERE],
  ["sound by an address within", { type: "text", audio: { url: "https://x.test/a" } }, ELSEWHERE],
  ["an empty image read elsewhere", { type: "image_embeds" }, { unbounded: ["embeds"] }],

  ["sound", sound({ data: "UklGRiQA+/8=", format: "wav" }), SOUND],
  ["sound in lines", sound({ data: "UklG\nRiQA", format: "mp3" }), SOUND],
  ["sound with its type", sound({ data: "data:audio/mpeg;base64,UklG", format: "mp3" }), SOUND],
  ["sound without its type", sound({ data: "data:;base64,UklG", format: "mp3" }), SOUND],
  ["sound as a string", sound("UklGRg=="), SOUND],
  ["sound of an MCP server", { type: "audio", data: "UklG", mimeType: "audio/wav" }, SOUND],
  [
    "sound in an address",
    { type: "audio_url", audio_url: { url: "data:audio/wav;base64,UklG" } },
    SOUND,
  ],
  [
    "sound by its address",
    { type: "audio_url", audio_url: { url: "http://x/10h.wav" } },
    ELSEWHERE,
  ],
  ["sound by its address alone", { audio_url: "http://x/10h.wav" }, ELSEWHERE],
  ["an address as sound", sound({ data: "https://x.test/long.mp3", format: "mp3" }), ELSEWHERE],
  ["an address as all there is", sound("https://x.test/10h.mp3"), ELSEWHERE],
  ["a path as sound", sound({ data: "/mnt/10h.wav", format: "wav" }), ELSEWHERE],
  ["sound and an address", sound({ data: "UklG", url: "https://x.test/a.mp3" }), ELSEWHERE],
  ["sound with an address to some", sound({ data: "UklG", Data: "https://x/a" }), ELSEWHERE],
  ["a film as sound", sound({ data: "data:video/mp4;base64,AAAA" }), ELSEWHERE],
  ["text as sound", sound({ data: "data:audio/wav,hello" }), ELSEWHERE],
  ["sound by its id", sound({ file_id: "f" }), { ...ELSEWHERE, unbounded: ["audio", "file"] }],
  ["sound that is kept", { type: "audio_url", audio_url: null, uuid: "u" }, ELSEWHERE],
  ["sound that is kept, untyped", { input_audio: null, uuid: "u" }, ELSEWHERE],
  ["no sound where it should be", { type: "input_audio" }, ELSEWHERE],
  ["sound of another wire by its address", { audio: "https://x.test/a.mp3" }, ELSEWHERE],
  ["a word", { type: "text", text: "x", audio: "on", video: "off" }, {}],

  [
    "a film",
    { type: "video_url", video_url: { url: "data:video/mp4;base64,A" } },
    { unbounded: ["video"] },
  ],
  ["a film that is kept", { video_url: null, uuid: "u" }, { unbounded: ["video"] }],
  ["a film of another wire", { video: "https://x.test/a.mp4" }, { unbounded: ["video"] }],
  ["a document", { document_url: "https://x.test/a.pdf" }, { unbounded: ["file"] }],
];

test.each(ROWS)("%s in a chat", (_, part, expected) => {
  const messages = [{ role: "user", content: [{ type: "text", text: "x" }, part] }];
  expect(ask("/chat/completions", { model: "m", messages }).demand).toMatchObject({
    ...NONE,
    ...expected,
  });
});

test.each(ROWS)("%s in messages to embed", (_, part, expected) => {
  const messages = [{ role: "user", content: [part] }];
  const read = { ...NONE, ...expected };
  expect(ask("/embeddings", { model: "m", messages }).demand).toMatchObject(read);
  expect(ask("/embeddings", { model: "m", input: [part] }).demand).toMatchObject(read);
});

test("embeddings have what nothing bounds in other members, too", () => {
  const { unbounded } = ask("/embeddings", {
    model: "m",
    input: "x",
    images: ["data:image/png;base64,A"],
    chat_template: "x",
    provider: {},
  }).demand;
  expect(unbounded).toEqual(["images", "provider_routing", "chat_template"]);
  const labelled = { model: "m", input: "x", metadata: { Type: "x", image: "y" } };
  expect(ask("/embeddings", labelled).demand.unbounded).toEqual([]);
});

test("prompts are text or tokens: what else stands there is unbounded", () => {
  const prompt = ["a", { prompt_string: "b", multimodal_data: ["AAAA"] }];
  const demandOf = (more: object) => ask("/completions", { model: "m", ...more }).demand;
  expect(demandOf({ prompt }).unbounded).toEqual(["prompt_parts"]);
  expect(demandOf({ prompt: "a", prompt_embeds: "AAAA" }).unbounded).toEqual(["embeds"]);
  expect(demandOf({ prompt: [[1, 2], "a"] }).unbounded).toEqual([]);
});
