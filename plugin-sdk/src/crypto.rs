//! Signature checks at native speed: RSA in a sandbox is tens of times slower. And passwords.

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
    /// ECDSA on P-384 with SHA-384. With a key on P-521, ECDSA with SHA-512, which is ES512.
    Es384,
    /// Ed25519.
    EdDsa,
}

const NAMES: [(Algorithm, &str); 12] = [
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

/// Checks a signature. `Ok(false)` means that it is not one of this key over this message.
///
/// `key` is the secret for HMAC, and SubjectPublicKeyInfo in DER (RFC 5280 §4.1) for the others. ECDSA signatures
/// are in the fixed-length form of RFC 7518 §3.4. HMAC is compared in constant time.
///
/// # Errors
///
/// See [`CryptoError`].
pub fn verify(algorithm: Algorithm, key: &[u8], message: &[u8], signature: &[u8]) -> Result<bool, CryptoError> {
    host::verify(algorithm, key, message, signature)
}

/// Whether a password is the one of a hash: argon2id in PHC string format, or bcrypt (`$2a$`, `$2b$`, `$2y$`).
///
/// It takes a while, and never waits: it says [`PasswordError::Later`]. Fail then, before you have changed anything,
/// and the phase is called again when the answer is there; with `?` that is what happens. A pair that is right is
/// remembered for so long, as a keyed hash and not longer than an hour, and then costs nothing. In
/// [`Plugin::new`](crate::Plugin::new) it tells whether a hash is one, and nothing else.
///
/// # Errors
///
/// See [`PasswordError`].
pub fn verify_password(hash: &str, password: &[u8], remember: Duration) -> Result<bool, PasswordError> {
    host::verify_password(hash, password, remember)
}

/// Why nothing can be said about a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PasswordError {
    /// No hash of a known kind, or one that costs more than the gateway allows; the text says which.
    MalformedHash(String),
    /// Too many passwords are being verified at the moment.
    Busy,
    /// It takes a while: fail, and be called again.
    Later,
}

impl fmt::Display for PasswordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MalformedHash(why) => write!(f, "malformed hash: {why}"),
            Self::Busy => f.write_str("too many passwords are being verified"),
            Self::Later => f.write_str("the password is being verified"),
        }
    }
}

impl std::error::Error for PasswordError {}

/// Why nothing could be verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CryptoError {
    /// The key is not one of the algorithm's.
    MalformedKey(String),
    /// The algorithm is not known.
    Unsupported,
}

impl fmt::Display for CryptoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MalformedKey(why) => write!(f, "malformed key: {why}"),
            Self::Unsupported => f.write_str("unsupported algorithm"),
        }
    }
}

impl std::error::Error for CryptoError {}
