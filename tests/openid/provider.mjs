// A certified OpenID provider (npm `oidc-provider`) for the tests: it prints its address, reads the client's metadata as a line of
// JSON, and prints what happens.

import { createInterface } from "node:readline";
import { createServer } from "node:http";

import Provider from "oidc-provider";

const { lifetime } = JSON.parse(process.argv[2]);
// A gateway may ask for the metadata before the provider knows its client.
let handle = (_, response) => response.writeHead(503).end();
const server = createServer((request, response) => handle(request, response));
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
const issuer = `http://127.0.0.1:${server.address().port}`;
console.log(`at ${issuer}`);

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const { value: line } = await lines.next();
const provider = new Provider(issuer, {
  clients: [JSON.parse(line)],
  cookies: { keys: ["a key for tests"] },
  claims: { openid: ["sub", "sid"], email: ["email"] },
  conformIdTokenClaims: false,
  features: { backchannelLogout: { enabled: true } },
  // By default it calls no loopback address.
  fetch: (url, { dispatcher, ...options }) => fetch(url, options),
  findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id, email: `${id}@example.com` }) }),
  issueRefreshToken: () => true,
  rotateRefreshToken: true,
  ttl: { AccessToken: lifetime, IdToken: 3600, Grant: 3600, Interaction: 600, RefreshToken: 3600, Session: 3600 },
});
provider.on("grant.success", (context) => console.log(`granted ${context.oidc.params.grant_type}`));
provider.on("grant.error", (context, error) => console.log(`refused ${error.message} ${error.error_detail ?? ""}`));
provider.on("grant.revoked", () => console.log("revoked"));
provider.on("backchannel.success", () => console.log("told of a logout"));
provider.on("backchannel.error", (_, error) => console.log(`could not tell of a logout: ${error.stack} ${error.cause?.stack ?? ""}`));
provider.on("server_error", (_, error) => console.log(`failed ${error.stack}`));
const callback = provider.callback();
handle = callback;
console.log("ready");

// With the line `hold`, requests for tokens wait until the next line.
for await (const _ of lines) {
  let release;
  const released = new Promise((resolve) => (release = resolve));
  handle = async (request, response) => {
    if (request.url === "/token") {
      console.log("held");
      await released;
    }
    callback(request, response);
  };
  console.log("holding");
  await lines.next();
  handle = callback;
  release();
}
