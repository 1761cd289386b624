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
  const why = code === "too-large" ? `larger than ${detail} bytes` : detail;
  const error = new Error(`body: ${code}${why == null ? "" : `: ${why}`}`);
  error.code = code;
  if (code === "too-large") error.limit = Number(detail);
  return error;
}

export function chunkOf({ state, bytes, end }) {
  return { state: octets(state), bytes: octets(bytes), end: end != null, trailers: end == null ? [] : fieldsOf(end) };
}

/** What a handler has done with a chunk. */
export function passed({ consumed, output = "", minBytes = 0, state, trailers = [] }) {
  return { consumed, output: encode(output), minBytes, state: state == null ? null : encode(state), trailers: lines(trailers) };
}
