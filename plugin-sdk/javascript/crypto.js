import crypto from "gateway:plugin/crypto@0.2.0";
import { call, encode, octets, plain } from "./text.js";

class Secret {
  constructor(name) {
    this.name = plain(name);
  }
}

/** A secret as a key, by its name. */
export const secret = (name) => new Secret(name);

function lowered(key) {
  if (key instanceof Secret) return { tag: "secret", val: key.name };
  if (key instanceof Uint8Array) return { tag: "bytes", val: key };
  throw new TypeError("a key is a Uint8Array or a `secret(name)`");
}

const name = (given) => plain(given).toLowerCase();

export const verify = (algorithm, key, message, signature) =>
  call("verify", () => crypto.verify(name(algorithm), lowered(key), encode(message), encode(signature)));
export const sign = (algorithm, key, message) =>
  octets(call("sign", () => crypto.sign(name(algorithm), lowered(key), encode(message))));
export const encrypt = (cipher, key, plaintext, associatedData = "") =>
  octets(call("encrypt", () => crypto.encrypt(name(cipher), lowered(key), encode(plaintext), encode(associatedData))));
export const decrypt = (cipher, key, ciphertext, associatedData = "") =>
  octets(call("decrypt", () => crypto.decrypt(name(cipher), lowered(key), ciphertext, encode(associatedData))));
export const deriveKey = (hash, key, { salt = "", info = "", length }) =>
  octets(call("deriveKey", () => crypto.deriveKey(name(hash), lowered(key), encode(salt), encode(info), length)));
export const digest = (hash, data) => octets(call("digest", () => crypto.digest(name(hash), encode(data))));
export const randomBytes = (length) => octets(call("randomBytes", () => crypto.randomBytes(length)));
