//! What a key is made of, and which algorithms it can be for.

use plugin_sdk::crypto;

use super::der::{self, Kind};
use crate::algorithm::Algorithm;

/// A key whose size and form have been checked.
pub enum Material {
    /// For HMAC.
    Secret(Vec<u8>),
    /// SubjectPublicKeyInfo in DER.
    Public(Kind, Vec<u8>),
}

/// What the gateway verifies with; NIST SP 800-131A and RFC 7518 §3.3 forbid less.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

impl Material {
    /// An HMAC secret.
    pub fn secret(secret: Vec<u8>) -> Self {
        Self::Secret(secret)
    }

    /// An RSA key of modulus and exponent, as big-endian numbers.
    ///
    /// # Errors
    ///
    /// Why it is none, or not for that.
    pub fn rsa(modulus: &[u8], exponent: &[u8]) -> Result<Self, String> {
        let modulus = der::trimmed(modulus);
        let bits = modulus.first().map_or(0, |first| modulus.len() * 8 - first.leading_zeros() as usize);
        if !RSA_BITS.contains(&bits) {
            let (least, most) = RSA_BITS.into_inner();
            return Err(format!("is an RSA key of {bits} bits, needs {least} to {most}"));
        }
        Ok(Self::Public(Kind::Rsa, der::public_key_info(Kind::Rsa, &der::rsa_public_key(modulus, exponent))))
    }

    /// A key on P-256, P-384 or P-521 as an uncompressed point (SEC 1 §2.3.3), or an Ed25519 key.
    ///
    /// # Errors
    ///
    /// Why it is none, or not for that.
    pub fn curve(kind: Kind, key: &[u8]) -> Result<Self, String> {
        let fits = match kind {
            Kind::P256 => key.len() == 65 && key[0] == 4,
            Kind::P384 => key.len() == 97 && key[0] == 4,
            Kind::P521 => key.len() == 133 && key[0] == 4,
            Kind::Ed25519 => key.len() == 32,
            Kind::Rsa => false,
        };
        if fits {
            Ok(Self::Public(kind, der::public_key_info(kind, key)))
        } else if matches!(key, [2 | 3, ..]) && kind != Kind::Ed25519 {
            Err("is a compressed point, needs an uncompressed one: `openssl ec -pubin -conv_form uncompressed`".into())
        } else {
            Err("has the wrong length for its curve".into())
        }
    }

    /// SubjectPublicKeyInfo, or RSAPublicKey if `pkcs1`.
    ///
    /// # Errors
    ///
    /// Why it is none, or not for that.
    pub fn from_der(der: &[u8], pkcs1: bool) -> Result<Self, String> {
        let malformed = |_| "is not a public key in DER";
        let (kind, key) = if pkcs1 {
            (Kind::Rsa, der)
        } else {
            let known = der::read_public_key_info(der).map_err(malformed)?;
            known.ok_or("is of an unsupported kind, needs RSA, P-256, P-384, P-521 or Ed25519")?
        };
        if kind == Kind::Rsa {
            let (modulus, exponent) = der::read_rsa_public_key(key).map_err(malformed)?;
            return Self::rsa(modulus, exponent);
        }
        Self::curve(kind, key)
    }

    /// What a key is for if nothing says it. Of an RSA key that is any algorithm for such keys (RFC 7518 §3.1): neither is
    /// weaker than the others, and providers publish keys without `alg` and sign with what they like.
    pub fn default_algorithm(&self) -> Option<Algorithm> {
        use crypto::Algorithm as Known;
        match self {
            Self::Secret(_) => Some(Algorithm(Known::Hs256)),
            Self::Public(Kind::Rsa, _) => None,
            Self::Public(Kind::P256, _) => Some(Algorithm(Known::Es256)),
            Self::Public(Kind::P384, _) => Some(Algorithm(Known::Es384)),
            Self::Public(Kind::P521, _) => Some(Algorithm(Known::Es512)),
            Self::Public(Kind::Ed25519, _) => Some(Algorithm(Known::EdDsa)),
        }
    }

    /// Whether the algorithm is one of this kind of key. A public key never verifies an HMAC: anybody has it.
    ///
    /// # Errors
    ///
    /// Why it is none, or not for that.
    pub fn check_algorithm(&self, algorithm: Algorithm) -> Result<(), String> {
        let (name, fits) = match self {
            Self::Secret(_) => ("a secret", least_secret(algorithm).is_some()),
            Self::Public(Kind::Rsa, _) => ("an RSA key", algorithm.is_rsa()),
            Self::Public(Kind::P256, _) => ("a P-256 key", Some(algorithm) == self.default_algorithm()),
            Self::Public(Kind::P384, _) => ("a P-384 key", Some(algorithm) == self.default_algorithm()),
            Self::Public(Kind::P521, _) => ("a P-521 key", Some(algorithm) == self.default_algorithm()),
            Self::Public(Kind::Ed25519, _) => ("an Ed25519 key", Some(algorithm) == self.default_algorithm()),
        };
        if fits { Ok(()) } else { Err(format!("{algorithm} is no algorithm for {name}")) }
    }

    /// Whether the key is strong enough, and one that the gateway can use.
    ///
    /// # Errors
    ///
    /// Why it is none, or not for that.
    pub fn check_strength(&self, algorithm: Algorithm) -> Result<(), String> {
        match self {
            Self::Secret(secret) => {
                // RFC 7518 §3.2: at least as long as the hash.
                let least = least_secret(algorithm).unwrap_or(0);
                if secret.len() >= least {
                    return Ok(());
                }
                Err(format!(
                    "is {} bytes long, {algorithm} needs {least}: `openssl rand -base64 {least}`",
                    secret.len()
                ))
            }
            // The gateway parses the key before it looks at the signature, points off the curve included.
            Self::Public(_, key) => algorithm.verify(key, b"", &[0; 64]).map(drop).map_err(|error| error.to_string()),
        }
    }

    /// In the form that [`crypto::verify`] takes.
    pub fn into_bytes(self) -> Vec<u8> {
        match self {
            Self::Secret(bytes) | Self::Public(_, bytes) => bytes,
        }
    }
}

fn least_secret(algorithm: Algorithm) -> Option<usize> {
    match algorithm {
        Algorithm(crypto::Algorithm::Hs256) => Some(32),
        Algorithm(crypto::Algorithm::Hs384) => Some(48),
        Algorithm(crypto::Algorithm::Hs512) => Some(64),
        _ => None,
    }
}
