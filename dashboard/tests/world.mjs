// A gateway of its own with services behind it, and a browser before it.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { createInterface } from "node:readline";

import { chromium } from "playwright-core";

const GATEWAY = process.env.GATEWAY ?? "target/debug/gateway";
/** Debian's, which is in `PATH`. */
const CHROMIUM = process.env.PATH.split(delimiter)
  .map((folder) => join(folder, "chromium"))
  .find((file) => existsSync(file));

/** A service that answers everything; `fail` makes it answer with that status. */
export async function service() {
  const state = { fail: 0 };
  const server = createServer((request, response) => {
    response.writeHead(request.url === "/healthz" ? 200 : state.fail || 200, { "content-type": "text/plain" });
    response.end("answered\n");
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address();
  return {
    state,
    address: `127.0.0.1:${port}`,
    kill: () => new Promise((resolve) => (server.closeAllConnections(), server.close(resolve))),
  };
}

/** A running gateway whose configuration is a file. */
export async function gateway(yaml, files = {}) {
  const folder = mkdtempSync(join(tmpdir(), "dashboard-"));
  const file = join(folder, "gateway.yaml");
  for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text);
  writeFileSync(file, yaml);
  const child = spawn(GATEWAY, ["run", "-c", "gateway.yaml"], { cwd: folder, stdio: ["ignore", "pipe", "pipe"] });
  let [listening, admin, said] = ["", "", ""];
  const told = new Promise((resolve, reject) => {
    child.once("exit", () => reject(new Error(`the gateway has ended: ${said}`)));
    for (const stream of [child.stdout, child.stderr]) {
      createInterface({ input: stream }).on("line", (line) => {
        said += `${line}\n`;
        listening ||= /listening on (127\.0\.0\.1:\d+)/i.exec(line)?.[1] ?? "";
        admin ||= /admin.* (127\.0\.0\.1:\d+)/i.exec(line)?.[1] ?? "";
        if (listening && admin) resolve();
      });
    }
  });
  await told;
  return {
    listening,
    admin: `http://${admin}`,
    configured: () => readFileSync(file, "utf8"),
    get: async (path) => (await fetch(`http://${listening}${path}`)).status,
    stop: async () => {
      child.kill("SIGKILL");
      await once(child, "exit");
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

let browser;

/** A page of the dashboard. What it must not do is remembered in `faults`. */
export async function open(admin, path = "", options = {}) {
  browser ??= await chromium.launch({ executablePath: CHROMIUM, args: ["--no-sandbox", "--disable-gpu"] });
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, bypassCSP: options.bypassCSP, ...options });
  const page = await context.newPage();
  // Beside all other tests, on a small machine.
  page.setDefaultTimeout(60_000);
  const faults = [];
  page.on("pageerror", (error) => faults.push(`error: ${error.message}`));
  page.on("console", (message) => {
    // What the API refuses is part of some tests, and the browser writes it down.
    if (message.type() === "error" && !/status of 4\d\d/.test(message.text())) faults.push(`console: ${message.text()}`);
  });
  page.on("request", (request) => {
    if (!request.url().startsWith(admin) && !request.url().startsWith("data:")) faults.push(`elsewhere: ${request.url()}`);
  });
  await page.goto(`${admin}/#/${path}`);
  return { page, faults, close: () => context.close() };
}

export async function closeBrowser() {
  await browser?.close();
}
