import files from "gateway:plugin/files@0.2.0";
import { call } from "./errors.js";
import { decode, octets, plain } from "./text.js";

export function get(name) {
  const given = plain(name, "name");
  return octets(call(given, () => files.get(given)));
}
export const getText = (name) => decode(get(name));
