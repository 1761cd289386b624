import http from "gateway:plugin/http@0.2.0";
import { encode, plain } from "./text.js";

const named = (tag) => (name, value) => ({ tag, val: { name: plain(name), value: value === undefined ? null : encode(value) } });
const removal = (tag) => (name) => ({ tag, val: plain(name) });

export const setHeader = named("set-header");
export const appendHeader = named("append-header");
export const removeHeader = removal("remove-header");
export const setResponseHeader = named("set-response-header");
export const appendResponseHeader = named("append-response-header");
export const removeResponseHeader = removal("remove-response-header");
export const defaultResponseHeader = named("default-response-header");
export const joinResponseHeader = named("join-response-header");
export const setAttribute = named("set-attribute");
export const removeAttribute = removal("remove-attribute");

/** The name of an edit. */
function subject({ val }) {
  return typeof val === "string" ? val : val.name;
}

/** Changes that are made in one call. */
export class Edits {
  #edits;
  #names;
  constructor(...edits) {
    this.#edits = new http.Edits(edits);
    this.#names = edits.map(subject);
  }
  apply(request, response, ...values) {
    const parts = values.map((value) => (value === undefined ? undefined : encode(value)));
    const lengths = parts.map((part) => (part === undefined ? null : part.length));
    const bytes = new Uint8Array(parts.reduce((sum, part) => sum + (part?.length ?? 0), 0));
    let at = 0;
    for (const part of parts) {
      if (part === undefined) continue;
      bytes.set(part, at);
      at += part.length;
    }
    try {
      this.#edits.apply(request.handle, response?.handle ?? null, { bytes, lengths });
    } catch (thrown) {
      const said = thrown?.payload ?? thrown;
      if (said instanceof Error) throw said;
      const code = said.error?.tag ?? String(said.error);
      throw Object.assign(new Error(`${this.#names[said.index]}: ${code}`), { code });
    }
  }
}
