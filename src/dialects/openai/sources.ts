/**
 * The images, recordings and films of a part, and what of them nothing bounds. An image has a largest number of
 * tokens wherever it comes from. A recording has as many as it is long: its own bytes bound them, an address
 * does not, nor does the name of one that the server has kept. A film is bounded by nothing.
 */
import { isRecord } from "../../lib/json.ts";
import { fold } from "./members.ts";
import type { Parts } from "./parts.ts";

type Part = Readonly<Record<string, unknown>>;

const IMAGE_TYPES: Readonly<Record<string, true>> = {
  image: true,
  image_url: true,
  image_file: true,
  input_image: true,
  computer_screenshot: true,
  image_generation_call: true,
};

const AUDIO_TYPES: Readonly<Record<string, true>> = {
  input_audio: true,
  audio_url: true,
  audio: true,
};

const VIDEO_TYPES: Readonly<Record<string, true>> = {
  video_url: true,
  input_video: true,
  video: true,
};

const IMAGE_MEMBERS = ["image_url", "input_image", "image"];
const AUDIO_MEMBERS = ["input_audio", "audio_url"];
const VIDEO_MEMBERS = ["video_url", "input_video"];

/** Made of what was read somewhere else: how many tokens stand for, only who unpacks them knows. */
const EMBEDS = ["image_embeds", "audio_embeds", "prompt_embeds"];

/** Of an address or base64, enough to tell them apart: a scheme, and a media type, are shorter. */
const HEAD_LENGTH = 256;

/** The longest name that could be read as `data`, with room for letters that fold into two. */
const FOLDED_LENGTH_MAX = 8;

const BASE64 = /^[A-Za-z0-9+/_=\s-]*$/;
const SCHEME = /^\s*[A-Za-z][A-Za-z0-9+.-]*:/;
const DATA = /^\s*data:\s*([^;,\s]*)/i;

export function noteSources(part: Part, type: string, parts: Parts): void {
  noteImages(part, type, parts);
  noteAudio(part, type, parts);
  const isVideo = Object.hasOwn(VIDEO_TYPES, type) || isAddress(part["video"]);
  if (isVideo || VIDEO_MEMBERS.some((name) => stands(part, name))) parts.unbounded.add("video");
  if (EMBEDS.some((name) => type === name || stands(part, name))) parts.unbounded.add("embeds");
}

export function isImage(type: string): boolean {
  return Object.hasOwn(IMAGE_TYPES, type);
}

function noteImages(part: Part, type: string, parts: Parts): void {
  let images = 0;
  for (const name of IMAGE_MEMBERS) {
    if (!stands(part, name)) continue;
    images += 1;
    const other = otherThanImage(part[name]);
    if (other !== null) parts.unbounded.add(other);
  }
  parts.images += isImage(type) && images === 0 ? 1 : images;
}

/** What stands where an image should, by the media type that it gives itself; null for an image, or an address. */
function otherThanImage(source: unknown): "audio" | "video" | "file" | null {
  if (!isRecord(source)) return typeof source === "string" ? otherMedia(source) : null;
  if (hasOtherCase(source)) return "file";
  return typeof source["url"] === "string" ? otherMedia(source["url"]) : null;
}

function otherMedia(text: string): "audio" | "video" | "file" | null {
  const media = mediaOf(text);
  if (media === null || media.startsWith("image/")) return null;
  if (media.startsWith("video/")) return "video";
  return media.startsWith("audio/") ? "audio" : "file";
}

function noteAudio(part: Part, type: string, parts: Parts): void {
  const sources = AUDIO_MEMBERS.filter((name) => stands(part, name)).map((name) => part[name]);
  if (Object.hasOwn(AUDIO_TYPES, type)) {
    const own = [part["audio"], part["data"], part["url"]];
    sources.push(...own.filter((source) => source !== undefined && source !== null));
    if (sources.length === 0) sources.push(null);
  } else if (isAddress(part["audio"]) || hasAddress(part["audio"])) {
    sources.push(part["audio"]);
  }
  if (sources.length === 0) return;
  parts.audioInput = true;
  // Bare base64 stands in no member for addresses: there it may be the name of a file.
  const address = part["audio_url"];
  const isNamed = stands(part, "audio_url") && !isDataAddress(address);
  if (isNamed || !sources.every(isSound)) parts.unbounded.add("audio");
}

/** Whether a recording stands there itself, so that its bytes bound how long it is. */
function isSound(source: unknown): boolean {
  if (typeof source === "string") return isSoundText(source);
  if (!isRecord(source) || hasOtherCase(source)) return false;
  const texts = [source["data"], source["url"]].filter((text) => text !== undefined);
  return texts.length > 0 && texts.every((text) => typeof text === "string" && isSoundText(text));
}

function isDataAddress(source: unknown): boolean {
  const url = isRecord(source) ? source["url"] : source;
  return typeof url === "string" && mediaOf(url) !== null;
}

/** Base64, bare or behind `data:audio/wav;base64,`; some clients leave the media type away. */
function isSoundText(text: string): boolean {
  const head = text.slice(0, HEAD_LENGTH);
  const media = mediaOf(text);
  if (media === null) return BASE64.test(head);
  const comma = head.indexOf(",");
  const isBase64 = comma >= 0 && head.slice(0, comma).toLowerCase().trimEnd().endsWith(";base64");
  return (
    isBase64 && (media === "" || media.startsWith("audio/")) && BASE64.test(head.slice(comma + 1))
  );
}

/** The media type of a `data:` address, in lower case and perhaps empty; null for anything else. */
function mediaOf(text: string): string | null {
  return DATA.exec(text.slice(0, HEAD_LENGTH))?.[1]?.toLowerCase() ?? null;
}

/** A source, or null beside a `uuid`: the server has it still, from an earlier call. */
function stands(part: Part, name: string): boolean {
  const value = part[name];
  if (value === null) return typeof part["uuid"] === "string" && part["uuid"] !== "";
  // An address, or an object that holds one: `image_url` is a string on one endpoint, an object on the other.
  return typeof value === "string" || isRecord(value);
}

function hasAddress(value: unknown): boolean {
  return isRecord(value) && isAddress(value["url"]);
}

function isAddress(value: unknown): boolean {
  return typeof value === "string" && SCHEME.test(value.slice(0, HEAD_LENGTH));
}

/** Some servers read `URL` for `url`, and then another source than is read here. */
function hasOtherCase(source: Part): boolean {
  for (const name in source) {
    if (name.length > FOLDED_LENGTH_MAX || name === "url" || name === "data") continue;
    const folded = fold(name);
    if (folded === "url" || folded === "data") return true;
  }
  return false;
}
