import crypto from "gateway:plugin/crypto@0.2.0";
import { object, oneOf, u32, wrong } from "./arguments.js";
import { call } from "./errors.js";
import { binary, encode, octets, plain } from "./text.js";

const ALGORITHMS = ["HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"];
const HASHES = ["sha256", "sha384", "sha512"];
const CIPHERS = ["aes128-gcm", "aes256-gcm", "chacha20-poly1305"];

class Secret {
  constructor(name) {
    this.name = plain(name, "name");
  }
}

/** A secret as a key, by its name. */
export const secret = (name) => new Secret(name);

function keyOf(key) {
  if (key instanceof Secret) return { tag: "secret", val: key.name };
  if (key instanceof Uint8Array) return { tag: "bytes", val: key };
  throw wrong("key", "a Uint8Array or a `secret(name)`", key);
}

const algorithmOf = (algorithm) => oneOf("algorithm", algorithm, ALGORITHMS).toLowerCase();
const hashOf = (hash) => oneOf("hash", hash, HASHES);
const cipherOf = (cipher) => oneOf("cipher", cipher, CIPHERS);

export function verify(algorithm, key, message, signature) {
  const given = [algorithmOf(algorithm), keyOf(key), encode(message, "message"), binary(signature, "signature")];
  return call("verify", () => crypto.verify(...given));
}

export function sign(algorithm, key, message) {
  const given = [algorithmOf(algorithm), keyOf(key), encode(message, "message")];
  return octets(call("sign", () => crypto.sign(...given)));
}

export function encrypt(cipher, key, plaintext, associatedData = "") {
  const given = [cipherOf(cipher), keyOf(key), encode(plaintext, "plaintext"), encode(associatedData, "associatedData")];
  return octets(call("encrypt", () => crypto.encrypt(...given)));
}

export function decrypt(cipher, key, ciphertext, associatedData = "") {
  const given = [cipherOf(cipher), keyOf(key), binary(ciphertext, "ciphertext"), encode(associatedData, "associatedData")];
  return octets(call("decrypt", () => crypto.decrypt(...given)));
}

export function deriveKey(hash, key, options) {
  const { salt = "", info = "", length } = object("options", options);
  const given = [hashOf(hash), keyOf(key), encode(salt, "salt"), encode(info, "info"), u32("length", length)];
  return octets(call("deriveKey", () => crypto.deriveKey(...given)));
}

export function digest(hash, data) {
  const given = [hashOf(hash), encode(data, "data")];
  return octets(call("digest", () => crypto.digest(...given)));
}

export function randomBytes(length) {
  const given = u32("length", length);
  return octets(call("randomBytes", () => crypto.randomBytes(given)));
}

export function verifyPassword(hash, password, { rememberMs = 0 } = {}) {
  const given = [plain(hash, "hash"), encode(password, "password"), u32("rememberMs", rememberMs)];
  return call("verifyPassword", () => crypto.verifyPassword(...given));
}
