// What a user does in a real browser (Debian's Chromium): logs in through two pages, works on while the tokens are refreshed, logs out,
// logs in again, and ends the session at the provider.

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { delimiter, join } from "node:path";

import { chromium } from "playwright-core";

const [origin, issuer] = process.argv.slice(2);
const executablePath = process.env.PATH.split(delimiter)
  .map((folder) => join(folder, "chromium"))
  .find((file) => existsSync(file));
const browser = await chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"] });
const context = await browser.newContext({ ignoreHTTPSErrors: true });
// The provider's pages have a font from elsewhere, which is not needed.
await context.route((url) => !url.href.startsWith(origin) && !url.href.startsWith(issuer), (route) => route.abort());
context.setDefaultTimeout(90_000);
context.setDefaultNavigationTimeout(90_000);
const page = await context.newPage();

const open = (page, path) => page.goto(`${origin}${path}`, { waitUntil: "domcontentloaded" });
const headers = async (page) => JSON.parse(await page.evaluate(() => document.body.innerText)).headers;
const user = async (page) => (await headers(page)).find(([name]) => name === "x-user")?.[1];
// A request with the browser's cookies that is no navigation.
const status = async () => (await context.request.get(`${origin}/api`, { maxRedirects: 0 })).status();

async function login(path) {
  await open(page, path);
  await page.fill("input[name=login]", "anna");
  await page.fill("input[name=password]", "x");
  await page.click("button[type=submit]");
  await page.waitForSelector("input[name=prompt][value=consent]", { state: "attached" });
  await page.click("button[type=submit]");
  await page.waitForURL(`${origin}${path}`, { waitUntil: "domcontentloaded" });
  assert.equal(await user(page), "anna");
}

try {
  await login("/orders?page=2");
  const session = async () => (await context.cookies(origin)).find(({ name }) => name === "__Host-oidc");
  const cookie = await session();
  assert.deepEqual(
    { name: cookie.name, httpOnly: cookie.httpOnly, secure: cookie.secure, sameSite: cookie.sameSite, path: cookie.path },
    { name: "__Host-oidc", httpOnly: true, secure: true, sameSite: "Lax", path: "/" },
  );
  assert.equal(await page.evaluate(() => document.cookie), "", "scripts do not see it");

  // Another tab needs no login, and requests of scripts pass.
  const tab = await context.newPage();
  await open(tab, "/other");
  assert.equal(await user(tab), "anna");
  assert.equal(await tab.evaluate(async () => (await fetch("/api")).status), 200);
  await tab.close();

  // The tokens are refreshed while the page works on.
  for (;;) {
    assert.equal(await status(), 200);
    const now = await session();
    if (now.value !== cookie.value) break;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }

  // By the user.
  await open(page, "/oidc/logout");
  await page.click("button[value=yes]");
  await page.waitForURL(`${origin}/oidc/logged-out`, { waitUntil: "domcontentloaded" });
  assert.equal(await status(), 401);
  assert.equal((await context.cookies(origin)).length, 0);

  // By the provider: it tells the gateway itself.
  await login("/again");
  const provider = await context.newPage();
  await provider.goto(`${issuer}/session/end`, { waitUntil: "domcontentloaded" });
  await provider.click("button[value=yes]");
  for (;;) {
    const found = await status();
    if (found === 401) break;
    assert.equal(found, 200);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  console.log("done");
} finally {
  await browser.close();
}
