//! Signatures and passwords: which keys and hashes are taken, and what they verify.

use std::fmt;

use argon2::{Argon2, Params, PasswordHash, PasswordVerifier, Version};
use aws_lc_rs::{
    hmac, rsa,
    signature::{
        ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ECDSA_P521_SHA512_FIXED, ED25519, ParsedPublicKey,
        RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256,
        RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, VerificationAlgorithm,
    },
};

/// An RSA key of 8192 bits has less than this.
const KEY_BYTES: usize = 4096;
const RSA_BITS: usize = 2048;
/// `SubjectPublicKeyInfo` around the 32 bytes of an Ed25519 key (RFC 8410 §4).
const ED25519_SPKI_BYTES: usize = 44;
/// What a `SubjectPublicKeyInfo` of P-521 begins with (RFC 5480 §2.1.1).
const P521: [u8; 21] = [
    0x30, 0x81, 0x9b, 0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x05, 0x2b, 0x81, 0x04,
    0x00, 0x23,
];

/// How a signature is made, by its name in JOSE (RFC 7518 §3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Algorithm {
    Hs256,
    Hs384,
    Hs512,
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    EdDsa,
}

/// What is wrong with a public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyError {
    /// It is too large.
    TooLarge,
    /// The algorithm has no public keys.
    Secret,
    /// It is no key of the algorithm's.
    Malformed,
    /// It is an RSA key with too few bits.
    Weak {
        /// How many it has.
        bits: usize,
    },
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge => write!(f, "over {KEY_BYTES} bytes"),
            Self::Secret => f.write_str("a secret is not a public key"),
            Self::Malformed => f.write_str("not a SubjectPublicKeyInfo of the algorithm's kind, in DER"),
            Self::Weak { bits } => write!(f, "an RSA key of {bits} bits is too weak: {RSA_BITS} at least"),
        }
    }
}

impl std::error::Error for KeyError {}

/// A public key, parsed.
#[derive(Debug)]
pub struct PublicKey(ParsedPublicKey);

impl PublicKey {
    /// Takes `SubjectPublicKeyInfo` only: the library would also take bare keys, and then a key for one purpose
    /// might pass as one for another.
    ///
    /// # Errors
    ///
    /// It is not a key of the algorithm's.
    pub fn parse(algorithm: Algorithm, bytes: &[u8]) -> Result<Self, KeyError> {
        if bytes.len() > KEY_BYTES {
            return Err(KeyError::TooLarge);
        }
        let verification: &'static dyn VerificationAlgorithm = match algorithm {
            Algorithm::Rs256 => &RSA_PKCS1_2048_8192_SHA256,
            Algorithm::Rs384 => &RSA_PKCS1_2048_8192_SHA384,
            Algorithm::Rs512 => &RSA_PKCS1_2048_8192_SHA512,
            Algorithm::Ps256 => &RSA_PSS_2048_8192_SHA256,
            Algorithm::Ps384 => &RSA_PSS_2048_8192_SHA384,
            Algorithm::Ps512 => &RSA_PSS_2048_8192_SHA512,
            Algorithm::Es256 => &ECDSA_P256_SHA256_FIXED,
            // The interface has no name for ES512: it is ECDSA with the hash that belongs to the key's curve.
            Algorithm::Es384 if bytes.starts_with(&P521) => &ECDSA_P521_SHA512_FIXED,
            Algorithm::Es384 => &ECDSA_P384_SHA384_FIXED,
            Algorithm::EdDsa => &ED25519,
            Algorithm::Hs256 | Algorithm::Hs384 | Algorithm::Hs512 => {
                return Err(KeyError::Secret);
            }
        };
        match algorithm {
            Algorithm::Es256 | Algorithm::Es384 if bytes.first() != Some(&0x30) => return Err(KeyError::Malformed),
            Algorithm::EdDsa if bytes.len() != ED25519_SPKI_BYTES => return Err(KeyError::Malformed),
            Algorithm::Es256 | Algorithm::Es384 | Algorithm::EdDsa => {}
            _ => {
                let bits = rsa::PublicEncryptingKey::from_der(bytes).map_err(|_| KeyError::Malformed)?.key_size_bits();
                if bits < RSA_BITS {
                    return Err(KeyError::Weak { bits });
                }
            }
        }
        ParsedPublicKey::new(verification, bytes).map(Self).map_err(|_| KeyError::Malformed)
    }

    /// Whether a signature is one of this key over this message.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        self.0.verify_sig(message, signature).is_ok()
    }
}

/// Whether a tag is one of this secret over this message, in constant time; `None` if the algorithm is not one of HMAC.
pub fn verify_hmac(algorithm: Algorithm, secret: &[u8], message: &[u8], tag: &[u8]) -> Option<bool> {
    let key = hmac::Key::new(hmac_algorithm(algorithm)?, secret);
    Some(hmac::verify(&key, message, tag).is_ok())
}

fn hmac_algorithm(algorithm: Algorithm) -> Option<hmac::Algorithm> {
    match algorithm {
        Algorithm::Hs256 => Some(hmac::HMAC_SHA256),
        Algorithm::Hs384 => Some(hmac::HMAC_SHA384),
        Algorithm::Hs512 => Some(hmac::HMAC_SHA512),
        _ => None,
    }
}

const HASH_BYTES: usize = 512;
/// The parameters of a hash decide what verifying a password costs the gateway.
const ARGON2_KIB: u32 = 256 * 1024;
const ARGON2_PASSES: u32 = 16;
const ARGON2_LANES: u32 = 16;
const BCRYPT_COST: std::ops::RangeInclusive<u32> = 4..=16;

/// Why a hash of a password may not be verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HashError {
    /// It is too large.
    TooLarge,
    /// It is no hash; with what it should be.
    Malformed(&'static str),
    /// Its cost is too low to be safe or costs more than the gateway allows.
    BcryptCost(u32),
    /// It costs more than the gateway allows.
    Argon2Cost,
}

impl fmt::Display for HashError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge => write!(f, "over {HASH_BYTES} bytes"),
            Self::Malformed(why) => f.write_str(why),
            Self::BcryptCost(cost) => {
                let (least, most) = BCRYPT_COST.into_inner();
                write!(f, "a bcrypt cost of {cost}, needs {least} to {most}")
            }
            Self::Argon2Cost => {
                write!(f, "an argon2id hash that costs more than m={ARGON2_KIB}, t={ARGON2_PASSES}, p={ARGON2_LANES}")
            }
        }
    }
}

impl std::error::Error for HashError {}

/// Whether a hash is one that may be verified.
///
/// # Errors
///
/// It is none, or costs more than the gateway allows.
pub fn check_password_hash(hash: &str) -> Result<(), HashError> {
    if hash.len() > HASH_BYTES {
        return Err(HashError::TooLarge);
    }
    if let Some(rest) = hash.strip_prefix("$2") {
        let parts: Vec<&str> = rest.split('$').collect();
        let [version, cost, rest] = parts[..] else {
            return Err(HashError::Malformed("not a bcrypt hash: `$2b$COST$…`"));
        };
        let is_sound = matches!(version, "a" | "b" | "y") && rest.len() == 53 && cost.len() == 2;
        let cost = cost.parse::<u32>().ok().filter(|_| is_sound && bcrypt_base64(rest));
        let cost = cost.ok_or(HashError::Malformed(
            "not a bcrypt hash: `$2a$`, `$2b$` or `$2y$`, a cost of two digits and 53 characters",
        ))?;
        return if BCRYPT_COST.contains(&cost) { Ok(()) } else { Err(HashError::BcryptCost(cost)) };
    }
    if !hash.starts_with("$argon2id$") {
        return Err(HashError::Malformed("neither argon2id (`$argon2id$…`) nor bcrypt (`$2b$…`)"));
    }
    let parsed =
        PasswordHash::new(hash).map_err(|_| HashError::Malformed("not an argon2id hash in PHC string format"))?;
    if parsed.salt.is_none() || parsed.hash.is_none() {
        return Err(HashError::Malformed("an argon2id hash without salt or value"));
    }
    let params = Params::try_from(&parsed)
        .map_err(|_| HashError::Malformed("an argon2id hash whose parameters are not valid"))?;
    if params.m_cost() > ARGON2_KIB || params.t_cost() > ARGON2_PASSES || params.p_cost() > ARGON2_LANES {
        return Err(HashError::Argon2Cost);
    }
    Ok(())
}

fn bcrypt_base64(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'/')
}

/// Compares in constant time, as both libraries do. A hash that was not checked before matches no password.
pub fn verify_password(hash: &str, password: &[u8]) -> bool {
    if hash.starts_with("$2") {
        return bcrypt::verify(password, hash).unwrap_or(false);
    }
    let Ok(parsed) = PasswordHash::new(hash) else { return false };
    Argon2::new(argon2::Algorithm::Argon2id, Version::default(), Params::default())
        .verify_password(password, &parsed)
        .is_ok()
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::{
        encoding::AsDer,
        rand::SystemRandom,
        rsa::KeySize,
        signature::{
            ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PSS_SHA256, RsaKeyPair,
        },
    };

    use super::*;

    fn spki(key: &impl AsDer<aws_lc_rs::encoding::PublicKeyX509Der<'static>>) -> Vec<u8> {
        key.as_der().unwrap().as_ref().to_vec()
    }

    #[test]
    fn each_kind_of_key_verifies_what_it_signed_and_nothing_else() {
        let message = b"header.payload";
        let random = SystemRandom::new();
        let check = |algorithm, key: Vec<u8>, signature: &[u8]| {
            let key = PublicKey::parse(algorithm, &key).unwrap();
            assert!(key.verify(message, signature), "{algorithm:?}");
            assert!(!key.verify(b"header.forged", signature), "{algorithm:?}");
        };

        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let signature = key.sign(&random, message).unwrap();
        assert_eq!(signature.as_ref().len(), 64);
        check(Algorithm::Es256, spki(key.public_key()), signature.as_ref());

        let key = Ed25519KeyPair::generate().unwrap();
        check(Algorithm::EdDsa, spki(key.public_key()), key.sign(message).as_ref());

        let key = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
        let mut signature = vec![0; key.public_modulus_len()];
        key.sign(&RSA_PSS_SHA256, &random, message, &mut signature).unwrap();
        check(Algorithm::Ps256, spki(key.public_key()), &signature);
    }

    #[test]
    fn bare_and_foreign_keys_are_malformed() {
        let ecdsa = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let ed25519 = Ed25519KeyPair::generate().unwrap();
        assert!(PublicKey::parse(Algorithm::Es256, ecdsa.public_key().as_ref()).is_err());
        assert!(PublicKey::parse(Algorithm::Es384, &spki(ecdsa.public_key())).is_err());
        assert!(PublicKey::parse(Algorithm::EdDsa, ed25519.public_key().as_ref()).is_err());
        assert!(PublicKey::parse(Algorithm::Es256, &spki(ed25519.public_key())).is_err());
        assert!(PublicKey::parse(Algorithm::Rs256, &spki(ecdsa.public_key())).is_err());
        assert!(PublicKey::parse(Algorithm::Rs256, b"").is_err());
    }
}
