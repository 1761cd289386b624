// Bytes and text: the engine has no TextDecoder. Fields of HTTP may be no UTF-8 (RFC 9110 §5.5), and come back as they were:
// a byte that is not UTF-8 is a lone surrogate, U+DC80 to U+DCFF, as Python's `surrogateescape` has it (PEP 383).
//
// A loop over a body's bytes takes about as long as a call may. What converts all of them at once is native: base64 there and back.

import { list, scalar, wrong } from "./arguments.js";

/** Bytes that are not ASCII, with what is between them where that is short: few matches, none of them long. */
const NOT_ASCII = /[\x80-\xff]+(?:[\x00-\x7f]{1,16}[\x80-\xff]+){0,255}/g;
/** Every fourth byte's highest bit, and those of the three after it. */
const HIGH = 0x80808080;
/** Words that are looked at in one round of the loop. */
const ROUND = 16;
/** What is UTF-8 within a run of bytes that is not (RFC 3629 §4), or one byte. */
const SEQUENCES =
  /[\xc2-\xdf][\x80-\xbf]|\xe0[\xa0-\xbf][\x80-\xbf]|[\xe1-\xec\xee\xef][\x80-\xbf]{2}|\xed[\x80-\x9f][\x80-\xbf]|\xf0[\x90-\xbf][\x80-\xbf]{2}|[\xf1-\xf3][\x80-\xbf]{3}|\xf4[\x80-\x8f][\x80-\xbf]{2}|[^]/g;
/** Surrogates that are no half of a pair. */
const LONE = /[\ud800-\udfff]/gu;
const ESCAPED = 0xdc00;

/** A list of bytes as the gateway hands it over. */
export function octets(list) {
  return list instanceof Uint8Array ? list : new Uint8Array(list);
}

function isAscii(bytes) {
  const words = bytes.byteOffset % 4 === 0 ? new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length >> 2) : [];
  let all = 0;
  let at = 0;
  for (const end = words.length - (words.length % ROUND); at < end; at += ROUND) {
    all |= words[at] | words[at + 1] | words[at + 2] | words[at + 3] | words[at + 4] | words[at + 5] | words[at + 6] | words[at + 7];
    all |= words[at + 8] | words[at + 9] | words[at + 10] | words[at + 11] | words[at + 12] | words[at + 13] | words[at + 14] | words[at + 15];
  }
  for (at *= 4; at < bytes.length; at++) all |= bytes[at];
  return (all & HIGH) === 0;
}

/** Bytes as text, which `encode` makes the same bytes of again. */
export function decode(list) {
  const bytes = octets(list);
  const latin = atob(bytes.toBase64());
  return isAscii(bytes) ? latin : latin.replace(NOT_ASCII, run);
}

function run(latin) {
  try {
    return decodeURIComponent(escape(latin));
  } catch {
    return latin.replace(SEQUENCES, unit);
  }
}

function unit(bytes) {
  return bytes.length > 1 ? decodeURIComponent(escape(bytes)) : bytes < "\x80" ? bytes : String.fromCharCode(ESCAPED + bytes.charCodeAt(0));
}

function isEscaped(code) {
  return code >= ESCAPED + 0x80 && code <= ESCAPED + 0xff;
}

function utf8(text) {
  return unescape(encodeURIComponent(text));
}

/** Bytes with the numbers of characters up to U+00FF; undefined if there are others. */
function narrow(text) {
  try {
    return Uint8Array.fromBase64(btoa(text));
  } catch {
    return undefined;
  }
}

/** The bytes of a view or a buffer; undefined for another value. */
function bytesOf(value) {
  if (value instanceof Uint8Array) return value;
  if (ArrayBuffer.isView(value)) return new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
  return value instanceof ArrayBuffer ? new Uint8Array(value) : undefined;
}

/** Text as UTF-8, and what `decode` could not read as it was; bytes stay as they are. */
export function encode(value, parameter = "value") {
  const bytes = bytesOf(value);
  if (bytes !== undefined) return bytes;
  if (typeof value === "object" || typeof value === "undefined") throw wrong(parameter, "a string or a Uint8Array", value);
  return utf8Of(scalar(parameter, value));
}

/** Bytes, where text would be a mistake. */
export function binary(value, parameter) {
  const bytes = bytesOf(value);
  if (bytes === undefined) throw wrong(parameter, "a Uint8Array", value);
  return bytes;
}

function utf8Of(given) {
  const bytes = narrow(given);
  if (bytes !== undefined && isAscii(bytes)) return bytes;
  if (given.isWellFormed()) return narrow(utf8(given));
  let latin = "";
  let from = 0;
  for (const { 0: one, index } of given.matchAll(LONE)) {
    const code = one.charCodeAt(0);
    latin += utf8(given.slice(from, index)) + (isEscaped(code) ? String.fromCharCode(code - ESCAPED) : utf8("\ufffd"));
    from = index + 1;
  }
  return narrow(latin + utf8(given.slice(from)));
}

/** Text where the gateway takes nothing but text: a byte that is not UTF-8 is the character of its number (ISO 8859-1) there. */
export function plain(value, parameter = "value") {
  const given = scalar(parameter, value);
  if (given.isWellFormed()) return given;
  return given.replace(LONE, (one) => {
    const code = one.charCodeAt(0);
    return isEscaped(code) ? String.fromCharCode(code - ESCAPED) : "\ufffd";
  });
}

/** Fields as the gateway takes them. */
export function lines(headers, parameter = "headers") {
  if (typeof headers !== "object" || headers === null) throw wrong(parameter, "an object or an array of pairs", headers);
  const pairs = Array.isArray(headers) ? headers : Object.entries(headers);
  return pairs.flatMap((pair) => {
    const [name, value] = list(`each of ${parameter}`, pair);
    const named = plain(name, `the name of a header in ${parameter}`);
    const values = Array.isArray(value) ? value : [value];
    return values.map((one) => [named, encode(one, `the value of ${named} in ${parameter}`)]);
  });
}

/** Fields as the gateway gives them, with text values. */
export function fieldsOf(pairs) {
  return pairs.map(([name, value]) => [name, decode(value)]);
}
