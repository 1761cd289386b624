import files from "gateway:plugin/files@0.1.0";
import { call, decode } from "./text.js";

export const get = (name) => call(name, () => Uint8Array.from(files.get(name)));
export const getText = (name) => decode(get(name));
