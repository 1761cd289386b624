// Bytes and text: the engine has no TextDecoder. Fields of HTTP may be no UTF-8 (RFC 9110 §5.5): each byte is a character then.

const SHORT = 4096;

/** Bytes as text: UTF-8, or else a character for each byte. */
export function decode(bytes) {
  let latin = "";
  let ascii = true;
  for (let at = 0; at < bytes.length; at += SHORT) {
    const some = bytes.slice(at, at + SHORT);
    latin += String.fromCharCode.apply(null, some);
  }
  for (let i = 0; i < latin.length && ascii; i++) ascii = latin.charCodeAt(i) < 0x80;
  if (ascii) return latin;
  try {
    return decodeURIComponent(escape(latin));
  } catch {
    return latin;
  }
}

/** Text as UTF-8; bytes stay as they are. */
export function encode(text) {
  if (text instanceof Uint8Array) return text;
  const latin = unescape(encodeURIComponent(String(text)));
  const bytes = new Uint8Array(latin.length);
  for (let i = 0; i < latin.length; i++) bytes[i] = latin.charCodeAt(i);
  return bytes;
}

/** What the gateway said, as an error: a text, an enumeration's case, or a variant, in the engine's error. */
function failed(what, thrown) {
  const said = thrown?.payload ?? thrown;
  if (said instanceof Error) return said;
  const { tag, val } = typeof said === "object" && said !== null ? said : { tag: String(said), val: undefined };
  const error = new Error(`${what}: ${val == null ? tag : `${tag}: ${val}`}`);
  error.code = tag;
  return error;
}

/** Calls the gateway; what it refuses is an `Error` whose `code` says why. */
export function call(what, made) {
  try {
    return made();
  } catch (said) {
    throw failed(what, said);
  }
}
