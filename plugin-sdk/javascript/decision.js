// What handlers return.

import { integer, kindOf } from "./arguments.js";
import { encode, lines } from "./text.js";

/** A response that the plugin makes itself. */
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

/** A response in problem+json (RFC 9457). */
export function problem(status, detail, more = {}) {
  const body = JSON.stringify({ status, detail, ...more });
  return new Reply(status, { headers: { "content-type": "application/problem+json" }, body });
}

/** What `readBody`, `streamBody` and `streamMessages` return. */
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
  return new BodyDecision("stream-body", encode(state, "state"));
}

export function streamMessages(state = "") {
  return new BodyDecision("stream-messages", encode(state, "state"));
}

/** The error for a handler that is not finished when it returns: what it would do later is never done. */
export function late(handler) {
  return new TypeError(`${handler} must not be async or a generator: what it would do after it has returned is never done`);
}

/** What a handler returned, unless it only begins to do its work. */
export function finished(handler, returned) {
  if (typeof returned?.then === "function" || typeof returned?.next === "function") throw late(handler);
  return returned;
}

/** What a request handler returned, as the gateway takes it. */
export function decision(handler, returned, isBodyRead) {
  finished(handler, returned);
  if (returned == null) return { tag: "next" };
  if (returned instanceof BodyDecision) {
    if (returned.tag === "stream-messages") throw new TypeError(`${handler} returned streamMessages(): only onResponse can`);
    return bodyDecision(handler, returned, isBodyRead);
  }
  if (!(returned instanceof Reply)) {
    throw new TypeError(`${handler} must return a Reply, readBody(), streamBody() or nothing, not ${kindOf(returned)}`);
  }
  const { status, headers, body } = returned;
  return {
    tag: "respond",
    val: { status: integer("status", status, 0, 999), headers: lines(headers), body: encode(body, "body") },
  };
}

/** What a response handler returned, as the gateway takes it. */
export function responseDecision(handler, returned, isBodyRead) {
  finished(handler, returned);
  if (returned == null) return { tag: "next" };
  if (returned instanceof BodyDecision) return bodyDecision(handler, returned, isBodyRead);
  throw new TypeError(`${handler} returned something else than readBody(), streamBody() or streamMessages(): a plugin cannot respond in the response phase`);
}

function bodyDecision(handler, { tag, val }, isBodyRead) {
  if (tag !== "read-body") return { tag, val };
  if (isBodyRead) throw new TypeError(`${handler} returned readBody(): the body has been read already`);
  return { tag };
}
