/**
 * Pictures of every page for the documents: `npm run screenshots`. A whole Tollgate on an embedded database,
 * three weeks of real calls on the demo's models, and each page as a desktop and a phone show it. They are looked at
 * before they are taken into the repository.
 */
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Page } from "playwright-core";
import { openEmbedded } from "../../src/entry/pglite.ts";
import { migrate } from "../../src/store/migrate.ts";
import { startReceiver } from "../support/receiver.ts";
import { startTollgate, type Tollgate } from "../support/tollgate.ts";
import { fill, PLAIN_NAMES, PRICES, SERVERS, type Alive } from "./alive.ts";
import { signIn, startBrowser } from "./browser.ts";
import { palettePng, type Pixels } from "./palette-png.ts";

const FOLDER = join(import.meta.dirname, "..", "..", "docs", "console");

/** All of them together stay small enough for a repository. */
const PICTURE_BYTES_MAX = 60 * 1024;

const DAYS = 21;

const LOOKS = {
  desktop: { width: 1_280, height: 900 },
  phone: { width: 390, height: 844 },
} as const;

const pathsOf = (alive: Alive): Readonly<Record<string, string>> => ({
  overview: "",
  outcomes: "/outcomes?period=90_days&by=day",
  runs: "/runs",
  run: `/runs/${alive.runs.busy}`,
  "run-tools": "/runs/agent-3",
  decision: `/decisions/${alive.refusedDecision}`,
  budgets: "/budgets",
  approval: `/approvals/${alive.approvalId}`,
  policies: "/policies",
  backtest: "/policies/backtest",
  tools: "/tools",
  tool: "/tools/pay%2Fwire",
  keys: "/keys",
  prices: "/prices?search=openai/gpt-5",
  webhooks: "/webhooks",
});

async function main(): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), "tollgate-screenshots-"));
  const embedded = await openEmbedded(directory);
  try {
    await migrate(embedded.address);
    const receiver = await startReceiver();
    const terms = { prices: PRICES, mcpServers: SERVERS, allowsPrivateWebhooks: true };
    const tollgate = await startTollgate({ database: embedded, ...terms });
    try {
      const story = { days: DAYS, names: PLAIN_NAMES, webhook: `${receiver.url}/hooks/tollgate` };
      await picture(tollgate, await fill(tollgate, "acme", story));
    } finally {
      await tollgate.close();
      await receiver.close();
    }
  } finally {
    await embedded.close();
    await rm(directory, { recursive: true, force: true });
  }
}

async function picture(tollgate: Tollgate, alive: Alive): Promise<void> {
  await mkdir(FOLDER, { recursive: true });
  const browser = await startBrowser();
  try {
    const canvas = await browser.newPage();
    for (const [look, viewport] of Object.entries(LOOKS)) {
      const at = { url: tollgate.url, key: alive.admin, options: { viewport } };
      const page = await signIn(browser, at);
      for (const [name, path] of Object.entries(pathsOf(alive))) {
        await page.goto(`${tollgate.url}/console${path}`);
        const bytes = palettePng(await pixelsOf(canvas, await page.screenshot()));
        if (bytes.byteLength > PICTURE_BYTES_MAX) throw new Error(`${name} is too large`);
        const file = `${name}-${look}.png`;
        await writeFile(join(FOLDER, file), bytes);
        process.stdout.write(`${file}: ${Math.ceil(bytes.byteLength / 1024)} KiB\n`);
      }
    }
  } finally {
    await browser.close();
  }
}

/** Its pixels as a canvas reads them. */
async function pixelsOf(canvas: Page, png: Buffer): Promise<Pixels> {
  const { width, height, data } = await canvas.evaluate<Drawn>(`(async () => {
    const image = new Image();
    image.src = "data:image/png;base64,${png.toString("base64")}";
    await image.decode();
    const { width, height } = image;
    const drawing = new OffscreenCanvas(width, height).getContext("2d");
    drawing.drawImage(image, 0, 0);
    const reader = new FileReader();
    const read = new Promise((done) => { reader.onload = () => done(reader.result); });
    reader.readAsDataURL(new Blob([drawing.getImageData(0, 0, width, height).data]));
    return { width, height, data: await read };
  })()`);
  return { width, height, rgba: Buffer.from(data.slice(data.indexOf(",") + 1), "base64") };
}

type Drawn = { readonly width: number; readonly height: number; readonly data: string };

await main();
