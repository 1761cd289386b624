"""Signatures, encryption, digests, derived keys and passwords, computed by the gateway: `imports: [crypto]`.

What fails raises `GatewayError` with `denied`, `missing`, `malformed-key`, `too-large`, `not-authentic`, …
"""

from dataclasses import dataclass
from typing import Any, Literal

from wit_world.imports import crypto as _crypto

from . import _arguments as arguments
from ._http import call

#: Names of JOSE (RFC 7518 §3.1, RFC 8037 §3.1). `EdDSA` is Ed25519.
Algorithm = Literal[
    "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"
]
Hash = Literal["sha256", "sha384", "sha512"]
#: `aes128-gcm` has keys of 16 bytes, the others of 32.
Cipher = Literal["aes128-gcm", "aes256-gcm", "chacha20-poly1305"]


@dataclass(frozen=True)
class Secret:
    """A secret as a key. The grant `use` is enough: the plugin cannot read such a secret."""

    name: str


Key = bytes | Secret


def _lowered(key: Key) -> Any:
    if isinstance(key, Secret):
        return _crypto.Key_Secret(arguments.text("the name of the secret", key.name))
    return _crypto.Key_Bytes(arguments.binary("key", key))


def _named(parameter: str, enum: Any, name: str) -> Any:
    known = {member.name.replace("_", "-").lower(): member for member in enum}
    return known[arguments.one_of(parameter, name.lower() if isinstance(name, str) else name, known)]


def verify(algorithm: Algorithm, key: Key, message: str | bytes, signature: bytes) -> bool:
    """The key is the secret for HMAC, and a public key as SubjectPublicKeyInfo, in DER or PEM, for the others."""
    known = _named("algorithm", _crypto.Algorithm, algorithm)
    given = (_lowered(key), arguments.data("message", message), arguments.binary("signature", signature))
    return call("verify", _crypto.verify, known, *given)


def sign(algorithm: Algorithm, key: Key, message: str | bytes) -> bytes:
    """The key is the secret for HMAC, and a private key as PKCS#8, in DER or PEM, for the others."""
    known = _named("algorithm", _crypto.Algorithm, algorithm)
    return call("sign", _crypto.sign, known, _lowered(key), arguments.data("message", message))


def encrypt(cipher: Cipher, key: Key, plaintext: str | bytes, associated_data: str | bytes = b"") -> bytes:
    """A random nonce of 12 bytes, the ciphertext, and a tag of 16 bytes. `decrypt` needs the same associated data."""
    known = _named("cipher", _crypto.Cipher, cipher)
    given = (arguments.data("plaintext", plaintext), arguments.data("associated_data", associated_data))
    return call("encrypt", _crypto.encrypt, known, _lowered(key), *given)


def decrypt(cipher: Cipher, key: Key, ciphertext: bytes, associated_data: str | bytes = b"") -> bytes:
    """Decrypts what `encrypt` returned."""
    known = _named("cipher", _crypto.Cipher, cipher)
    given = (arguments.binary("ciphertext", ciphertext), arguments.data("associated_data", associated_data))
    return call("decrypt", _crypto.decrypt, known, _lowered(key), *given)


def derive_key(hash: Hash, key: Key, *, salt: str | bytes = b"", info: str | bytes = b"", length: int) -> bytes:
    """A key of `length` bytes that is derived from another with HKDF (RFC 5869). Another `info` gives an independent key."""
    known = _named("hash", _crypto.Hash, hash)
    given = (arguments.data("salt", salt), arguments.data("info", info), arguments.integer("length", length))
    return call("derive_key", _crypto.derive_key, known, _lowered(key), *given)


def digest(hash: Hash, data: str | bytes) -> bytes:
    return call("digest", _crypto.digest, _named("hash", _crypto.Hash, hash), arguments.data("data", data))


def random_bytes(length: int) -> bytes:
    """Of the system's random number generator, at most 64 KiB."""
    return call("random_bytes", _crypto.random_bytes, arguments.integer("length", length))


def verify_password(hash: str, password: str | bytes, *, remember_ms: int = 0) -> bool:
    """Whether a password matches a hash: argon2id in PHC string format, or bcrypt (`$2a$`, `$2b$`, `$2y$`).

    A verified pair is cached as a keyed hash for `remember_ms`, up to an hour; then the call returns at once. Otherwise it waits for
    another thread, while the worker serves other requests. In `__init__` only the form of the hash is checked, and a valid one gives
    `busy`. Raises `GatewayError` with the code `malformed-hash`, `busy` or `other`.
    """
    given = (arguments.data("password", password), arguments.integer("remember_ms", remember_ms))
    return call("verify_password", _crypto.verify_password, arguments.text("hash", hash), *given)
