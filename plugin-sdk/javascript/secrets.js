import secrets from "gateway:plugin/secrets@0.2.0";
import { call } from "./errors.js";
import { decode, octets, plain } from "./text.js";

export function get(name) {
  const given = plain(name, "name");
  return octets(call(given, () => secrets.get(given)));
}
export const getText = (name) => decode(get(name));
