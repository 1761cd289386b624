// Signatures, encryption, digests, derived keys and passwords, computed by the gateway: `imports: [crypto]`. What fails throws a
// `GatewayError` whose `code` says why: `denied`, `missing`, `malformed-key`, `too-large`, `not-authentic`, …

/** Names of JOSE (RFC 7518 §3.1, RFC 8037 §3.1). `EdDSA` is Ed25519. */
export type Algorithm =
  | "HS256" | "HS384" | "HS512" | "RS256" | "RS384" | "RS512" | "PS256" | "PS384" | "PS512" | "ES256" | "ES384" | "ES512" | "EdDSA";
export type Hash = "sha256" | "sha384" | "sha512";
/** `aes128-gcm` has keys of 16 bytes, the others of 32. */
export type Cipher = "aes128-gcm" | "aes256-gcm" | "chacha20-poly1305";

/** A secret as a key. */
export interface Secret {
  readonly name: string;
}
/** The secret of this name. The grant `use` is enough: the plugin cannot read such a secret. */
export function secret(name: string): Secret;

export type Key = Uint8Array | Secret;
type Data = string | Uint8Array;

/** The key is the secret for HMAC, and a public key as SubjectPublicKeyInfo, in DER or PEM, for the others. */
export function verify(algorithm: Algorithm, key: Key, message: Data, signature: Uint8Array): boolean;
/** The key is the secret for HMAC, and a private key as PKCS#8, in DER or PEM, for the others. */
export function sign(algorithm: Algorithm, key: Key, message: Data): Uint8Array;
/** The result is a random nonce of 12 bytes, the ciphertext, and a tag of 16 bytes. `decrypt` needs the same associated data. */
export function encrypt(cipher: Cipher, key: Key, plaintext: Data, associatedData?: Data): Uint8Array;
export function decrypt(cipher: Cipher, key: Key, ciphertext: Uint8Array, associatedData?: Data): Uint8Array;
/** A key of `length` bytes that is derived from another with HKDF (RFC 5869). Another `info` gives an independent key. */
export function deriveKey(hash: Hash, key: Key, options: { salt?: Data; info?: Data; length: number }): Uint8Array;
export function digest(hash: Hash, data: Data): Uint8Array;
/** At most 64 KiB. */
export function randomBytes(length: number): Uint8Array;
/**
 * Whether a password matches a hash: argon2id in PHC string format, or bcrypt (`$2a$`, `$2b$`, `$2y$`). A verified pair is cached as a
 * keyed hash for `rememberMs`, up to an hour; then the call returns at once. Otherwise it waits for another thread, while the
 * worker serves other requests. In `create` only the form of the hash is checked, and a valid one gives `busy`.
 *
 * Throws a `GatewayError` whose `code` is `malformed-hash`, `busy` or `other`.
 */
export function verifyPassword(hash: string, password: Data, options?: { rememberMs?: number }): boolean;
