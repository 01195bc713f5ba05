import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { resetClock, shiftClock } from "../support/clock.ts";
import { describeOnPostgres } from "../support/databases.ts";
import { startTollgate, type Tollgate } from "../support/tollgate.ts";
import {
  fill,
  HOSTILE,
  HOSTILE_IMAGE,
  HOSTILE_NAMES,
  PRICES,
  SERVERS,
  type Alive,
} from "./alive.ts";
import { signIn, startBrowser } from "./browser.ts";

/** Every page of the console in a real Chromium, on a whole Tollgate with real calls in it. */

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

const SIZES = {
  desktop: { width: 1_280, height: 800 },
  phone: { width: 390, height: 844 },
} as const;

const PAGES: Readonly<Record<string, (alive: Alive) => string>> = {
  overview: () => "",
  outcomes: () => "/outcomes?period=90_days",
  "outcomes of a type": () => "/outcomes?period=90_days&type=ticket_resolved&by=day&cut=workflow",
  "outcomes of last month": () => "/outcomes?period=last_month",
  runs: () => "/runs",
  "a run": ({ runs }) => `/runs/${runs.busy}`,
  "a run of an agent": () => "/runs/agent-3",
  "a run of an odd name": ({ runs }) => `/runs/${encodeURIComponent(runs.odd)}`,
  decisions: () => "/decisions",
  "a refused decision": ({ refusedDecision }) => `/decisions/${refusedDecision}`,
  budgets: () => "/budgets",
  "a budget": ({ limitId }) => `/budgets/${limitId}`,
  approvals: () => "/approvals?state=all",
  "an approval": ({ approvalId }) => `/approvals/${approvalId}`,
  policies: () => "/policies",
  "a bundle": () => "/policies/active",
  backtest: () => "/policies/backtest",
  tools: () => "/tools",
  "a changed tool": () => "/tools/pay%2Fwire",
  "a tool that nobody approved": () => "/tools/pay%2Fbalance",
  "a tool of the callers' own": () => "/tools/search",
  keys: () => "/keys",
  "a key": ({ appId }) => `/keys/${appId}`,
  prices: () => "/prices?search=gpt-5-mini",
  webhooks: () => "/webhooks",
  "what is not there": () => "/runs/nobody-ever-named-this",
};

describeOnPostgres("the console", (database) => {
  let tollgate: Tollgate;
  let alive: Alive;
  let browser: Browser;
  let pages: Readonly<Record<keyof typeof SIZES, Page>>;
  const logged: string[] = [];

  beforeAll(async () => {
    tollgate = await startTollgate({ database, prices: PRICES, mcpServers: SERVERS });
    alive = await fill(tollgate, `acme ${HOSTILE_IMAGE}`, { days: 2, names: HOSTILE_NAMES });
    browser = await startBrowser();
    const open = async (viewport: (typeof SIZES)["phone" | "desktop"]) => {
      const as = { url: tollgate.url, key: alive.admin, options: { viewport } };
      const page = await signIn(browser, as);
      page.on("console", (message) => logged.push(message.text()));
      page.on("dialog", (dialog) => {
        logged.push(`dialog: ${dialog.message()}`);
        void dialog.dismiss();
      });
      return page;
    };
    pages = { desktop: await open(SIZES.desktop), phone: await open(SIZES.phone) };
  });
  afterAll(async () => {
    await browser?.close();
    await tollgate?.close();
  });

  const rows = Object.entries(PAGES).flatMap(([name, pathOf]) =>
    (["desktop", "phone"] as const).map((size) => ({ name, pathOf, size })),
  );

  test.each(rows)(
    "$name fits a $size, is clean by axe in light and dark, and runs nothing",
    async (row) => {
      const page = pages[row.size];
      const isMissing = row.name === "what is not there";
      logged.length = 0;
      const response = await page.goto(`${tollgate.url}/console${row.pathOf(alive)}`);
      const headers = response?.headers() ?? {};
      expect(response?.status()).toBe(isMissing ? 404 : 200);
      expect(headers["content-security-policy"]).toBe(
        "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
      );
      expect(headers["cache-control"]).toBe("no-store");
      expect(await page.evaluate("document.documentElement.scrollWidth - innerWidth")).toBe(0);
      expect(await page.locator("main h1").count()).toBe(1);
      expect(await page.locator("script, img, [style], [onclick], [onerror]").count()).toBe(0);
      for (const colorScheme of ["light", "dark"] as const) {
        await page.emulateMedia({ colorScheme });
        expect(await violations(page), colorScheme).toEqual([]);
      }
      expect(logged.filter((text) => !isMissing || !text.includes("404"))).toEqual([]);
    },
  );

  test("signing in is clean by axe, and says what is wrong with a key", async () => {
    const page = await (await browser.newContext({ viewport: SIZES.phone })).newPage();
    await page.goto(`${tollgate.url}/console/sign-in`);
    expect(await violations(page)).toEqual([]);
    await page.fill("input[name=key]", "tg_live_none");
    await page.click("button[type=submit]");
    expect(await page.locator("[role=alert]").innerText()).not.toBe("");
    expect(await violations(page)).toEqual([]);
    await page.context().close();
  });

  test("what somebody wrote is shown as text", async () => {
    const page = pages.desktop;
    const texts: Readonly<Record<string, string>> = {
      [`/runs/${encodeURIComponent(HOSTILE)}`]: HOSTILE,
      "/runs/nightly-report": HOSTILE_IMAGE,
      "/keys": HOSTILE_IMAGE,
      "/policies": HOSTILE_IMAGE,
      "/tools/pay%2Fwire": HOSTILE,
      "/tools/pay%2Fbalance": JSON.stringify(`Of ${HOSTILE_IMAGE}`),
      [`/approvals/${alive.approvalId}`]: HOSTILE,
    };
    for (const [path, text] of Object.entries(texts)) {
      await page.goto(`${tollgate.url}/console${path}`);
      expect(await page.locator("main").innerText(), path).toContain(text);
    }
    expect(await page.title()).toContain(HOSTILE_IMAGE);
  });

  test("a run shows what its model asked for, who took it up, and leads from one to the other", async () => {
    const page = pages.desktop;
    await page.goto(`${tollgate.url}/console/runs/agent-3`);
    const attempts = page.locator(".attempt");
    expect(await attempts.locator(".what").allInnerTexts()).toEqual([
      expect.stringMatching(/^demo\/chat/),
      expect.stringMatching(/^weather\/get_weather/),
      expect.stringMatching(/^weather\/get_weather/),
      expect.stringMatching(/^demo\/chat/),
    ]);
    const [asked, failed, again, unheard] = await attempts.locator(".which").allInnerTexts();
    expect(asked).toMatch(/asks for get_weather call_\S+ *: *taken up/);
    expect(failed).toMatch(/asked for by a model call_/);
    expect(again).toMatch(/attempt 2.*asked for by a model call_/s);
    expect(unheard).toMatch(/asks for book_flight call_\S+ *: *not taken up/);
    await attempts.nth(0).getByRole("link", { name: "taken up" }).click();
    expect(await page.locator("h1").innerText()).toContain("weather/get_weather");
    expect(await page.locator(".why").innerText()).toContain("A model had asked for it");
  });

  test("the overview shows what each tool cost, and what of it was wasted", async () => {
    const page = pages.desktop;
    await page.goto(`${tollgate.url}/console`);
    const card = page.locator(".card", { has: page.getByRole("heading", { name: "By tool" }) });
    const [tool] = await card.locator("tbody tr").allInnerTexts();
    expect(tool?.split(/\s+/)).toEqual([
      "weather/get_weather",
      "2",
      "1",
      "0",
      "1",
      expect.stringMatching(/^\$0\.00/),
      expect.stringMatching(/^\$0/),
    ]);
  });

  test("the overview says what called no model, in words", async () => {
    const page = pages.desktop;
    await page.goto(`${tollgate.url}/console`);
    const card = page.locator(".card", { has: page.getByRole("heading", { name: "By model" }) });
    const text = await card.innerText();
    expect(text).toContain("calls of tools");
    expect(text).not.toContain("execute_tool");
  });

  test("the overview says how fast is spent, and where each budget will be at its end", async () => {
    const page = pages.desktop;
    await page.goto(`${tollgate.url}/console`);
    const tile = page.locator(".tiles li", { hasText: "Spent today" });
    expect(await tile.innerText()).toMatch(/\$[\d.]+ a day in the 7 before; \d+ refused today/u);
    const card = page.locator(".card", { has: page.getByRole("heading", { name: "Budgets" }) });
    const budgets = await card.locator("li").allInnerTexts();
    expect(budgets.join("\n")).toMatch(/At this pace .+\./u);
    for (const each of budgets.filter((text) => text.includes("Counts each apart"))) {
      expect(each).not.toContain("At this pace");
    }
  });

  test("the page of outcomes says whether its period agrees with the providers' invoices", async () => {
    const page = pages.desktop;
    const main = page.locator("main");
    await page.goto(`${tollgate.url}/console/outcomes?period=90_days`);
    expect(await main.innerText()).toContain("No provider's invoice was compared with this period");
    const day = (ago: number) => new Date(Date.now() - ago * 86_400_000).toISOString().slice(0, 10);
    const invoice = { upstream: "elsewhere", provider: "openai", states: ["cost_usd"] };
    const line = { day: day(3), model: "gpt-5", cost_usd: "1.00" };
    const body = { ...invoice, from: day(5), to: day(2), lines: [line] };
    await alive.call(alive.admin, "POST", "/api/reports/reconciliation", { body });
    await page.reload();
    expect(await main.innerText()).toContain(
      "Invoices: elsewhere differs on 1 day (87 days not compared).",
    );
  });

  test("the cost of an outcome leads to its type, to what drives it, and down to a run", async () => {
    const page = pages.desktop;
    await page.goto(`${tollgate.url}/console/outcomes?period=90_days`);
    const main = page.locator("main");
    expect(await main.innerText()).toMatch(/per success[^]*Margin[^]*By week as CSV/u);
    await main.getByRole("link", { name: "ticket_resolved" }).click();
    await main.getByRole("link", { name: "By workflow", exact: true }).click();
    await page.waitForURL(/cut=workflow/u);
    expect(await main.locator("table.bars").innerText()).toMatch(/support\s+\$[\d.]+ · 100 %/u);
    const download = page.waitForEvent("download");
    await main.getByRole("link", { name: "All types as CSV" }).click();
    expect((await download).suggestedFilename()).toBe("cost-per-outcome.csv");
    await main
      .getByRole("link", { name: /^ticket-\d+$/u })
      .first()
      .click();
    await page.waitForURL(/\/console\/runs\/ticket-\d+$/u);
  });

  test("what became of a run stands on its page", async () => {
    const page = pages.desktop;
    await page.goto(`${tollgate.url}/console/outcomes?period=90_days`);
    const run = page.getByRole("link", { name: /^ticket-\d+$/u }).first();
    const row = page.locator("tr", { has: run });
    const status = await row.locator(".badge").first().innerText();
    await run.click();
    await page.waitForURL(/\/console\/runs\/ticket-\d+$/u);
    const facts = await page.locator("dl.facts").first().innerText();
    expect(facts).toContain(`ticket_resolved ${status}`);
    expect(facts).not.toContain("Adjusted");
    const name = decodeURIComponent(page.url().replace(/^.*\//u, ""));
    const body = { amount_usd: "-0.25", reason: "credit note", run: name };
    await alive.call(alive.admin, "POST", "/api/adjustments", { body });
    await page.reload();
    expect(await page.locator("dl.facts").first().innerText()).toMatch(/Adjusted\s+−\$0\.25/u);
  });

  test("a limit that is younger than its window says since when it counts", async () => {
    const page = pages.desktop;
    const month = { scope: { kind: "tenant" }, unit: "usd", window: "month", limit: "99" };
    const body = { ...month, mode: "shadow" };
    const limit = await alive.call(alive.admin, "POST", "/api/limits", { body });
    await page.goto(`${tollgate.url}/console/budgets/${String(limit["id"])}`);
    expect(await page.locator("main").innerText()).toMatch(/Counts since it was set, .+\./u);
  });

  test("a quota has one forecast, beside what each of its runs may take", async () => {
    const report = await alive.call(alive.admin, "GET", "/api/reports/budgets");
    const rows = report["rows"];
    if (!Array.isArray(rows)) throw new Error("the report of budgets has no rows");
    const ids = rows.map((row: { limit_id: string }) => row.limit_id);
    expect(ids.length).toBeGreaterThan(2);
    expect(new Set(ids).size).toBe(ids.length);
  });

  test("a word of any length stays in its place on a phone, wherever somebody may write it", async () => {
    const page = pages.phone;
    for (const path of [
      "",
      `/approvals/${alive.approvalId}`,
      `/decisions/${alive.refusedDecision}`,
    ]) {
      await page.goto(`${tollgate.url}/console${path}`);
      await page.evaluate(`for (const at of document.querySelectorAll(
        "main h1, main h2, main p, main li, main dd, main .reasons strong, main td > :not(svg)"
      )) if (at.childElementCount === 0 && !at.matches(".badge, .number, .number *")) at.textContent = "W".repeat(400)`);
      expect(await page.evaluate("document.documentElement.scrollWidth - innerWidth"), path).toBe(
        0,
      );
    }
  });

  test("an approver's page leads nowhere that the approver may not go", async () => {
    const at = { url: tollgate.url, key: alive.approver };
    const page = await signIn(browser, at);
    for (const path of ["/approvals", `/approvals/${alive.approvalId}`]) {
      await page.goto(`${tollgate.url}/console${path}`);
      const links = await page.evaluate<string[]>(
        '[...document.querySelectorAll("main a")].map(String)',
      );
      expect(links.length).toBeGreaterThan(0);
      for (const link of links) expect((await page.request.get(link)).status(), link).toBe(200);
    }
    await page.context().close();
  });

  test("paper holds all of a record, and nothing that is to be clicked", async () => {
    const page = pages.desktop;
    await page.goto(`${tollgate.url}/console/decisions/${alive.refusedDecision}`);
    await page.locator("summary", { hasText: "The record" }).click();
    const hidden = `(() => { const at = document.querySelector("pre"); return at.scrollHeight - at.clientHeight; })()`;
    expect(await page.evaluate(hidden)).toBeGreaterThan(0);
    // As wide as a sheet of A4 within its margins.
    await page.setViewportSize({ width: 718, height: 1_000 });
    await page.emulateMedia({ media: "print" });
    expect(await page.evaluate(hidden)).toBe(0);
    expect(await page.locator("nav.side, .top button").filter({ visible: true }).count()).toBe(0);
    await page.goto(`${tollgate.url}/console/decisions`);
    expect(await page.locator("thead").isVisible()).toBe(true);
    await page.emulateMedia({ media: null });
    await page.setViewportSize(SIZES.desktop);
  });

  test("every page is reached by keyboard alone, and where one is is seen", async () => {
    const page = pages.desktop;
    await page.goto(`${tollgate.url}/console`);
    await page.keyboard.press("Tab");
    expect(await page.locator(":focus").innerText()).toBe("Skip to the content");
    await page.keyboard.press("Enter");
    expect(await page.evaluate("document.activeElement.id")).toBe("main");
    await page.goto(`${tollgate.url}/console`);
    const stops: string[] = [];
    for (let stop = 0; stop < 16; stop += 1) {
      await page.keyboard.press("Tab");
      const { text, outline } = await page.evaluate<{ text: string; outline: string }>(
        `({ text: document.activeElement.innerText.trim(), outline: getComputedStyle(document.activeElement).outlineStyle })`,
      );
      expect(outline, text).toBe("solid");
      stops.push(text);
    }
    const links = await page.locator("nav.side a").allInnerTexts();
    expect(links.length).toBeGreaterThan(8);
    expect(stops).toEqual(expect.arrayContaining(links));
    await page.locator("nav.side a", { hasText: "Budgets" }).focus();
    await page.keyboard.press("Enter");
    await page.waitForURL(/\/console\/budgets$/u);
  });

  test("a closed month is told apart by what its copies hold, and nothing else is offered", async () => {
    const today = new Date();
    const dayOf = (month: number, day: number) =>
      new Date(Date.UTC(today.getUTCFullYear(), today.getUTCMonth() + month, day)).toISOString();
    // A period is closed an hour after its end at the earliest: also where today is the first of a month.
    await shiftClock(tollgate.db, 2 * 3_600_000);
    try {
      const told = { type: "ticket_resolved", status: "success", key: "of last month" };
      const run = `/api/runs/${encodeURIComponent(alive.runs.busy)}/outcome`;
      const outcome = { ...told, occurred_at: dayOf(-1, 15) };
      await alive.call(alive.admin, "POST", run, { body: outcome });
      const month = { from: dayOf(-1, 1), to: dayOf(0, 1) };
      await alive.call(alive.admin, "POST", "/api/closings", { body: month });
      const page = await signIn(browser, { url: tollgate.url, key: alive.admin });
      await page.goto(`${tollgate.url}/console/outcomes?period=last_month&cut=model`);
      const main = page.locator("main");
      expect(await main.innerText()).toContain("the period is closed");
      expect(await main.locator("nav[aria-label=Drivers] a").allInnerTexts()).toEqual([
        "By workflow",
        "By customer",
      ]);
      expect(await main.locator("table.bars").innerText()).toMatch(
        /no workflow\s+\$[\d.]+ · 100 %/u,
      );
      expect(await main.locator("[role=alert]").count()).toBe(0);
      await page.context().close();
    } finally {
      await resetClock(tollgate.db);
    }
  });
});

/** What axe finds, by rule and element, short enough to be read. */
async function violations(page: Page): Promise<readonly string[]> {
  await page.evaluate(AXE);
  return await page.evaluate(`axe.run(document, {
    runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
  }).then(({ violations }) => violations.flatMap(({ id, nodes }) =>
    nodes.map(({ html, failureSummary }) => id + ": " + html.slice(0, 200) + " " + failureSummary.slice(0, 300))))`);
}
