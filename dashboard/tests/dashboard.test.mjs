// The dashboard in a real Chromium, before a real gateway with services behind it.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { after, before, test } from "node:test";

import { closeBrowser, gateway, open, service } from "./world.mjs";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const PAGES = ["", "routes", "upstreams", "plugins", "requests", "configuration", "system"];
/** Where pictures go, if they are wanted. */
const PICTURES = process.env.PICTURES;

let it, services, traffic;

const yaml = (status = 410) => `listeners: [{ address: '127.0.0.1:0' }]
admin: { address: '127.0.0.1:0' }
upstreams:
  users:
    endpoints: ['http://${services[0].address}', 'http://${services[1].address}']
    health: { active: { path: /healthz, interval: 200ms, timeout: 200ms, unhealthy-after: 2, healthy-after: 1 } }
  orders:
    endpoints: ['http://${services[2].address}']
routes:
  - name: users
    match: { path: '/users/{id}' }
    plugins: [request-id, { name: rate-limit, config: { limit: 1000000, per: 1s } }, security-headers]
    upstream: users
  - name: orders
    match: { path: '/orders/{*rest}', methods: [GET, POST] }
    plugins: [security-headers]
    upstream: orders
  - name: gone
    match: { path: /gone }
    respond: { status: ${status} }
`;

before(async () => {
  services = await Promise.all([service(), service(), service()]);
  it = await gateway(yaml());
  let [on, n] = [true, 0];
  const going = (async () => {
    while (on) {
      n += 1;
      await Promise.all([it.get(`/users/${n % 50}?key=s3cret`), it.get("/orders/1"), n % 5 ? 0 : it.get("/gone"), n % 9 ? 0 : it.get("/nowhere")]);
      await new Promise((resolve) => setTimeout(resolve, 15));
    }
  })().catch(() => {});
  traffic = { stop: () => ((on = false), going) };
});

after(async () => {
  await traffic?.stop();
  await closeBrowser();
  await it?.stop();
  await Promise.all(services.map((one) => one.kill()));
});

const picture = async (page, name) => PICTURES && page.screenshot({ path: `${PICTURES}/${name}.png` });

test("every page shows what it is for, asks nobody else, and is fit for a screen reader in light and dark", async () => {
  const expected = {
    "": "Busiest routes",
    routes: "Explain a request",
    upstreams: services[0].address,
    plugins: "Time per plugin",
    requests: "/users/",
    configuration: "Revisions",
    system: "Audit log",
  };
  for (const scheme of ["light", "dark"]) {
    for (const path of PAGES) {
      const { page, faults, close } = await open(it.admin, path, { colorScheme: scheme, bypassCSP: true });
      await page.locator("main", { hasText: expected[path] }).waitFor();
      if (path === "") await page.locator("tbody th", { hasText: "users" }).waitFor();
      await page.addScriptTag({ content: AXE });
      const { violations, passes } = await page.evaluate(() => axe.run({ runOnly: ["wcag2a", "wcag2aa", "wcag21aa"] }));
      assert.ok(passes.length > 10, "it was looked at");
      const told = violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html).slice(0, 3)}`);
      assert.deepEqual(told, [], `${path} in ${scheme}`);
      assert.deepEqual(faults, [], `${path} in ${scheme}`);
      if (scheme === "light" || path === "") {
        // So that lines over time have something to show.
        if (PICTURES && path === "") await page.waitForTimeout(40_000);
        await picture(page, `${path || "overview"}${scheme === "dark" ? "-dark" : ""}`);
      }
      await close();
    }
  }
});

test("the page runs under its own policy, which allows nothing from elsewhere", async () => {
  const answer = await fetch(`${it.admin}/`);
  const policy = answer.headers.get("content-security-policy");
  assert.match(policy, /default-src 'none'/);
  assert.doesNotMatch(policy, /unsafe|https?:/);
  const { page, faults, close } = await open(it.admin, "upstreams");
  await page.getByText(services[0].address).first().waitFor();
  assert.deepEqual(faults, []);
  await close();
});

test("all of it is under 150 KB", async () => {
  const sizes = await Promise.all(["/", "/dashboard.js", "/dashboard.css"].map(async (path) => (await (await fetch(it.admin + path)).arrayBuffer()).byteLength));
  assert.ok(sizes.reduce((a, b) => a + b) < 150_000, `${sizes}`);
});

test("rates and latencies move under traffic", async () => {
  const { page, faults, close } = await open(it.admin);
  const requests = page.locator(".card", { hasText: "Requests" }).locator(".figure");
  await page.waitForFunction((card) => Number.parseFloat(card.textContent) > 1, await requests.elementHandle());
  const lines = page.locator(".chart path.first").first();
  const before = await lines.getAttribute("d");
  await page.waitForFunction(([line, old]) => line.getAttribute("d") !== old, [await lines.elementHandle(), before]);
  await page.locator("tbody tr", { hasText: "users" }).locator("td", { hasText: /[µm]s/ }).first().waitFor();
  assert.deepEqual(faults, []);
  await close();
});

test("requests are seen as they end, and by what one asks for", async () => {
  const { page, close } = await open(it.admin, "requests");
  await page.locator("tbody tr", { hasText: "/orders/1" }).first().waitFor();
  assert.ok(!(await page.locator("table").innerText()).includes("s3cret"));
  await page.getByLabel("Status or 5xx").fill("4xx");
  await page.getByRole("button", { name: "Clear" }).click();
  await page.locator("tbody tr", { hasText: "/gone" }).first().waitFor();
  await page.waitForFunction(() => [...document.querySelectorAll("tbody tr")].every((row) => /4\d\d/.test(row.textContent)));
  await page.getByRole("button", { name: "Pause" }).click();
  await page.getByRole("button", { name: "Clear" }).click();
  await page.getByText("Paused.").waitFor();
  await page.getByLabel("Status or 5xx").fill("many");
  await page.getByRole("button", { name: "Resume" }).click();
  await page.getByRole("alert").filter({ hasText: "a class such as" }).waitFor();
  await close();
});

test("a request is explained", async () => {
  const { page, close } = await open(it.admin, "routes");
  await page.getByText("Explain a request").click();
  await page.getByLabel("URL or path").fill("/users/7");
  await page.getByRole("button", { name: "Explain" }).click();
  await page.getByText("is answered by users through request-id → rate-limit → security-headers, to users.").waitFor();
  await page.getByLabel("Show routes with").fill("gone");
  await page.getByText("1 of 3").waitFor();
  await close();
});

test("an endpoint that is killed turns red, and one that is drained gets nothing", async () => {
  const { page, close } = await open(it.admin, "upstreams");
  const row = (address) => page.locator("tr", { hasText: address });
  await row(services[1].address).getByText("healthy", { exact: true }).waitFor();
  const drain = page.getByRole("button", { name: `Drain ${services[0].address}` });
  await drain.click();
  await row(services[0].address).getByText("drained").waitFor();
  await page.getByRole("button", { name: `Enable ${services[0].address}` }).click();
  await drain.waitFor();
  const weight = page.getByLabel(`Weight of ${services[0].address}`);
  await weight.fill("3");
  await weight.press("Enter");
  await page.getByRole("button", { name: "reset to 1" }).click();
  await page.getByRole("button", { name: "reset to 1" }).waitFor({ state: "detached" });

  await services[1].kill();
  const badge = row(services[1].address).locator(".badge.bad", { hasText: "unhealthy" });
  await badge.waitFor();
  const colour = await badge.evaluate((element) => getComputedStyle(element).color);
  const [red, green, blue] = colour.match(/\d+/g).map(Number);
  assert.ok(red > 2 * green && red > 2 * blue, colour);
  await picture(page, "endpoint-down");
  await close();
});

test("a bad configuration is shown at its line and not put in force, a good one is", async () => {
  const { page, close } = await open(it.admin, "configuration");
  const editor = page.getByLabel("Configuration in YAML");
  await page.getByText("This is the active configuration.").waitFor();
  assert.equal(await editor.inputValue(), yaml());
  await editor.fill(yaml().replace("respond:", "respnd:"));
  await page.locator(".problems").getByText("unknown key `respnd`; did you mean `respond`?").waitFor();
  const line = yaml().split("\n").findIndex((text) => text.includes("respond:")) + 1;
  assert.ok((await page.locator(".numbers .wrong").allInnerTexts()).includes(String(line)));
  assert.ok(await page.getByRole("button", { name: "Apply" }).isDisabled());
  await picture(page, "problems");
  assert.equal(await it.get("/gone"), 410);

  await editor.fill(yaml(451));
  await page.getByText("The configuration is valid.").waitFor();
  await page.getByRole("button", { name: "Apply" }).click();
  await page.getByText("is active, and in the file.").waitFor();
  assert.equal(await it.get("/gone"), 451);
  assert.equal(it.configured(), yaml(451));

  await page.locator("tr", { hasText: "active" }).locator("summary").click();
  await page.locator(".diff .added", { hasText: "451" }).waitFor();
  await page.getByRole("button", { name: "Roll back to 1" }).click();
  await page.getByText("Revision 3 is active, and in the file.").waitFor();
  assert.equal(await it.get("/gone"), 410);
  await close();
});

test("everything can be reached by the keyboard", async () => {
  const { page, close } = await open(it.admin);
  await page.locator("tbody th").first().waitFor();
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.textContent), "To the content");
  await page.keyboard.press("Enter");
  assert.equal(await page.evaluate(() => document.activeElement.id), "main");
  for (let press = 0; press < 40; press += 1) {
    await page.keyboard.press("Shift+Tab");
    if ((await page.evaluate(() => document.activeElement.textContent)) === "Upstreams") break;
  }
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "Upstreams", level: 2 }).waitFor();
  assert.equal(await page.evaluate(() => document.activeElement.id), "main", "the focus is where the new page is");
  await page.waitForFunction(() => document.title === "Upstreams · Gateway");
  await close();
});

test("who needs a token is asked for it, and it is kept in the tab alone", async () => {
  const guarded = await gateway(
    `listeners: [{ address: '127.0.0.1:0' }]
secrets: { token: { file: token } }
admin: { address: '127.0.0.1:0', access: [{ name: ops, token: token }] }
routes: [{ name: all, respond: { status: 204 } }]
`,
    { token: "a-token-of-an-operator\n" },
  );
  try {
    const { page, close } = await open(guarded.admin);
    await page.getByText("token required").waitFor();
    await page.getByLabel("Token").fill("not-the-right-token");
    await page.getByRole("button", { name: "Enter" }).click();
    await page.getByText("no token or certificate").waitFor();
    await page.getByLabel("Token").fill("a-token-of-an-operator");
    await page.getByLabel("Token").press("Enter");
    await page.getByText("serving").waitFor();
    assert.equal(await page.evaluate(() => localStorage.length), 0);
    // A reader may not change anything, and is told so.
    await page.goto(`${guarded.admin}/#/configuration`);
    const editor = page.getByLabel("Configuration in YAML");
    await page.getByText("This is the active configuration.").waitFor();
    await editor.fill((await editor.inputValue()).replace("204", "202"));
    await page.getByText("Not checked: `ops` has the role `read`, and this needs the role `full`.").waitFor();
    await page.getByRole("button", { name: "Apply" }).click();
    await page.getByText("Not applied: `ops` has the role `read`, and this needs the role `full`.").waitFor();
    await close();
  } finally {
    await guarded.stop();
  }
});
