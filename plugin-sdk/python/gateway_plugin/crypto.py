"""Signatures, encryption, digests and derived keys, computed by the gateway: `imports: [crypto]`.

What fails raises `GatewayError` with `denied`, `missing`, `malformed-key`, `too-large`, `not-authentic`, …
"""

from dataclasses import dataclass
from typing import Any, Literal

from wit_world.imports import crypto as _crypto

from ._http import call, plain, raw

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
        return _crypto.Key_Secret(plain(key.name))
    return _crypto.Key_Bytes(bytes(key))


def _named(enum: Any, name: str) -> Any:
    try:
        return enum[name.upper().replace("-", "_")]
    except KeyError:
        raise ValueError(f"{name!r} is none of the gateway's") from None


def verify(algorithm: Algorithm, key: Key, message: str | bytes, signature: bytes) -> bool:
    """The key is the secret for HMAC, and a public key as SubjectPublicKeyInfo, in DER or PEM, for the others."""
    known = _named(_crypto.Algorithm, algorithm)
    return call("verify", lambda: _crypto.verify(known, _lowered(key), raw(message), signature))


def sign(algorithm: Algorithm, key: Key, message: str | bytes) -> bytes:
    """The key is the secret for HMAC, and a private key as PKCS#8, in DER or PEM, for the others."""
    known = _named(_crypto.Algorithm, algorithm)
    return call("sign", lambda: _crypto.sign(known, _lowered(key), raw(message)))


def encrypt(cipher: Cipher, key: Key, plaintext: str | bytes, associated_data: str | bytes = b"") -> bytes:
    """A random nonce of 12 bytes, the ciphertext, and a tag of 16 bytes. `decrypt` needs the same associated data."""
    known = _named(_crypto.Cipher, cipher)
    return call("encrypt", lambda: _crypto.encrypt(known, _lowered(key), raw(plaintext), raw(associated_data)))


def decrypt(cipher: Cipher, key: Key, ciphertext: bytes, associated_data: str | bytes = b"") -> bytes:
    """Decrypts what `encrypt` returned."""
    known = _named(_crypto.Cipher, cipher)
    return call("decrypt", lambda: _crypto.decrypt(known, _lowered(key), ciphertext, raw(associated_data)))


def derive_key(hash: Hash, key: Key, *, salt: str | bytes = b"", info: str | bytes = b"", length: int) -> bytes:
    """A key of `length` bytes that is derived from another with HKDF (RFC 5869). Another `info` gives an independent key."""
    known = _named(_crypto.Hash, hash)
    return call("derive_key", lambda: _crypto.derive_key(known, _lowered(key), raw(salt), raw(info), length))


def digest(hash: Hash, data: str | bytes) -> bytes:
    known = _named(_crypto.Hash, hash)
    return call("digest", lambda: _crypto.digest(known, raw(data)))


def random_bytes(length: int) -> bytes:
    """Of the system's random number generator, at most 64 KiB."""
    return call("random_bytes", lambda: _crypto.random_bytes(length))
