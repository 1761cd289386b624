// Uses all that the SDK offers, as the cases want it.
import { type BodyDecision, type Chunk, type ChunkResult, GatewayError, type Message, type MessageResult, plugin, problem, readBody, Reply, type Request, streamBody, streamMessages } from "gateway-plugin";
import * as bodies from "gateway-plugin/bodies";
import * as crypt from "gateway-plugin/crypto";
import * as documents from "gateway-plugin/documents";
import * as edits from "gateway-plugin/edits";
import * as files from "gateway-plugin/files";
import * as client from "gateway-plugin/http-client";
import * as log from "gateway-plugin/log";
import * as metrics from "gateway-plugin/metrics";
import * as secrets from "gateway-plugin/secrets";
import { attribute, header, pathParameter, Selection } from "gateway-plugin/selection";
import * as sinks from "gateway-plugin/sinks";
import { Bucket } from "gateway-plugin/store";
import * as tcp from "gateway-plugin/tcp";
import * as upstreams from "gateway-plugin/upstreams";

const visits = new Bucket("visits");

function why(run: () => void): string {
  try {
    run();
    return "none";
  } catch (error) {
    return error instanceof GatewayError ? error.code : String(error);
  }
}

const code = (run: () => void) => Reply.json(200, { error: why(run) });

/** Whether the error of a wrong argument names its parameter. */
function named(parameter: string, run: () => void): string {
  try {
    run();
    return "no error";
  } catch (error) {
    const { message } = error as Error;
    return message.startsWith(`${parameter} must be `) ? "named" : message;
  }
}

/** Sends groups of four bytes in brackets. The state is how many of them there were. */
function inFours({ state, bytes, end, trailers }: Chunk): ChunkResult {
  let count = Number(String.fromCharCode(...state));
  let consumed = 0;
  let output = "";
  while (bytes.length - consumed >= 4 || (end && consumed < bytes.length)) {
    const group = bytes.subarray(consumed, consumed + 4);
    output += `[${String.fromCharCode(...group)}]`;
    consumed += group.length;
    count++;
  }
  return { consumed, output, minBytes: 4, state: String(count), trailers };
}

/** Adds the sender and the number of messages to texts and events, and does what some of them say. */
function told(message: Message, sender: string, given: Uint8Array): MessageResult {
  const state = String(Number(String.fromCharCode(...given)) + 1);
  if (message instanceof Uint8Array) return { output: [new Uint8Array([...message, 0, 255])], state };
  const text = typeof message === "string" ? message : message.data;
  const like = (text: string): Message => (typeof message === "string" ? text : { ...message, data: text });
  switch (text) {
    case "pass":
      return { state };
    case "drop":
      return { output: [], state };
    case "two":
      return { output: [like("1"), like("2")], state };
    case "reply":
      return { output: [], replies: [`reply to the ${sender}`], state };
    case "close":
      return { close: { code: 4000, reason: "as it was told" }, state };
    case "fail":
      throw new Error("as it was told");
  }
  return { output: [like(`${text}\n${sender} ${state}`)], state };
}

export const { lifecycle, activePhases, catalogue, timers, requestFilter, requestBodyFilter, requestStream, responseFilter, responseBodyFilter, responseStream, messageFilter, observer } = plugin({
  name: "errand",
  version: "0.1.0",
  config: {
    type: "object",
    additionalProperties: false,
    required: ["mark", "count", "ratio", "loud", "names", "ages"],
    properties: {
      mark: { type: "string" },
      count: { type: "integer" },
      ratio: { type: "number" },
      loud: { type: "boolean" },
      names: { type: "array", items: { type: "string" } },
      ages: { type: "object", additionalProperties: { type: "string" } },
      "left-out": { type: "string", default: 'over "it"' },
      rules: {
        type: "array",
        default: [],
        items: {
          type: "object",
          required: ["name"],
          properties: { name: { type: "string" }, weight: { type: "integer", default: 1 }, tags: { type: "array", items: { type: "string" }, default: ["none"] } },
        },
      },
      limits: {
        type: "object",
        default: {},
        additionalProperties: { type: "object", properties: { burst: { type: "integer", default: 5 } } },
      },
      large: { type: "integer", format: "int64", default: 0 },
    },
  },
  create(config) {
    const planned = new edits.Edits(
      edits.setHeader("x-set"),
      edits.removeResponseHeader("x-gone"),
      edits.appendResponseHeader("x-kept", "two"),
      edits.setResponseHeader("x-unset"),
      edits.defaultResponseHeader("x-own", "ours"),
      edits.defaultResponseHeader("x-new"),
      edits.joinResponseHeader("vary", "x-given"),
    );
    const refused = new edits.Edits(edits.setResponseHeader("connection", "close"), edits.setAttribute("errand.made"));
    const forgotten = new edits.Edits(edits.removeAttribute("errand.two"));
    const selection = new Selection({ path: "path", user: header("x-user"), plan: attribute("errand.plan"), rest: pathParameter("rest"), status: "responseStatus" });
    const hex = (bytes: Uint8Array) => [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
    const deeds: Record<string, (request: Request) => Reply | BodyDecision | void> = {
      "/config": () =>
        Reply.json(200, {
          mark: config.mark,
          count: config.count,
          ratio: config.ratio,
          loud: config.loud,
          names: config.names,
          age: config.ages["ann"],
          left: config["left-out"],
        }),
      "/parts": (request) =>
        Reply.json(200, {
          method: request.method,
          scheme: request.scheme,
          authority: request.authority,
          path: request.path,
          query: request.query,
          original: request.originalTarget,
          protocol: request.protocol,
          client: request.clientAddress,
          route: request.route,
          twice: request.headers.getAll("x-twice").join(),
          rest: request.pathParameter("rest"),
          missing: request.headers.get("x-missing") ?? request.pathParameter("other") ?? request.attributes.get("none") ?? "none",
        }),
      "/headers": (request) => {
        const lines = [...request.headers].filter(([name]) => /^x-.$/.test(name));
        return Reply.json(200, { lines: lines.map(([name, value]) => `${name}=${value};`).join("") });
      },
      "/edit": (request) => {
        request.method = "PUT";
        request.target = "/edited?by=plugin";
        request.headers.delete("x-gone");
        request.headers.append("x-kept", "two");
        request.headers.set("x-set", "grüße");
        request.attributes.set("errand.note", "told");
        request.headers.set("x-note", request.attributes.get("errand.note") ?? "");
      },
      "/plan": (request) => planned.apply(request, undefined, "grüße", undefined, "ours"),
      "/plan-forbidden": (request) => {
        const error = why(() => refused.apply(request, undefined, "told"));
        return Reply.json(200, { error, made: request.attributes.get("errand.made") });
      },
      "/forbidden": (request) => code(() => request.headers.set("content-length", "1")),
      "/copy": (request) => request.headers.set("x-copy", request.headers.get("x-given") ?? "missing"),
      "/text": (request) => {
        const given = request.headers.get("x-given") ?? "";
        log.info(given, { [given]: given });
        console.info(given);
        sinks.write("audit", given);
        metrics.add("errands", 1, { kind: given });
        request.attributes.set("errand.text", given);
        visits.set(given, "kept", { ttlMs: 60_000 });
        const refused = [
          () => request.headers.set(given, "x"),
          () => (request.method = given),
          () => client.send({ upstream: given }),
          () => secrets.get(given),
        ].map(why);
        const found = request.headers.get(given) ?? request.pathParameter(given) ?? "none";
        return Reply.json(200, { text: request.attributes.get("errand.text"), kept: visits.getText(given), found, refused: refused.every((why) => why !== "none") });
      },
      "/random": () => Reply.json(200, { number: Math.random(), uuid: crypto.randomUUID(), bytes: [...crypto.getRandomValues(new Uint8Array(8))] }),
      "/store": () => {
        const before = visits.getText("last") ?? "none";
        visits.set("last", "kept", { ttlMs: 60_000 });
        const after = visits.getText("last");
        visits.delete("last");
        return Reply.json(200, { before, sum: visits.increment("sum", 5), after });
      },
      "/take": () => Reply.json(200, visits.take("quota", { limit: 2, periodMs: 60_000 })),
      "/denied": () => code(() => new Bucket("others").get("x")),
      "/secret": () => Reply.json(200, { secret: secrets.getText("key"), file: files.getText("list") }),
      "/tell": () => {
        log.info("told", { number: 7 });
        console.warn("said", { a: [1] }, true);
        sinks.write("audit", "told");
        metrics.add("errands", 2, { kind: "told" });
        metrics.observe("errand_seconds", 0.5);
        return new Reply(204);
      },
      "/crypto": () => {
        const key = crypt.secret("key");
        const signature = crypt.sign("HS256", key, "told");
        const derived = crypt.deriveKey("sha256", key, { salt: "salt", info: "errand", length: 16 });
        const sealed = crypt.encrypt("aes128-gcm", derived, "told", "errand");
        return Reply.json(200, {
          signature: hex(signature),
          valid: crypt.verify("HS256", key, "told", signature),
          forged: crypt.verify("HS256", new Uint8Array([1, 2, 3]), "told", signature),
          opened: String.fromCharCode(...crypt.decrypt("aes128-gcm", derived, sealed, "errand")),
          tampered: why(() => crypt.decrypt("aes128-gcm", derived, sealed, "another")),
          derived: hex(derived),
          digest: hex(crypt.digest("sha256", "told")),
          random: crypt.randomBytes(16).length,
          denied: why(() => crypt.sign("HS256", crypt.secret("others"), "told")),
        });
      },
      "/gauge": () => {
        metrics.setGauge("errand_level", 2.5, { kind: "set" });
        metrics.addToGauge("errand_level", -1, { kind: "added" });
        return new Reply(204);
      },
      "/forget": (request) => {
        request.attributes.set("errand.one", "1");
        request.attributes.set("errand.two", "2");
        request.attributes.delete("errand.one");
        forgotten.apply(request, undefined);
        const left = ["errand.one", "errand.two"].map((key) => request.attributes.get(key) ?? "none");
        return Reply.json(200, { left: left.join(), trace: request.traceParent ?? "none" });
      },
      "/call": () => {
        const answer = client.send({ upstream: "users", method: "POST", target: "/u?x=1", headers: { "x-a": "b" }, body: "hello" });
        return Reply.json(200, { status: answer.status, from: answer.header("X-From"), body: answer.text() });
      },
      "/values": () => {
        const rules = config.rules.map(({ name, weight, tags }) => `${name} ${weight} ${tags.join("+")}`);
        const limits = Object.entries(config.limits).map(([name, { burst }]) => `${name} ${burst}`);
        return Reply.json(200, { rules, limits, large: String(config.large), next: String(config.large + 1n) });
      },
      "/all": (request) => {
        for (const value of request.headers.getAllBytes("x-given")) request.headers.append("x-copy", value);
        const first = request.headers.getBytes("x-given");
        request.headers.set("x-first", first === undefined ? "missing" : hex(first));
      },
      "/parallel": () => {
        const [users, other] = ["users", "other"].map((upstream) => client.start({ upstream, headers: { "x-a": ["b", "c"] } })) as [client.PendingCall, client.PendingCall];
        client.start({ upstream: "users" }).cancel();
        const answers = [other.wait(), users.wait()];
        return Reply.json(200, { statuses: answers.map(({ status }) => status), again: why(() => users.wait()), denied: why(() => client.start({ upstream: "none" })) });
      },
      "/batch": () => {
        visits.set("word", "text");
        const [set, sum, missing, word] = visits.batch([{ set: "n", value: "1", ttlMs: 60_000 }, { increment: "m", by: 5 }, { get: "none" }, { increment: "word" }]);
        return Reply.json(200, { set: set.error?.code ?? "done", sum: sum.value, missing: missing.value ?? "none", word: word.error?.code, kept: visits.getText("n") });
      },
      "/swap-value": () => {
        const text = (bytes: Uint8Array | undefined) => (bytes === undefined ? "none" : String.fromCharCode(...bytes));
        const { swapped: created } = visits.compareAndSwap("swapped", undefined, "one", { ttlMs: 60_000 });
        const refused = text(visits.compareAndSwap("swapped", "another", "two").present);
        const { swapped: changed } = visits.compareAndSwap("swapped", "one", "two");
        const { swapped: deleted } = visits.compareAndSwap("swapped", "two", undefined);
        const missing = text(visits.compareAndSwap("swapped", "two", "three").present);
        return Reply.json(200, { created, refused, changed, deleted, left: visits.getText("swapped") ?? "none", missing });
      },
      "/set-ttl": () => {
        const missing = visits.setTtl("lasting", 60_000);
        visits.set("lasting", "kept");
        return Reply.json(200, { missing, shorter: visits.setTtl("lasting", 60_000), forever: visits.setTtl("lasting"), kept: visits.getText("lasting") });
      },
      "/lease": () => {
        const first = visits.acquire("place", 1, 60_000);
        const second = visits.acquire("place", 1, 60_000);
        const lease = first.lease ?? "";
        const renewed = visits.renew("place", lease, 60_000);
        visits.release("place", lease);
        const again = visits.acquire("place", 1, 60_000).lease !== undefined;
        const ended = visits.renew("place", lease, 60_000);
        return Reply.json(200, { first: first.lease !== undefined, second: second.lease !== undefined, holders: second.holders, renewed, again, ended });
      },
      "/lease-local": () => {
        const [first, second] = [0, 1].map(() => visits.acquire("place", 1, 60_000, { scope: "local" }).lease !== undefined);
        return Reply.json(200, { first, second });
      },
      "/batch-swap": () => {
        visits.set("word", "text");
        const [swapped, different, exists, missing] = visits.batch([
          { compareAndSwap: "batched", value: "one", ttlMs: 60_000 },
          { compareAndSwap: "word", expected: "other", value: "new" },
          { setTtl: "word", ttlMs: 60_000 },
          { setTtl: "none" },
        ]);
        const present = String.fromCharCode(...(different.value?.present ?? []));
        return Reply.json(200, { swapped: swapped.value?.swapped, present, exists: exists.value, missing: missing.value, kept: visits.getText("batched") });
      },
      "/timed": () => Reply.json(200, { runs: Number(visits.getText("runs") ?? 0) }),
      "/take-all": () => {
        const steps = [{ key: "minute", limit: 2, periodMs: 60_000 }, { key: "day", limit: 9, periodMs: 86_400_000, counting: "sliding" as const }];
        const [minute, day] = visits.takeAll("ann", steps);
        const local = visits.takeAll("ann", [{ key: "large", limit: 4_000_000_000, periodMs: 60_000 }], { scope: "local" });
        return Reply.json(200, { allowed: [minute?.allowed, day?.allowed], remaining: minute?.remaining, local: local[0]?.remaining });
      },
      "/select": (request) => upstreams.select(request, "other"),
      "/select-denied": (request) => code(() => upstreams.select(request, "none")),
      "/password": () => {
        const hash = "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";
        const [right, wrong] = ["U*U", "U*V"].map((password) => crypt.verifyPassword(hash, password, { rememberMs: 1000 }));
        return Reply.json(200, { right, wrong, malformed: why(() => crypt.verifyPassword("none", "U*U")) });
      },
      "/document": () => {
        const source = { upstream: "keys", target: "/keys" };
        const found = documents.get(source);
        const again = documents.get(source, found?.version) ?? "none";
        return Reply.json(200, { json: found?.json(), again, denied: why(() => documents.get({ upstream: "none" })) });
      },
      "/selection": (request) => {
        request.attributes.set("errand.plan", "gold");
        const { path, user, plan, rest, status = "none" } = selection.read(request);
        return Reply.json(200, { path, user: user ?? "none", plan, rest, status });
      },
      "/lines": () => {
        const connection = tcp.send({ upstream: "lines", bytes: "PING\n" });
        let answer = new Uint8Array();
        while (answer.at(-1) !== 10) answer = new Uint8Array([...answer, ...connection.receive()]);
        connection.release();
        return Reply.json(200, { line: String.fromCharCode(...answer), again: why(() => connection.release()) });
      },
      "/arguments": (request) => {
        const wrong = (value: unknown) => value as never;
        return Reply.json(200, {
          header: named("value", () => request.headers.set("x-a", wrong(undefined))),
          name: named("name", () => request.headers.get(wrong(null))),
          method: named("method", () => (request.method = wrong({}))),
          attribute: named("value", () => request.attributes.set("errand.a", wrong(["a"]))),
          ttl: named("ttlMs", () => visits.set("a", "b", { ttlMs: -1 })),
          key: named("key", () => visits.get(wrong(undefined))),
          by: named("by", () => visits.increment("a", 0.5)),
          limit: named("limit", () => visits.take("a", { limit: 2 ** 32, periodMs: 1 })),
          period: named("periodMs", () => visits.take("a", wrong({ limit: 1 }))),
          scope: named("scope", () => visits.takeAll("a", [], { scope: wrong("all") })),
          timeout: named("timeoutMs", () => client.send({ upstream: "users", timeoutMs: NaN })),
          body: named("body", () => client.send({ upstream: "users", body: wrong({}) })),
          algorithm: named("algorithm", () => crypt.sign(wrong("md5"), crypt.secret("key"), "a")),
          secret: named("key", () => crypt.sign("HS256", wrong("key"), "a")),
          value: named("value", () => metrics.observe("errand_seconds", wrong("1"))),
          label: named("the label kind", () => metrics.add("errands", 1, { kind: wrong(undefined) })),
          upstream: named("name", () => upstreams.select(request, wrong(undefined))),
          request: named("request", () => upstreams.select(wrong("request"), "other")),
        });
      },
      "/status": () => new Reply("200" as never),
      "/text-result": () => "told" as never,
      "/account": () => readBody(),
      "/swap": () => readBody(),
      "/flip": () => readBody(),
      "/body": () => readBody(),
      "/chunks": () => streamBody("0"),
      "/clock": () => Reply.json(200, { runs: Date.now() > 1_700_000_000_000 }),
      "/fail": () => {
        throw new Error("as it was told\nforged");
      },
      "/problem": () => problem(403, 'not "you"'),
    };
    return {
      activePhases: () => ["request", "response", "completion"],
      endpoints: () => [{ method: "GET", path: "/served/{id}", about: "serve" }],
      openapi: () => ({ openapi: "3.1.0", info: { title: "errand", version: "1" }, paths: { "/served/{id}": { get: { responses: {} } } } }),
      timers: () => [
        { name: "count", intervalMs: 60_000 },
        { name: "broken", intervalMs: 86_400_000 },
      ],
      onTimer(name) {
        if (name === "broken") throw new Error("as it was told");
        client.send({ upstream: "users", target: `/${name}` });
        visits.increment("runs");
      },
      onRequest(request) {
        if (request.path.startsWith("/served/")) return Reply.json(200, { route: request.route, id: request.pathParameter("id") });
        return deeds[request.path]?.(request);
      },
      onResponse(request, response) {
        if (request.path === "/response") {
          response.headers.set("x-seen", String(response.status));
          response.status = 203;
          response.headers.delete("x-gone");
          response.headers.append("x-kept", "two");
          return readBody();
        }
        if (request.path === "/large") {
          bodies.replaceResponse(response, new Uint8Array(300_000));
          return readBody();
        }
        if (request.path === "/chunks") return streamBody("0");
        if (request.path === "/events" || response.status === 101) return streamMessages("0");
      },
      onRequestBody(request, body) {
        if (request.path === "/account") {
          const count = visits.increment("account");
          const user = client.send({ upstream: "users", target: "/u" });
          upstreams.select(request, "other");
          bodies.replaceRequest(request, JSON.stringify({ count, status: user.status, text: body.text() }));
        } else if (request.path === "/flip") {
          body.bytes[0] = 33;
          bodies.replaceRequest(request, body.bytes);
        } else if (request.path === "/swap") {
          bodies.replaceRequest(request, body.bytes.subarray(1));
        } else {
          bodies.replaceRequest(request, `${body.text()}, read`, body.trailers);
        }
      },
      onRequestChunk: inFours,
      onResponseBody(request, response, body) {
        if (request.path === "/large") response.headers.set("x-length", String(body.bytes.length));
        else bodies.replaceResponse(response, `${body.text()}, read`, body.trailers);
      },
      onResponseChunk: inFours,
      onMessage: told,
      onComplete(request, response, outcome) {
        const { requestStreamState: sent, responseStreamState: received } = outcome;
        if (sent && received) {
          sinks.write("audit", `${request.path} groups: ${String.fromCharCode(...sent)}, ${String.fromCharCode(...received)}`);
          return;
        }
        if (outcome.messageState) {
          sinks.write("audit", `${request.path} messages: ${String.fromCharCode(...outcome.messageState)}`);
          return;
        }
        sinks.write("audit", `${request.path} ${response?.status} ${outcome.status} ${outcome.upstream} ${outcome.durationUs > 0}`);
      },
    };
  },
});
