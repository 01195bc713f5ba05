import chromium from "@sparticuz/chromium";
import { chromium as playwright, type Browser } from "playwright-core";

/**
 * Chromium as the npm package carries it, unpacked to the temporary folder at its first use: nothing is
 * downloaded, and the version is the lock file's.
 */
export async function startBrowser(): Promise<Browser> {
  return await playwright.launch({
    executablePath: await chromium.executablePath(),
    args: [...chromium.args, "--disable-dev-shm-usage"],
    headless: true,
  });
}
