import client from "gateway:plugin/http-client@0.2.0";
import { object, u32 } from "./arguments.js";
import { call, GatewayError } from "./errors.js";
import { untilPhaseEnds } from "./phase.js";
import { decode, encode, fieldsOf, lines, octets, plain } from "./text.js";

/** The response of an upstream. */
class UpstreamResponse {
  constructor({ status, headers, body }) {
    this.status = status;
    this.headers = fieldsOf(headers);
    this.body = octets(body);
  }
  header(name) {
    const wanted = plain(name, "name").toLowerCase();
    return this.headers.find(([found]) => found === wanted)?.[1];
  }
  text() {
    return decode(this.body);
  }
  json() {
    return JSON.parse(this.text());
  }
}

function lowered({ upstream, method = "GET", target = "/", headers = {}, body = "", timeoutMs = 5000 }) {
  return {
    upstream: plain(upstream, "upstream"),
    method: plain(method, "method"),
    pathWithQuery: plain(target, "target"),
    headers: lines(headers),
    body: encode(body, "body"),
    timeoutMs: u32("timeoutMs", timeoutMs),
  };
}

/** A call in progress. */
class PendingCall {
  #call;
  #upstream;
  constructor(pending, upstream) {
    this.#call = pending;
    this.#upstream = upstream;
    untilPhaseEnds(this);
  }
  wait() {
    const pending = this.#call;
    if (pending === undefined) throw new GatewayError(this.#upstream, "other", "this call was waited for or cancelled before");
    this.#call = undefined;
    try {
      return new UpstreamResponse(call(this.#upstream, () => pending.wait()));
    } finally {
      pending[Symbol.dispose]();
    }
  }
  cancel() {
    this.#call?.[Symbol.dispose]();
    this.#call = undefined;
  }
  [Symbol.dispose]() {
    this.cancel();
  }
}

export function send(request) {
  const given = lowered(object("call", request));
  return new UpstreamResponse(call(given.upstream, () => client.send(given)));
}

export function start(request) {
  const given = lowered(object("call", request));
  return new PendingCall(call(given.upstream, () => client.start(given)), given.upstream);
}
