import files from "gateway:plugin/files@0.2.0";
import { call, decode, octets, plain } from "./text.js";

export const get = (name) => call(name, () => octets(files.get(plain(name))));
export const getText = (name) => decode(get(name));
