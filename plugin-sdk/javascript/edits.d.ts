// Changes that are made in one call instead of one for each. Made known once, such as in `create`, and kept.
//
// In the request phase, headers of the response are changed later: when the response passes the plugin on its way back. A plugin
// that knows by the request alone what is to become of them needs no response phase, which would be one more call.
import type { Request, Response } from "./index.js";

declare const edit: unique symbol;
/** One change. Its value comes with each `apply`, unless it is given here. */
export interface Edit {
  readonly [edit]: true;
}
type Value = string | Uint8Array;

/** Replaces every value; removes the header where the value is missing. */
export function setHeader(name: string, value?: Value): Edit;
export function appendHeader(name: string, value?: Value): Edit;
export function removeHeader(name: string): Edit;
/** Replaces every value; removes the header where the value is missing. */
export function setResponseHeader(name: string, value?: Value): Edit;
export function appendResponseHeader(name: string, value?: Value): Edit;
export function removeResponseHeader(name: string): Edit;
/** Sets the header where the response has none of that name. */
export function defaultResponseHeader(name: string, value?: Value): Edit;
/** Adds a member to a list of tokens, such as that of `vary`, unless it is there, or `*` is. */
export function joinResponseHeader(name: string, value?: Value): Edit;
export function setAttribute(key: string, value?: Value): Edit;
export function removeAttribute(key: string): Edit;

export class Edits {
  /** Up to 256 of them; a plugin may have 16 lists. */
  constructor(...edits: Edit[]);
  /**
   * Applies them in their order, with the values of the edits that have none of their own; `undefined` is a missing one. `response`
   * is present in the response phase. Throws if an edit is refused; the others are applied.
   */
  apply(request: Request, response: Response | undefined, ...values: (Value | undefined)[]): void;
}
