import tcp from "gateway:plugin/tcp@0.2.0";
import { boolean, object, u32 } from "./arguments.js";
import { call, GatewayError } from "./errors.js";
import { untilPhaseEnds } from "./phase.js";
import { encode, octets, plain } from "./text.js";

/** A connection on which a message was sent. */
class Connection {
  #connection;
  #upstream;
  constructor(connection, upstream) {
    this.#connection = connection;
    this.#upstream = upstream;
    untilPhaseEnds(this);
  }
  #open() {
    if (this.#connection === undefined) throw new GatewayError(this.#upstream, "other", "this connection was released or closed before");
    return this.#connection;
  }
  receive(minBytes = 1) {
    const [connection, count] = [this.#open(), u32("minBytes", minBytes)];
    return octets(call(this.#upstream, () => connection.receive(count)));
  }
  release() {
    const connection = this.#open();
    this.#connection = undefined;
    tcp.release(connection);
  }
  close() {
    this.#connection?.[Symbol.dispose]();
    this.#connection = undefined;
  }
  [Symbol.dispose]() {
    this.close();
  }
}

function lowered({ upstream, bytes, minBytes = 0, timeoutMs = 5000, repeatable = false }) {
  return {
    upstream: plain(upstream, "upstream"),
    bytes: encode(bytes, "bytes"),
    minBytes: u32("minBytes", minBytes),
    timeoutMs: u32("timeoutMs", timeoutMs),
    repeatable: boolean("repeatable", repeatable),
  };
}

export function send(message) {
  const given = lowered(object("message", message));
  return new Connection(call(given.upstream, () => tcp.send(given)), given.upstream);
}
