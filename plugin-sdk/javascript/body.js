import { integer, object, u32 } from "./arguments.js";
import { GatewayError } from "./errors.js";
import { decode, encode, fieldsOf, lines, octets } from "./text.js";

/** A whole body with its trailers. */
export class Body {
  constructor(result) {
    const { bytes, trailers } = result.val ?? result;
    this.bytes = octets(bytes);
    this.trailers = fieldsOf(trailers);
  }
  text() {
    return decode(this.bytes);
  }
  json() {
    return JSON.parse(this.text());
  }
}

/** Why a body could not be read, as an error whose `code` is the case; undefined for a body that is there. */
export function bodyError({ tag, val }) {
  if (tag !== "err") return undefined;
  const { tag: code, val: detail } = val;
  const error = new GatewayError("body", code, code === "too-large" ? `larger than ${detail} bytes` : detail);
  if (code === "too-large") error.limit = Number(detail);
  return error;
}

export function chunkOf({ state, bytes, end }) {
  return { state: octets(state), bytes: octets(bytes), end: end != null, trailers: end == null ? [] : fieldsOf(end) };
}

/** What a handler has done with a chunk. */
export function passed(handler, chunk, result) {
  const { consumed, output = "", minBytes = 0, state, trailers = [] } = object(`the result of ${handler}`, result);
  return {
    consumed: integer("consumed", consumed, 0, chunk.bytes.length),
    output: encode(output, "output"),
    minBytes: u32("minBytes", minBytes),
    state: state == null ? null : encode(state, "state"),
    trailers: lines(trailers, "trailers"),
  };
}
