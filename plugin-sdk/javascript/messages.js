import { integer, kindOf, list, object, wrong } from "./arguments.js";
import { binary, encode, octets, plain } from "./text.js";

/** A message as a handler gets it: text, bytes, or an event. */
export function messageOf({ tag, val }) {
  if (tag === "text") return val;
  if (tag === "binary") return octets(val);
  return { id: val.id ?? undefined, name: val.name ?? undefined, data: val.data };
}

/** A message as the gateway takes it. */
function sent(parameter, message) {
  if (typeof message === "string") return { tag: "text", val: plain(message, parameter) };
  if (ArrayBuffer.isView(message) || message instanceof ArrayBuffer) return { tag: "binary", val: binary(message, parameter) };
  if (typeof message !== "object" || message === null || Array.isArray(message)) throw wrong(parameter, "a string, a Uint8Array or an event", message);
  const { id, name, data } = message;
  const optional = (field, value) => (value == null ? null : plain(value, `the ${field} of ${parameter}`));
  return { tag: "event", val: { id: optional("id", id), name: optional("name", name), data: plain(data, `the data of ${parameter}`) } };
}

/** What a handler has done with a message; nothing passes it on. */
export function messageResult(handler, result) {
  if (result == null) return { output: null, replies: [], close: null, state: null };
  if (kindOf(result) !== "an object of Object") throw wrong(`the result of ${handler}`, "an object, or nothing to pass the message on", result);
  const { output, replies = [], close, state } = result;
  const messages = (parameter, given) => list(parameter, given).map((message) => sent(`each of ${parameter}`, message));
  const closed = ({ code, reason = "" }) => ({ code: integer("the code of close", code, 0, 65535), reason: plain(reason, "the reason of close") });
  return {
    output: output == null ? null : messages("output", output),
    replies: messages("replies", replies),
    close: close == null ? null : closed(object("close", close)),
    state: state == null ? null : encode(state, "state"),
  };
}
