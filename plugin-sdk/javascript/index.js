import { begin } from "./random.js";
import { call, decode, encode, plain } from "./text.js";

/** The fields of a request or a response. */
class Fields {
  #of;
  constructor(of) {
    this.#of = of;
  }
  get(name) {
    const value = this.#of.header(plain(name));
    return value == null ? undefined : decode(value);
  }
  getAll(name) {
    return this.#of.headerValues(plain(name)).map(decode);
  }
  has(name) {
    return this.#of.header(plain(name)) != null;
  }
  set(name, value) {
    call(name, () => this.#of.setHeader(plain(name), encode(value)));
  }
  append(name, value) {
    call(name, () => this.#of.appendHeader(plain(name), encode(value)));
  }
  delete(name) {
    call(name, () => this.#of.removeHeader(plain(name)));
  }
  *[Symbol.iterator]() {
    for (const [name, value] of this.#of.headers()) yield [name, decode(value)];
  }
}

/** Notes that live as long as the exchange. */
class Attributes {
  #of;
  constructor(of) {
    this.#of = of;
  }
  get(key) {
    return this.#of.attribute(plain(key)) ?? undefined;
  }
  set(key, value) {
    call(key, () => this.#of.setAttribute(plain(key), plain(value)));
  }
  delete(key) {
    call(key, () => this.#of.removeAttribute(plain(key)));
  }
}

export class Request {
  /** The gateway's own, for the interfaces that this package has no words for. */
  handle;
  constructor(handle) {
    this.handle = handle;
  }
  get id() {
    return this.handle.id();
  }
  get method() {
    return this.handle.method();
  }
  set method(method) {
    call("method", () => this.handle.setMethod(plain(method)));
  }
  get scheme() {
    return this.handle.scheme();
  }
  get authority() {
    return this.handle.authority();
  }
  get path() {
    return this.handle.path();
  }
  get query() {
    return this.handle.query() ?? undefined;
  }
  /** Path and query. */
  get target() {
    const query = this.handle.query();
    return query == null ? this.handle.path() : `${this.handle.path()}?${query}`;
  }
  set target(target) {
    call("target", () => this.handle.setPathWithQuery(plain(target)));
  }
  get originalTarget() {
    return this.handle.originalTarget();
  }
  get protocol() {
    return this.handle.protocol();
  }
  get clientAddress() {
    return this.handle.clientAddress();
  }
  get receivedAt() {
    return Number(this.handle.receivedAt());
  }
  get route() {
    return this.handle.route();
  }
  get traceParent() {
    return this.handle.traceParent() ?? undefined;
  }
  get headers() {
    return new Fields(this.handle);
  }
  get attributes() {
    return new Attributes(this.handle);
  }
  pathParameter(name) {
    return this.handle.pathParameter(plain(name)) ?? undefined;
  }
}

export class Response {
  handle;
  constructor(handle) {
    this.handle = handle;
  }
  get status() {
    return this.handle.status();
  }
  set status(status) {
    call("status", () => this.handle.setStatus(status));
  }
  get headers() {
    return new Fields(this.handle);
  }
}

/** An answer to the client. */
export class Reply {
  constructor(status, { headers = {}, body = "" } = {}) {
    this.status = status;
    this.headers = headers;
    this.body = body;
  }
  /** With a value as JSON. */
  static json(status, value, headers = {}) {
    return new Reply(status, { headers: { "content-type": "application/json", ...headers }, body: JSON.stringify(value) });
  }
}

/** An answer in problem+json (RFC 9457). */
export function problem(status, detail, more = {}) {
  const body = JSON.stringify({ status, detail, ...more });
  return new Reply(status, { headers: { "content-type": "application/problem+json" }, body });
}

/** What is wrong with the configuration, at a JSON Pointer (RFC 6901). */
export class ConfigProblem extends Error {
  constructor(pointer, message) {
    super(message);
    this.pointer = pointer;
  }
}

function lines(headers) {
  const pairs = Array.isArray(headers) ? headers : Object.entries(headers);
  return pairs.flatMap(([name, value]) => (Array.isArray(value) ? value : [value]).map((one) => [plain(name), encode(one)]));
}

/** The defaults of the schema where the configuration says nothing. */
function completed(schema, value) {
  if (schema?.properties && value !== null && typeof value === "object" && !Array.isArray(value)) {
    for (const [name, inner] of Object.entries(schema.properties)) {
      if (value[name] === undefined && inner.default !== undefined) value[name] = inner.default;
      if (value[name] !== undefined) value[name] = completed(inner, value[name]);
    }
  }
  return value;
}

function said(error) {
  return plain(error instanceof Error ? error.message : error);
}

/** A phase is over when it returns: what it would do later is never done. */
function late(phase) {
  return new TypeError(`${phase} must not be async or a generator: what it would do after it has returned is never done`);
}

function finished(phase, returned) {
  if (typeof returned?.then === "function" || typeof returned?.next === "function") throw late(phase);
  return returned;
}

/** What `create` has made; phases that would never do anything are problems with the plugin, before it serves. */
function checked(made) {
  finished("create", made);
  for (const phase of ["onRequest", "onResponse", "onComplete"]) {
    const kind = Object.prototype.toString.call(made?.[phase]);
    if (/Async|Generator/.test(kind)) throw late(phase);
  }
  return made ?? {};
}

/** The handles are the plugin's own (`owned-handles` in plugin.yaml), and good for one phase. */
function dropped(...handles) {
  for (const handle of handles) handle?.[Symbol.dispose]?.();
}

/** Makes what a component exports of a plugin. */
export function plugin({ name, version, description = "", config: schema, create }) {
  let made = {};
  const lifecycle = {
    describe: () => ({ name, version, description, configSchema: schema ? JSON.stringify(schema) : "" }),
    configure(json) {
      try {
        begin();
        made = checked(create(completed(schema, json === "" ? {} : JSON.parse(json))));
      } catch (error) {
        const problems = Array.isArray(error) ? error : [error];
        throw problems.map((one) => ({ pointer: plain(one?.pointer ?? ""), message: said(one) }));
      }
    },
  };
  const requestFilter = {
    onRequest(request) {
      let reply;
      try {
        reply = finished("onRequest", made.onRequest?.(new Request(request)));
      } catch (error) {
        throw said(error);
      } finally {
        dropped(request);
      }
      if (reply == null) return { tag: "next" };
      return { tag: "respond", val: { status: reply.status, headers: lines(reply.headers ?? {}), body: encode(reply.body ?? "") } };
    },
  };
  const responseFilter = {
    onResponse(request, response) {
      try {
        finished("onResponse", made.onResponse?.(new Request(request), new Response(response)));
      } catch (error) {
        throw said(error);
      } finally {
        dropped(request, response);
      }
    },
  };
  const observer = {
    onComplete(request, response, outcome) {
      const { requestBytes, responseBytes, durationUs, upstreamUs, pluginsUs } = outcome;
      try {
        const returned = made.onComplete?.(new Request(request), response == null ? undefined : new Response(response), {
          status: outcome.status ?? undefined,
          failure: outcome.failure ?? undefined,
          upstream: outcome.upstream ?? undefined,
          requestBytes: Number(requestBytes),
          responseBytes: Number(responseBytes),
          durationUs: Number(durationUs),
          upstreamUs: upstreamUs == null ? undefined : Number(upstreamUs),
          pluginsUs: Number(pluginsUs),
        });
        finished("onComplete", returned);
      } finally {
        dropped(request, response);
      }
    },
  };
  return { lifecycle, requestFilter, responseFilter, observer };
}
