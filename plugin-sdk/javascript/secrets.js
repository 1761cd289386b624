import secrets from "gateway:plugin/secrets@0.2.0";
import { call, decode, octets, plain } from "./text.js";

export const get = (name) => call(name, () => octets(secrets.get(plain(name))));
export const getText = (name) => decode(get(name));
