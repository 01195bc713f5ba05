import chromium from "@sparticuz/chromium";
import {
  chromium as playwright,
  type Browser,
  type BrowserContextOptions,
  type Page,
} from "playwright-core";

/**
 * Chromium as the npm package carries it, unpacked to the temporary folder at its first use: nothing is
 * downloaded, and the version is the lock file's.
 */
export async function startBrowser(): Promise<Browser> {
  return await playwright.launch({
    executablePath: await chromium.executablePath(),
    // Not the package's own: they switch web security off, and run all in one process.
    args: ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"],
    headless: true,
  });
}

/** A page of its own, signed in with this key. */
export async function signIn(
  browser: Browser,
  at: { readonly url: string; readonly key: string; readonly options?: BrowserContextOptions },
): Promise<Page> {
  const context = await browser.newContext(at.options ?? {});
  const page = await context.newPage();
  page.setDefaultTimeout(15_000);
  await page.goto(`${at.url}/console/sign-in`);
  await page.fill("input[name=key]", at.key);
  await page.click("button[type=submit]");
  await page.waitForURL(/\/console(?:\?|$)/u);
  return page;
}
