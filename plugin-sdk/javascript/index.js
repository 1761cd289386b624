import { begin } from "./random.js";
import { Body, bodyError, chunkOf, passed } from "./body.js";
import { call, decode, encode, lines, octets, plain } from "./text.js";

export { Body };

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

/** What `readBody` and `streamBody` return, for both phases. */
class BodyDecision {
  constructor(tag, val) {
    this.tag = tag;
    this.val = val;
  }
}

export function readBody() {
  return new BodyDecision("read-body");
}

export function streamBody(state = "") {
  return new BodyDecision("stream-body", encode(state));
}

/** What is wrong with the configuration, at a JSON Pointer (RFC 6901). */
export class ConfigProblem extends Error {
  constructor(pointer, message) {
    super(message);
    this.pointer = pointer;
  }
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

/** The handlers of a plugin: what the module exports for each, and the export of plugin.yaml. */
const PHASES = {
  onRequest: ["requestFilter", "request-filter"],
  onRequestBody: ["requestBodyFilter", "request-body-filter"],
  onRequestChunk: ["requestStream", "request-stream"],
  onResponse: ["responseFilter", "response-filter"],
  onResponseBody: ["responseBodyFilter", "response-body-filter"],
  onResponseChunk: ["responseStream", "response-stream"],
  onComplete: ["observer", "observer"],
};
/** What is called in place of a handler, and so needs its export. */
const IN_PLACE_OF = { onRequestBodyError: "onRequestBody", onResponseBodyError: "onResponseBody" };

/** What `create` has made; handlers that would never be called are problems with the plugin, before it serves. */
function checked(made, exported) {
  finished("create", made);
  for (const handler of [...Object.keys(PHASES), ...Object.keys(IN_PLACE_OF)]) {
    const kind = Object.prototype.toString.call(made?.[handler]);
    if (/Async|Generator/.test(kind)) throw late(handler);
  }
  const wrong = [];
  for (const [handler, [name, phase]] of Object.entries(PHASES)) {
    const isDefined = made?.[handler] != null;
    if (isDefined === exported.has(name)) continue;
    wrong.push(
      new ConfigProblem(
        "",
        isDefined
          ? `${handler} is defined, but the module does not export ${name}: plugin.yaml needs the export ${phase}, and the module \`export const { ${name}, … } = plugin(…)\``
          : `the module exports ${name}, but ${handler} is not defined`,
      ),
    );
  }
  for (const [handler, other] of Object.entries(IN_PLACE_OF)) {
    if (made?.[handler] != null && made[other] == null) wrong.push(new ConfigProblem("", `${handler} is defined, but ${other} is not`));
  }
  if (wrong.length > 0) throw wrong;
  return made;
}

/** What a request handler returned, as the gateway takes it. */
function decision(handler, returned, isBodyRead) {
  finished(handler, returned);
  if (returned == null) return { tag: "next" };
  if (returned instanceof BodyDecision) return bodyDecision(handler, returned, isBodyRead);
  return { tag: "respond", val: { status: returned.status, headers: lines(returned.headers ?? {}), body: encode(returned.body ?? "") } };
}

/** What a response handler returned. */
function responseDecision(handler, returned, isBodyRead) {
  finished(handler, returned);
  if (returned == null) return { tag: "next" };
  if (returned instanceof BodyDecision) return bodyDecision(handler, returned, isBodyRead);
  throw new TypeError(`${handler} returned something else than readBody() or streamBody(): a plugin cannot respond in the response phase`);
}

function bodyDecision(handler, { tag, val }, isBodyRead) {
  if (tag === "stream-body") return { tag, val };
  if (isBodyRead) throw new TypeError(`${handler} returned readBody(): the body has been read already`);
  return { tag };
}

/** The rule for a request body that could not be read, in the SDKs of all languages. */
function unread(error) {
  if (error.code === "too-large") return problem(413, `the request body is larger than ${error.limit} bytes`);
  if (error.code === "interrupted" || error.code === "invalid") return problem(400, "the request body is incomplete or invalid");
  throw error;
}

/** What `gateway plugin build` finds in the component, whose memory holds what ran when it was built. It compares plugin.yaml with it. */
const marks = [];

function mark(name) {
  const [, phase] = Object.values(PHASES).find(([exported]) => exported === name);
  marks.push(["gateway-plugin", "exports", `${phase};`].join(" "));
}

/** The handles are the plugin's own (`owned-handles` in plugin.yaml), and good for one phase. */
function dropped(...handles) {
  for (const handle of handles) handle?.[Symbol.dispose]?.();
}

/** Runs a handler; what it throws is the plugin's failure. */
function run(handles, made) {
  try {
    return made();
  } catch (error) {
    throw said(error);
  } finally {
    dropped(...handles);
  }
}

/** Makes what a component exports of a plugin. */
export function plugin({ name, version, description = "", config: schema, create }) {
  let made = {};
  /** What the module takes of what is returned here, and so exports. */
  const exported = new Set();
  const lifecycle = {
    describe: () => ({ name, version, description, configSchema: schema ? JSON.stringify(schema) : "" }),
    configure(json) {
      try {
        begin();
        made = checked(create(completed(schema, json === "" ? {} : JSON.parse(json))), exported);
      } catch (error) {
        const problems = Array.isArray(error) ? error : [error];
        throw problems.map((one) => ({ pointer: plain(one?.pointer ?? ""), message: said(one) }));
      }
    },
  };
  const requestFilter = {
    onRequest: (request) => run([request], () => decision("onRequest", made.onRequest(new Request(request)), false)),
  };
  const requestBodyFilter = {
    onRequestBody: (request, result) =>
      run([request], () => {
        const error = bodyError(result);
        const lent = new Request(request);
        if (error === undefined) return decision("onRequestBody", made.onRequestBody(lent, new Body(result)), true);
        const returned = made.onRequestBodyError ? made.onRequestBodyError(lent, error) : unread(error);
        return decision("onRequestBodyError", returned, true);
      }),
  };
  const requestStream = {
    onRequestChunk: (chunk) => run([], () => passed(finished("onRequestChunk", made.onRequestChunk(chunkOf(chunk))))),
  };
  const responseFilter = {
    onResponse: (request, response) =>
      run([request, response], () => responseDecision("onResponse", made.onResponse(new Request(request), new Response(response)), false)),
  };
  const responseBodyFilter = {
    onResponseBody: (request, response, result) =>
      run([request, response], () => {
        const error = bodyError(result);
        const lent = [new Request(request), new Response(response)];
        if (error === undefined) return responseDecision("onResponseBody", made.onResponseBody(...lent, new Body(result)), true);
        if (!made.onResponseBodyError) throw error;
        return responseDecision("onResponseBodyError", made.onResponseBodyError(...lent, error), true);
      }),
  };
  const responseStream = {
    onResponseChunk: (chunk) => run([], () => passed(finished("onResponseChunk", made.onResponseChunk(chunkOf(chunk))))),
  };
  const observer = {
    onComplete(request, response, outcome) {
      const { requestBytes, responseBytes, durationUs, upstreamUs, pluginsUs } = outcome;
      try {
        const returned = made.onComplete(new Request(request), response == null ? undefined : new Response(response), {
          status: outcome.status ?? undefined,
          failure: outcome.failure ?? undefined,
          upstream: outcome.upstream ?? undefined,
          requestBytes: Number(requestBytes),
          responseBytes: Number(responseBytes),
          durationUs: Number(durationUs),
          upstreamUs: upstreamUs == null ? undefined : Number(upstreamUs),
          pluginsUs: Number(pluginsUs),
          requestStreamState: outcome.requestStreamState == null ? undefined : octets(outcome.requestStreamState),
          responseStreamState: outcome.responseStreamState == null ? undefined : octets(outcome.responseStreamState),
        });
        finished("onComplete", returned);
      } finally {
        dropped(request, response);
      }
    },
  };
  const all = { requestFilter, requestBodyFilter, requestStream, responseFilter, responseBodyFilter, responseStream, observer };
  const taken = Object.entries(all).map(([name, phase]) => {
    const get = () => {
      exported.add(name);
      mark(name);
      return phase;
    };
    return [name, { enumerable: true, get }];
  });
  return Object.defineProperties({ lifecycle }, Object.fromEntries(taken));
}
