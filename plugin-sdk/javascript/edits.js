import http from "gateway:plugin/http@0.2.0";
import { handleOf, kindOf, optionalHandleOf } from "./arguments.js";
import { GatewayError } from "./errors.js";
import { encode, plain } from "./text.js";

const MAX_EDITS = 256;
const MAX_BYTES = 64 * 1024;
/** Of an instance: more would be a trap. */
const MAX_LISTS = 16;
let lists = 0;

class Edit {
  constructor(tag, val) {
    this.tag = tag;
    this.val = val;
  }
  get name() {
    return typeof this.val === "string" ? this.val : this.val.name;
  }
  get bytes() {
    return 3 * this.name.length + (this.val.value?.length ?? 0);
  }
}

const valued = (tag) => (name, value) =>
  new Edit(tag, { name: plain(name, "name"), value: value === undefined ? null : encode(value, "value") });
const removal = (tag) => (name) => new Edit(tag, plain(name, "name"));

export const setHeader = valued("set-header");
export const appendHeader = valued("append-header");
export const removeHeader = removal("remove-header");
export const setResponseHeader = valued("set-response-header");
export const appendResponseHeader = valued("append-response-header");
export const removeResponseHeader = removal("remove-response-header");
export const defaultResponseHeader = valued("default-response-header");
export const joinResponseHeader = valued("join-response-header");
export const setAttribute = valued("set-attribute");
export const removeAttribute = removal("remove-attribute");

/** Edits that one call applies together. */
export class Edits {
  #edits;
  #names;
  constructor(...edits) {
    const other = edits.find((edit) => !(edit instanceof Edit));
    if (other !== undefined) throw new TypeError(`each edit must be one of this module's, such as setHeader(name), not ${kindOf(other)}`);
    const bytes = edits.reduce((sum, edit) => sum + edit.bytes, 0);
    if (edits.length > MAX_EDITS || bytes > MAX_BYTES) {
      throw new RangeError(`edits must be at most ${MAX_EDITS}, with names and values of at most ${MAX_BYTES} bytes together`);
    }
    if (lists === MAX_LISTS) throw new RangeError(`a plugin can have ${MAX_LISTS} lists of edits: create them once, in \`create\``);
    this.#edits = new http.Edits(edits.map(({ tag, val }) => ({ tag, val })));
    this.#names = edits.map(({ name }) => name);
    lists++;
  }
  apply(request, response, ...values) {
    const handles = [handleOf("request", request), optionalHandleOf("response", response)];
    const parts = values.map((value, index) => (value === undefined ? undefined : encode(value, `value ${index + 1}`)));
    const lengths = parts.map((part) => (part === undefined ? null : part.length));
    const bytes = new Uint8Array(parts.reduce((sum, part) => sum + (part?.length ?? 0), 0));
    let at = 0;
    for (const part of parts) {
      if (part === undefined) continue;
      bytes.set(part, at);
      at += part.length;
    }
    try {
      this.#edits.apply(...handles, { bytes, lengths });
    } catch (thrown) {
      const refusal = thrown?.payload ?? thrown;
      if (refusal instanceof Error) throw refusal;
      throw new GatewayError(this.#names[refusal.index], refusal.error?.tag ?? String(refusal.error));
    }
  }
}
