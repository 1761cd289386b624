import secrets from "gateway:plugin/secrets@0.1.0";
import { call, decode } from "./text.js";

export const get = (name) => call(name, () => Uint8Array.from(secrets.get(name)));
export const getText = (name) => decode(get(name));
