//! Signatures, encryption, digests and derived keys at native speed: RSA in a sandbox is tens of times slower. And passwords.
//!
//! A message, a plaintext and data have at most 8 MiB, a key 16 KiB, and a salt, an info and associated data 64 KiB each.

use std::{fmt, str::FromStr, time::Duration};

use crate::host;

/// The signature algorithms of JOSE (RFC 7518 §3.1, RFC 8037 §3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// HMAC with SHA-256.
    Hs256,
    /// HMAC with SHA-384.
    Hs384,
    /// HMAC with SHA-512.
    Hs512,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    Rs384,
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    Rs512,
    /// RSASSA-PSS with SHA-256.
    Ps256,
    /// RSASSA-PSS with SHA-384.
    Ps384,
    /// RSASSA-PSS with SHA-512.
    Ps512,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// ECDSA on P-384 with SHA-384.
    Es384,
    /// ECDSA on P-521 with SHA-512.
    Es512,
    /// Ed25519.
    EdDsa,
}

const NAMES: [(Algorithm, &str); 13] = [
    (Algorithm::Hs256, "HS256"),
    (Algorithm::Hs384, "HS384"),
    (Algorithm::Hs512, "HS512"),
    (Algorithm::Rs256, "RS256"),
    (Algorithm::Rs384, "RS384"),
    (Algorithm::Rs512, "RS512"),
    (Algorithm::Ps256, "PS256"),
    (Algorithm::Ps384, "PS384"),
    (Algorithm::Ps512, "PS512"),
    (Algorithm::Es256, "ES256"),
    (Algorithm::Es384, "ES384"),
    (Algorithm::Es512, "ES512"),
    (Algorithm::EdDsa, "EdDSA"),
];

impl FromStr for Algorithm {
    type Err = CryptoError;

    /// Reads the name that JOSE gives it, such as `RS256`.
    fn from_str(name: &str) -> Result<Self, CryptoError> {
        let found = NAMES.iter().find(|(_, known)| *known == name);
        found.map(|(algorithm, _)| *algorithm).ok_or(CryptoError::Unsupported)
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = NAMES.iter().find(|(algorithm, _)| algorithm == self);
        f.write_str(name.map_or("", |(_, name)| *name))
    }
}

/// A hash function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HashFunction {
    /// Digests of 32 bytes.
    Sha256,
    /// Digests of 48 bytes.
    Sha384,
    /// Digests of 64 bytes.
    Sha512,
}

/// A cipher for authenticated encryption with associated data (RFC 5116).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cipher {
    /// With keys of 16 bytes.
    Aes128Gcm,
    /// With keys of 32 bytes.
    Aes256Gcm,
    /// With keys of 32 bytes.
    ChaCha20Poly1305,
}

/// A key: its bytes, or the name of a secret that the gateway uses for the plugin.
///
/// With `grants: { secrets: { NAME: use } }` the plugin cannot read the secret, so it cannot leak it.
///
/// ```
/// use plugin_sdk::crypto::{self, Algorithm, Key};
/// # use plugin_sdk::testkit::TestHost;
///
/// # let host = TestHost::new();
/// # host.set_secret_to_use("session-key", "not for the plugin");
/// # host.run(|| {
/// let key = Key::Secret("session-key");
/// let tag = crypto::sign(Algorithm::Hs256, key, b"user=anna").unwrap();
/// assert!(crypto::verify(Algorithm::Hs256, key, b"user=anna", &tag).unwrap());
/// # });
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Key<'a> {
    /// The key itself.
    Bytes(&'a [u8]),
    /// The value of the secret of this name.
    Secret(&'a str),
}

impl<'a> From<&'a [u8]> for Key<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self::Bytes(bytes)
    }
}

impl<'a, const N: usize> From<&'a [u8; N]> for Key<'a> {
    fn from(bytes: &'a [u8; N]) -> Self {
        Self::Bytes(bytes)
    }
}

impl<'a> From<&'a Vec<u8>> for Key<'a> {
    fn from(bytes: &'a Vec<u8>) -> Self {
        Self::Bytes(bytes)
    }
}

/// Without the bytes of a key, which belong in no log.
impl fmt::Debug for Key<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => write!(f, "Bytes({} bytes)", bytes.len()),
            Self::Secret(name) => f.debug_tuple("Secret").field(name).finish(),
        }
    }
}

/// Checks a signature. `Ok(false)` means that it is not one of this key over this message.
///
/// `key` is the secret for HMAC, and a public key as SubjectPublicKeyInfo (RFC 5280 §4.1), in DER or PEM, for the others. ECDSA
/// signatures are in the fixed-length form of RFC 7518 §3.4. HMAC is compared in constant time.
///
/// # Errors
///
/// See [`CryptoError`].
pub fn verify<'a>(
    algorithm: Algorithm,
    key: impl Into<Key<'a>>,
    message: &[u8],
    signature: &[u8],
) -> Result<bool, CryptoError> {
    host::crypto::verify(algorithm, key.into(), message, signature)
}

/// Makes a signature.
///
/// `key` is the secret for HMAC, and a private key as PKCS#8 (RFC 5958) without encryption, in DER or PEM, for the others. RSA keys
/// have 2048 to 4096 bits. ECDSA signatures are in the fixed-length form of RFC 7518 §3.4.
///
/// # Errors
///
/// See [`CryptoError`].
pub fn sign<'a>(algorithm: Algorithm, key: impl Into<Key<'a>>, message: &[u8]) -> Result<Vec<u8>, CryptoError> {
    host::crypto::sign(algorithm, key.into(), message)
}

/// Encrypts with authentication. The result is a random nonce of 12 bytes, the ciphertext, and a tag of 16 bytes.
///
/// `associated_data` is authenticated and not part of the result; [`decrypt`] needs the same. `key` has the length that the cipher
/// needs, or is base64 of that. Do not encrypt more than 2^32 messages with one key: nonces could repeat.
///
/// ```
/// use plugin_sdk::crypto::{self, Cipher, CryptoError};
/// # use plugin_sdk::testkit::TestHost;
///
/// # TestHost::new().run(|| {
/// let key = crypto::random_bytes(32).unwrap();
/// let cookie = crypto::encrypt(Cipher::Aes256Gcm, &key, b"anna", b"session").unwrap();
/// assert_eq!(crypto::decrypt(Cipher::Aes256Gcm, &key, &cookie, b"session").unwrap(), b"anna");
/// assert_eq!(crypto::decrypt(Cipher::Aes256Gcm, &key, &cookie, b"other"), Err(CryptoError::NotAuthentic));
/// # });
/// ```
///
/// # Errors
///
/// See [`CryptoError`].
pub fn encrypt<'a>(
    cipher: Cipher,
    key: impl Into<Key<'a>>,
    plaintext: &[u8],
    associated_data: &[u8],
) -> Result<Vec<u8>, CryptoError> {
    host::crypto::encrypt(cipher, key.into(), plaintext, associated_data)
}

/// Decrypts what [`encrypt`] returned.
///
/// # Errors
///
/// [`CryptoError::NotAuthentic`] if it was not encrypted with this key and this associated data, or has changed since.
pub fn decrypt<'a>(
    cipher: Cipher,
    key: impl Into<Key<'a>>,
    ciphertext: &[u8],
    associated_data: &[u8],
) -> Result<Vec<u8>, CryptoError> {
    host::crypto::decrypt(cipher, key.into(), ciphertext, associated_data)
}

/// A key of `length` bytes that is derived from another with HKDF (RFC 5869): at most 255 times the length of the hash. Another
/// `info` gives an independent key. It stretches no passwords: `key` needs the entropy of a key.
///
/// # Errors
///
/// See [`CryptoError`].
pub fn derive_key<'a>(
    hash: HashFunction,
    key: impl Into<Key<'a>>,
    salt: &[u8],
    info: &[u8],
    length: u32,
) -> Result<Vec<u8>, CryptoError> {
    host::crypto::derive_key(hash, key.into(), salt, info, length)
}

/// The digest of some data, of at most 8 MiB.
///
/// # Errors
///
/// See [`CryptoError`].
pub fn digest(hash: HashFunction, data: &[u8]) -> Result<Vec<u8>, CryptoError> {
    host::crypto::digest(hash, data)
}

/// Bytes of the system's random number generator, at most 64 KiB.
///
/// # Errors
///
/// See [`CryptoError`].
pub fn random_bytes(length: u32) -> Result<Vec<u8>, CryptoError> {
    host::crypto::random_bytes(length)
}

/// Whether a password is the one of a hash: argon2id in PHC string format, or bcrypt (`$2a$`, `$2b$`, `$2y$`).
///
/// The call waits for another thread, while the worker serves other requests. A pair that is right is remembered for
/// `remember`, up to an hour, as a keyed hash, and then costs nothing. In [`Plugin::new`](crate::Plugin::new) only the hash is
/// checked: for a valid one the result is [`PasswordError::Busy`].
///
/// # Errors
///
/// See [`PasswordError`].
pub fn verify_password(hash: &str, password: &[u8], remember: Duration) -> Result<bool, PasswordError> {
    host::verify_password(hash, password, remember)
}

/// Why nothing can be said about a password.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum PasswordError {
    /// No hash of a known kind, or one that costs more than the gateway allows; the text says which.
    MalformedHash(String),
    /// Too many passwords are being verified at the moment.
    Busy,
    /// Another error; the text says which.
    Other(String),
}

impl fmt::Display for PasswordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MalformedHash(why) => write!(f, "malformed hash: {why}"),
            Self::Busy => f.write_str("too many passwords are being verified"),
            Self::Other(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for PasswordError {}

/// Why nothing could be computed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CryptoError {
    /// The secret of this name is not granted.
    Denied(String),
    /// The secret of this name has no value.
    Missing(String),
    /// The key is not one of the algorithm's. The text never contains any part of it.
    MalformedKey(String),
    /// The algorithm is not known.
    Unsupported,
    /// An input, or the output that was asked for, is over this limit, in bytes.
    TooLarge(u64),
    /// The ciphertext was not encrypted with this key and this associated data, or has changed since.
    NotAuthentic,
    /// Something else.
    Other(String),
}

impl fmt::Display for CryptoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Denied(name) => write!(f, "secret denied: {name}"),
            Self::Missing(name) => write!(f, "secret without a value: {name}"),
            Self::MalformedKey(why) => write!(f, "malformed key: {why}"),
            Self::Unsupported => f.write_str("unsupported algorithm"),
            Self::TooLarge(limit) => write!(f, "over {limit} bytes"),
            Self::NotAuthentic => f.write_str("the ciphertext is not authentic"),
            Self::Other(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for CryptoError {}
