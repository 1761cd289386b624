// Edits that one call applies together, where each change of a request is a call of its own. Create a list once, in `create`.
//
// In the request phase, edits of the response are kept until the response reaches this plugin. So a plugin whose response headers
// depend only on the request needs no response phase.
import type { Request, Response } from "./index.js";

declare const edit: unique symbol;
/** One edit. Its value comes with each `apply`, unless it is given here. */
export interface Edit {
  readonly [edit]: true;
}
type Value = string | Uint8Array;

/** Replaces all values; removes the header if the value is missing. */
export function setHeader(name: string, value?: Value): Edit;
export function appendHeader(name: string, value?: Value): Edit;
export function removeHeader(name: string): Edit;
/** Replaces all values; removes the header if the value is missing. */
export function setResponseHeader(name: string, value?: Value): Edit;
export function appendResponseHeader(name: string, value?: Value): Edit;
export function removeResponseHeader(name: string): Edit;
/** Sets the header if the response has none of that name. */
export function defaultResponseHeader(name: string, value?: Value): Edit;
/** Adds a token to a list such as `vary`, unless the list has it or has `*`. */
export function joinResponseHeader(name: string, value?: Value): Edit;
export function setAttribute(key: string, value?: Value): Edit;
export function removeAttribute(key: string): Edit;

export class Edits {
  /** Up to 256 edits, with names and values of up to 64 KiB together. A plugin can have 16 lists. */
  constructor(...edits: Edit[]);
  /**
   * Applies them in their order, with the values of the edits that have none of their own; `undefined` is a missing one. `response`
   * is present in the response phase. Throws if an edit is refused; the others are applied.
   */
  apply(request: Request, response: Response | undefined, ...values: (Value | undefined)[]): void;
}
