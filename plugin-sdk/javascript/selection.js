import http from "gateway:plugin/http@0.2.0";
import { handleOf, object, oneOf, optionalHandleOf } from "./arguments.js";
import { decode, octets, plain } from "./text.js";

const MAX_ITEMS = 256;
const MAX_NAME_BYTES = 16 * 1024;
/** Of an instance: more would be a trap. */
const MAX_SELECTIONS = 64;
let selections = 0;

const PARTS = {
  requestId: "request-id",
  method: "method",
  scheme: "scheme",
  authority: "authority",
  path: "path",
  query: "query",
  originalTarget: "original-target",
  protocol: "protocol",
  clientAddress: "client-address",
  route: "route",
  responseStatus: "response-status",
};

class Named {
  constructor(tag, name) {
    this.tag = tag;
    this.val = plain(name, "name");
  }
}

export const header = (name) => new Named("header", name);
export const responseHeader = (name) => new Named("response-header", name);
export const attribute = (key) => new Named("attribute", key);
export const pathParameter = (name) => new Named("path-parameter", name);

function lowered(name, item) {
  if (item instanceof Named) return { tag: item.tag, val: item.val };
  return { tag: PARTS[oneOf(`the item ${name}`, item, Object.keys(PARTS))] };
}

/** Values of an exchange that one call reads together. */
export class Selection {
  #selection;
  #names;
  constructor(items) {
    this.#names = Object.keys(object("items", items));
    const list = this.#names.map((name) => lowered(name, items[name]));
    const bytes = list.reduce((sum, { val }) => sum + 3 * (val?.length ?? 0), 0);
    if (list.length > MAX_ITEMS || bytes > MAX_NAME_BYTES) {
      throw new RangeError(`items must be at most ${MAX_ITEMS}, with names of at most ${MAX_NAME_BYTES} bytes together`);
    }
    if (selections === MAX_SELECTIONS) throw new RangeError(`a plugin can have ${MAX_SELECTIONS} selections: create them once, in \`create\``);
    this.#selection = new http.Selection(list);
    selections++;
  }
  readBytes(request, response) {
    const { bytes, lengths } = this.#selection.read(handleOf("request", request), optionalHandleOf("response", response));
    const all = octets(bytes);
    let at = 0;
    const values = this.#names.map((name, index) => {
      const length = lengths[index];
      if (length == null) return [name, undefined];
      at += length;
      return [name, all.subarray(at - length, at)];
    });
    return Object.fromEntries(values);
  }
  read(request, response) {
    const values = Object.entries(this.readBytes(request, response));
    return Object.fromEntries(values.map(([name, value]) => [name, value && decode(value)]));
  }
}
