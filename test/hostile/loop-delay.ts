/**
 * How long one request holds the gateway's event loop, by the size and shape of its body. Run by hand:
 * `node test/hostile/loop-delay.ts [rounds]`. It asserts nothing: on a busy machine the scheduler is
 * measured too, so the least of several rounds says what the request itself costs.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { startSink } from "./sink.ts";

const ROUNDS = Number(process.argv[2] ?? 5);
const MODEL = "m";
/** What comes behind an answer: the count of tokens, the settlement. */
const BEHIND_MS = 300;
const MB = 1024 * 1024;

type Case = {
  readonly name: string;
  readonly body: () => Buffer;
  /** What the upstream leaves out, so that tokens are counted here. */
  readonly without?: "usage";
};

const prompt = (content: string): object => ({
  model: MODEL,
  messages: [{ role: "user", content }],
});
const json = (body: object): Buffer => Buffer.from(JSON.stringify(body));
const filled = (bytes: number, text: string): string => text.repeat(bytes / text.length);

/** Deeper than is read, and as wide as fits: refused, but only once it was walked. */
const nested = (bytes: number): Buffer => {
  const depth = bytes / 2;
  return Buffer.from(`{"model":"m","messages":${"[".repeat(depth)}${"]".repeat(depth)}}`);
};

const CASES: readonly Case[] = [
  { name: "nothing", body: () => json(prompt("hi")) },
  ...["a", " ", "\n", "👋"].flatMap((text): Case[] => [
    { name: `100 KB of ${JSON.stringify(text)}`, body: () => json(prompt(filled(102_400, text))) },
    {
      name: `100 KB of ${JSON.stringify(text)}, no usage`,
      body: () => json(prompt(filled(102_400, text))),
      without: "usage",
    },
  ]),
  ...[1, 4, 16, 50].flatMap((megabytes): Case[] => [
    {
      name: `${megabytes} MB in one string`,
      body: () => json(prompt(filled(megabytes * MB, "the quick ").slice(0, megabytes * MB))),
    },
    {
      name: `${megabytes} MB in one string, no usage`,
      body: () => json(prompt(filled(megabytes * MB, "a"))),
      without: "usage",
    },
    {
      name: `${megabytes} MB of small messages`,
      body: () =>
        json({
          model: MODEL,
          messages: Array.from({ length: (megabytes * MB) / 34 }, () => ({
            role: "user",
            content: "hi",
          })),
        }),
    },
    {
      name: `${megabytes} MB of numbers`,
      body: () =>
        json({ model: MODEL, input: Array.from({ length: (megabytes * MB) / 2 }, () => 1) }),
    },
    { name: `${megabytes} MB of brackets`, body: () => nested(megabytes * MB) },
    {
      name: `${megabytes} MB of members`,
      body: () =>
        Buffer.from(
          `{"model":"m","messages":[],${Array.from({ length: (megabytes * MB) / 14 }, (_, at) => `"m${String(at).padStart(8, "0")}":1`).join()}}`,
        ),
    },
    { name: `${megabytes} MB that is no JSON`, body: () => Buffer.alloc(megabytes * MB, "{") },
    {
      name: `${megabytes} MB of escapes`,
      body: () => json(prompt(filled((megabytes * MB) / 6, "\u0001"))),
    },
  ]),
];

const sink = await startSink(MODEL);
const directory = await mkdtemp(join(tmpdir(), "tollgate-loop-"));
await writeFile(join(directory, "tollgate.yaml"), yaml(sink.url));
const child = spawn(process.execPath, [join(import.meta.dirname, "loop-child.ts")], {
  stdio: ["ignore", "inherit", "inherit", "ipc"],
  env: {
    PATH: process.env["PATH"],
    PORT: "0",
    LOG_LEVEL: "warn",
    TOLLGATE_CONFIG: join(directory, "tollgate.yaml"),
    TOLLGATE_DATA: join(directory, "data"),
  },
});
try {
  const { url, key } = (await told()) as { readonly url: string; readonly key: string };
  await measure(`${url}/v1`, key, CASES[0]!);
  process.stdout.write("| body | status | loop held, least of rounds | median | answer |\n");
  process.stdout.write("| --- | --- | --- | --- | --- |\n");
  // What the figures would look like if the loop were held: the check itself must be able to fail.
  await begin();
  child.send({ blockMs: 60 });
  await told();
  await sleep(BEHIND_MS);
  child.send("end");
  const { maxMs: control } = (await told()) as { readonly maxMs: number };
  process.stdout.write(
    `| control: held for 60 ms on purpose | - | ${control.toFixed(1)} ms | | |\n`,
  );
  for (const each of CASES) {
    const found = [];
    for (let round = 0; round < ROUNDS; round += 1)
      found.push(await measure(`${url}/v1`, key, each));
    const held = found.map(({ heldMs }) => heldMs).toSorted((a, b) => a - b);
    const took = found.map(({ tookMs }) => tookMs).toSorted((a, b) => a - b);
    const cells = [
      each.name,
      found[0]!.status,
      `${held[0]!.toFixed(1)} ms`,
      `${held[Math.floor(held.length / 2)]!.toFixed(1)} ms`,
      `${took[Math.floor(took.length / 2)]!.toFixed(0)} ms`,
    ];
    process.stdout.write(`| ${cells.join(" | ")} |\n`);
  }
} finally {
  child.kill("SIGKILL");
  await once(child, "exit");
  await sink.close();
  await rm(directory, { recursive: true, force: true });
}

/** The histogram needs a tick of its own before the first delay that it can see. */
async function begin(): Promise<void> {
  child.send("begin");
  await told();
  await sleep(20);
}

async function told(): Promise<unknown> {
  const [message] = (await once(child, "message")) as [unknown];
  return message;
}

async function measure(
  base: string,
  key: string,
  { body, without }: Case,
): Promise<{ readonly status: number; readonly heldMs: number; readonly tookMs: number }> {
  const bytes = body();
  await begin();
  const startedMs = performance.now();
  const path = bytes.includes('"input"', 0) ? "/embeddings" : "/chat/completions";
  const answer = await fetch(base + path, {
    method: "POST",
    headers: {
      authorization: `Bearer ${key}`,
      "content-type": "application/json",
      ...(without === undefined ? {} : { "x-without": without }),
    },
    body: new Uint8Array(bytes),
  });
  await answer.arrayBuffer();
  const tookMs = performance.now() - startedMs;
  await sleep(BEHIND_MS);
  child.send("end");
  const { maxMs } = (await told()) as { readonly maxMs: number };
  return { status: answer.status, heldMs: maxMs, tookMs };
}

function yaml(upstream: string): string {
  return `upstreams:
  - { name: up, kind: openai, base_url: "${upstream}", api_key: sk-loop, models: ["*"] }
prices:
  - { upstream: up, model: ${MODEL}, input: 0.01, output: 0.01, output_tokens_max: 1000 }
`;
}
