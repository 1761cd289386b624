import { integer } from "./arguments.js";
import { call } from "./errors.js";
import { decode, encode, octets, plain } from "./text.js";

/** The fields of a request or a response. */
class Fields {
  #of;
  constructor(of) {
    this.#of = of;
  }
  get(name) {
    const value = this.#of.header(plain(name, "name"));
    return value == null ? undefined : decode(value);
  }
  getBytes(name) {
    const value = this.#of.header(plain(name, "name"));
    return value == null ? undefined : octets(value);
  }
  getAll(name) {
    return this.#of.headerValues(plain(name, "name")).map(decode);
  }
  getAllBytes(name) {
    return this.#of.headerValues(plain(name, "name")).map(octets);
  }
  has(name) {
    return this.#of.header(plain(name, "name")) != null;
  }
  set(name, value) {
    const given = [plain(name, "name"), encode(value, "value")];
    call(given[0], () => this.#of.setHeader(...given));
  }
  append(name, value) {
    const given = [plain(name, "name"), encode(value, "value")];
    call(given[0], () => this.#of.appendHeader(...given));
  }
  delete(name) {
    const given = plain(name, "name");
    call(given, () => this.#of.removeHeader(given));
  }
  *[Symbol.iterator]() {
    for (const [name, value] of this.#of.headers()) yield [name, decode(value)];
  }
}

/** Values that are attached to the exchange. */
class Attributes {
  #of;
  constructor(of) {
    this.#of = of;
  }
  get(key) {
    return this.#of.attribute(plain(key, "key")) ?? undefined;
  }
  set(key, value) {
    const given = [plain(key, "key"), plain(value, "value")];
    call(given[0], () => this.#of.setAttribute(...given));
  }
  delete(key) {
    const given = plain(key, "key");
    call(given, () => this.#of.removeAttribute(given));
  }
}

export class Request {
  /** The gateway's own, for interfaces without a module in this package. */
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
    const given = plain(method, "method");
    call("method", () => this.handle.setMethod(given));
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
    const given = plain(target, "target");
    call("target", () => this.handle.setPathWithQuery(given));
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
    return this.handle.pathParameter(plain(name, "name")) ?? undefined;
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
    const given = integer("status", status, 0, 999);
    call("status", () => this.handle.setStatus(given));
  }
  get headers() {
    return new Fields(this.handle);
  }
}
