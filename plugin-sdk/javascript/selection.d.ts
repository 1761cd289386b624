// Several values of an exchange that one call reads together, where each property of a request is a call of its own.
//
//   const selection = new Selection({ path: "path", user: header("x-user"), plan: attribute("jwt.plan") }); // in `create`
//   const { path, user, plan } = selection.read(request); // in a handler
import type { Request, Response } from "./index.js";

declare const item: unique symbol;
/** A value with a name of its own. */
export interface NamedItem {
  readonly [item]: true;
}
/** The first value of a request header. */
export function header(name: string): NamedItem;
/** The first value of a response header; missing if there is no response. */
export function responseHeader(name: string): NamedItem;
export function attribute(key: string): NamedItem;
export function pathParameter(name: string): NamedItem;

/** One value of an exchange. `responseStatus` has three digits. */
export type Item =
  | NamedItem
  | "requestId" | "method" | "scheme" | "authority" | "path" | "query" | "originalTarget" | "protocol" | "clientAddress" | "route"
  | "responseStatus";

export class Selection<const I extends { readonly [name: string]: Item }> {
  /** Up to 256 items, whose names have up to 16 KiB together. A plugin can have 64 selections: create them once, in `create`. */
  constructor(items: I);
  /** The values by the names of their items; `undefined` for one that is missing. `response` is present in the response phase. */
  read(request: Request, response?: Response): { [K in keyof I]: string | undefined };
  /** The same, with the bytes of the values. */
  readBytes(request: Request, response?: Response): { [K in keyof I]: Uint8Array | undefined };
}
